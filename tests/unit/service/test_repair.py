"""Repair: the card says which keys it holds, officers read it, and only then the records follow."""

from dataclasses import replace

import pytest

from kms.card.keys import KcvMethod, KeyType
from kms.domain.cards import CardState, DomainState
from kms.domain.keys import Delivery, KeyState
from kms.domain.recovery import FindingKind, RepairState
from kms.domain.updates import UpdateState
from kms.domain.visits import BreakCode
from kms.errors import Code, KmsError
from kms.service.looking import REPAIR_TEXT
from tests.fakes.memory_store import put_back, take_backup
from tests.fakes.scene import EXTERNAL_AUTHENTICATE, ISD_AID, SSD_AID, LoggingCard, Scene, build_scene
from tests.fakes.software_keys import check_value


def build_lost_scene() -> Scene:
    """A card whose SSD is two generations ahead of the records, set aside by an officer."""
    scene = build_scene()
    scene.make_ssd()
    before = take_backup(scene.issuer.store)
    for _ in range(2):
        scene.force()
        assert scene.visit() == "done"
    put_back(scene.issuer.store, before)
    scene.card.log.clear()
    scene.issuer.repair.quarantine(scene.issuer.card.identity, reason="out of step", actor="officer")
    return scene


def identity(scene: Scene) -> bytes:
    return scene.issuer.card.identity


def test_a_card_that_is_ahead_is_found_shown_and_set_right_by_an_officer() -> None:
    scene = build_lost_scene()
    issuer = scene.issuer
    issuer.repair.order(identity(scene), "counter-1", actor="officer")
    assert scene.visit() == REPAIR_TEXT
    assert scene.card.count(EXTERNAL_AUTHENTICATE) == 0
    report = issuer.repair.show(identity(scene))
    assert report.order.state is RepairState.FOUND
    derived = [item for item in report.findings if item.kind is FindingKind.DERIVED]
    assert [(report.aids[item.security_domain_id], item.kvn, item.generation) for item in derived] == [
        (SSD_AID, scene.card.kvns(SSD_AID)[0], scene.card.kvns(SSD_AID)[0] & 0x0F)
    ]
    assert issuer.sets_in_force(SSD_AID) != scene.card.kvns(SSD_AID)  # nothing changed yet

    confirmed = issuer.repair.confirm(identity(scene), actor="officer")
    assert confirmed.order.state is RepairState.APPLIED
    assert all(item.applied_at is not None for item in confirmed.findings)
    assert issuer.current_card().state is CardState.ENROLLED
    assert issuer.sets_in_force(SSD_AID) == scene.card.kvns(SSD_AID)
    scene.force()
    assert scene.visit() == "done"
    scene.assert_in_step()
    actions = issuer.audit_actions()
    wanted = ["card.quarantine", "card.repair-order", "card.repair-look", "key-set.recover", "card.repair-confirm"]
    assert [action for action in actions if action in wanted] == wanted


def test_what_was_found_has_the_check_values_of_the_keys_on_the_card() -> None:
    ahead = build_lost_scene()
    ahead.issuer.repair.order(identity(ahead), None, actor="officer")
    ahead.visit()
    ahead.issuer.repair.confirm(identity(ahead), actor="officer")
    found = next(item for item in ahead.issuer.key_sets(SSD_AID) if item.state is KeyState.ACTIVE)
    (keys,) = ahead.card.keys(SSD_AID)
    assert found.kcvs == tuple(check_value(key, KeyType.DES2, KcvMethod.DES_ZERO) for key in keys)


def test_a_card_that_is_set_aside_is_served_for_its_repair_alone() -> None:
    scene = build_lost_scene()
    with pytest.raises(KmsError) as error:
        scene.visit()
    assert error.value.code is Code.CARD_QUARANTINED
    scene.issuer.repair.order(identity(scene), "counter-2", actor="officer")
    with pytest.raises(KmsError) as error:
        scene.visit()  # at counter-1
    assert error.value.code is Code.CARD_QUARANTINED
    assert scene.visit(scene.agent(terminal=scene.issuer.other_terminal)) == REPAIR_TEXT
    with pytest.raises(KmsError) as error:
        scene.visit(scene.agent(terminal=scene.issuer.other_terminal))  # looked at once
    assert error.value.code is Code.CARD_QUARANTINED


def test_a_look_at_a_card_in_step_finds_what_is_on_record_and_changes_nothing() -> None:
    scene = build_scene()
    scene.make_ssd()
    before = [scene.issuer.key_sets(aid) for aid in (ISD_AID, SSD_AID)]
    scene.issuer.repair.order(identity(scene), None, actor="officer")
    scene.force()
    assert scene.visit() == REPAIR_TEXT
    findings = scene.issuer.repair.show(identity(scene)).findings
    assert {item.kind for item in findings} == {FindingKind.RECORDED}
    scene.issuer.repair.confirm(identity(scene), actor="officer")
    assert [[item.kvn for item in sets if item.state is KeyState.ACTIVE] for sets in before] == [
        scene.issuer.sets_in_force(aid) or [0x01] for aid in (ISD_AID, SSD_AID)
    ]
    assert scene.visit() == "done"
    scene.assert_in_step()


def test_a_set_on_record_that_the_card_lost_is_not_in_force_any_more() -> None:
    scene = build_scene()
    scene.make_ssd()
    state = scene.card.state
    scene.card = LoggingCard(replace(state, domains=tuple(item for item in state.domains if item.aid != SSD_AID)))
    scene.issuer.repair.order(identity(scene), None, actor="officer")
    scene.visit()
    kinds = [item.kind for item in scene.issuer.repair.show(identity(scene)).findings]
    assert FindingKind.ABSENT in kinds
    scene.issuer.repair.confirm(identity(scene), actor="officer")
    assert scene.issuer.sets_in_force(SSD_AID) == []
    assert scene.issuer.domain(SSD_AID).state is DomainState.PLANNED
    assert {item.delivery for item in scene.issuer.key_sets(SSD_AID)} == {Delivery.REPLACED}


def test_keys_that_nobody_knows_are_shown_and_never_confirmed() -> None:
    scene = build_scene(card_key=bytes(range(16)))
    scene.issuer.repair.order(identity(scene), None, actor="officer")
    assert scene.visit() == REPAIR_TEXT
    findings = scene.issuer.repair.show(identity(scene)).findings
    assert [(item.kind, item.kvn) for item in findings] == [(FindingKind.UNKNOWN, 0x01)]
    with pytest.raises(KmsError) as error:
        scene.issuer.repair.confirm(identity(scene), actor="officer")
    assert error.value.code is Code.KEY_STATE
    assert "card.mismatch" not in scene.issuer.audit_actions()  # an officer looks: it is evidence against nobody


def test_a_card_that_is_taken_away_is_looked_at_again() -> None:
    scene = build_lost_scene()
    scene.issuer.repair.order(identity(scene), None, actor="officer")

    def drop(_order: object, answers: list[bytes]) -> list[bytes]:
        return [*answers[:-1], b""]

    assert "present it again" in scene.visit(scene.agent(tamper=drop))
    assert scene.issuer.repair.show(identity(scene)).order.state is RepairState.OPEN
    assert scene.visit() == REPAIR_TEXT


def test_orders_are_for_cards_and_terminals_that_are_there_and_end_once() -> None:
    scene = build_scene()
    repair = scene.issuer.repair
    with pytest.raises(KmsError) as error:
        repair.order(b"\x00", None, actor="officer")
    assert error.value.code is Code.CARD_UNKNOWN
    with pytest.raises(KmsError) as error:
        repair.order(identity(scene), "nowhere", actor="officer")
    assert error.value.code is Code.NOT_FOUND
    for act in (repair.show, lambda card: repair.cancel(card, actor="officer")):
        with pytest.raises(KmsError) as error:
            act(identity(scene))
        assert error.value.code is Code.NOT_FOUND
    first = repair.order(identity(scene), None, actor="officer")
    second = repair.order(identity(scene), None, actor="officer")
    assert repair.show(identity(scene)).order.id == second.id != first.id
    with pytest.raises(KmsError) as error:
        repair.confirm(identity(scene), actor="officer")
    assert error.value.code is Code.CONFLICT
    assert repair.cancel(identity(scene), actor="officer").state is RepairState.CANCELLED
    with pytest.raises(KmsError) as error:
        repair.cancel(identity(scene), actor="officer")
    assert error.value.code is Code.CONFLICT


def test_setting_a_card_aside_says_why_and_ends_its_visits() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    agent = scene.agent()
    agent.handshake("begun")
    card = scene.issuer.repair.quarantine(identity(scene), reason="reported stolen", actor="officer")
    assert (card.quarantine_code, card.quarantine_reason) == (BreakCode.OFFICER, "reported stolen")
    with pytest.raises(KmsError) as error:
        scene.issuer.repair.quarantine(identity(scene), reason="again", actor="officer")
    assert error.value.code is Code.CONFLICT
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
