"""Single steps of visits, seen from their journal: what ends an update, what only ends the visit."""

from dataclasses import replace

import pytest

from kms.domain.cards import CardState
from kms.domain.keys import Delivery, KeyState, MasterKind
from kms.domain.orders import Order
from kms.domain.updates import UpdateState
from kms.domain.visits import VisitState
from kms.service.visit_step import build_stop
from tests.fakes.agent import VOID
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene, change_answer, sw


@pytest.fixture
def scene() -> Scene:
    scene = build_scene()
    scene.make_ssd()
    return scene


def test_nothing_pending_ends_the_visit_at_once(scene: Scene) -> None:
    agent = scene.agent()
    assert scene.visit(agent) == "nothing is pending for this card"
    assert (agent.requests, agent.apdus) == (2, 0)


def test_all_open_updates_are_done_in_one_visit_the_isds_first(scene: Scene) -> None:
    scene.force(SSD_AID)
    scene.force(ISD_AID)
    session = scene.session()
    assert scene.visit(session=session) == "done"
    assert scene.journal(session) == ["update", "replaced", "completed"] * 2
    assert "vendor-takeover" in scene.events(session)[0].text
    scene.assert_in_step(ISD_AID)
    scene.assert_in_step(SSD_AID)


def test_only_the_first_order_carries_the_start_and_only_the_last_the_stop(scene: Scene) -> None:
    scene.force()
    agent = scene.agent()
    scene.visit(agent)
    assert [order.start for order in agent.orders] == [True, False, False]
    assert [order.stop for order in agent.orders] == [False, False, True]
    assert [order.number for order in agent.orders] == [1, 2, 3]


def test_a_batch_with_keys_is_written_ahead_before_its_order_leaves(scene: Scene) -> None:
    scene.force()
    agent = scene.agent()
    agent.card.reset()
    agent.handshake("one")
    opening = agent.report("one", VOID)
    assert scene.issuer.key_sets(SSD_AID)[-1].delivery is Delivery.PLANNED
    agent.report("one", agent.answer(opening))
    assert scene.issuer.key_sets(SSD_AID)[-1].delivery is Delivery.IN_FLIGHT
    assert scene.issuer.audit_actions()[-1] == "key-set.send"


def test_no_update_fails_while_its_keys_may_be_in_force_however_often_the_card_is_said_to_refuse(scene: Scene) -> None:
    scene.force()

    def refuse_all(order: Order, answers: list[bytes]) -> list[bytes]:
        opening = order.number == 1 and scene.card.count(0xD8) == 0
        return answers if opening else [b"\x6a\x84"] * len(answers)

    for _ in range(5):
        assert "no security domain" in scene.visit(scene.agent(tamper=refuse_all))
        assert scene.card.kvns(SSD_AID) == [0x22]
        assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
        assert scene.issuer.key_sets(SSD_AID)[-1].delivery is Delivery.IN_DOUBT
    scene.assert_reached()


def test_a_refusal_by_name_does_not_outweigh_the_proof_that_the_keys_are_in_force(scene: Scene) -> None:
    scene.force()
    assert scene.visit(scene.agent(tamper=change_answer(2, 1, sw(0x6A84)))) == "done"
    scene.assert_in_step()


def test_an_update_that_cannot_be_done_keeps_no_other_from_being_done(scene: Scene) -> None:
    with scene.issuer.store.transaction() as tx:
        master = tx.master_keys.get(f"master-{MasterKind.ISD}")
        tx.master_keys.save(replace(master, state=KeyState.SUSPENDED))
    scene.force(ISD_AID)
    scene.force(SSD_AID)
    assert "the isd master key isd generation 1 is SUSPENDED" in scene.visit()
    assert "the isd master key isd generation 1 is SUSPENDED" in scene.visit()
    scene.assert_in_step(SSD_AID)
    assert scene.issuer.last_update(ISD_AID).state is UpdateState.PENDING


def test_a_visit_whose_card_is_set_aside_meanwhile_ends_and_leaves_its_update_waiting(scene: Scene) -> None:
    scene.force()
    agent = scene.agent()
    agent.card.reset()
    agent.handshake("one")
    opening = agent.report("one", VOID)
    batch = agent.report("one", agent.answer(opening))
    with scene.issuer.store.transaction() as tx:
        tx.cards.save(replace(tx.cards.get(scene.issuer.card.id), state=CardState.QUARANTINED))
    stop = agent.report("one", agent.answer(batch))
    assert stop.stop
    assert "set aside" in stop.notification
    assert scene.issuer.key_sets(SSD_AID)[-1].delivery is Delivery.IN_DOUBT
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    with scene.issuer.store.transaction() as tx:
        tx.cards.save(replace(tx.cards.get(scene.issuer.card.id), state=CardState.ENROLLED))
    scene.assert_reached()


def test_an_expired_visit_is_journalled_and_its_update_waits(scene: Scene) -> None:
    scene.force()
    agent = scene.agent()
    agent.card.reset()
    agent.handshake("one")
    agent.report("one", VOID)
    scene.issuer.clock.move(minutes=6)
    assert "too long" in agent.report("one", VOID).notification
    assert scene.journal("one") == ["update", "gave-up"]
    with scene.issuer.store.transaction() as tx:
        visit = tx.visits.find_by_session("one")
    assert visit is not None
    assert visit.state is VisitState.EXPIRED
    scene.assert_reached()


def test_an_update_that_was_done_is_not_opened_again_by_what_fails_after_it(scene: Scene) -> None:
    scene.force(ISD_AID)
    scene.force(SSD_AID)
    scene.visit(scene.agent(tamper=change_answer(3, 0, sw(0x6A82))))
    assert scene.issuer.last_update(ISD_AID).state is UpdateState.DONE
    scene.assert_reached()


def test_a_stop_says_why() -> None:
    stop = build_stop(4, b"\x42", "done")
    assert (stop.number, stop.stop, stop.notification, stop.commands) == (4, True, "done", ())
