"""What ends in a refusal: strange keys, no room, an SSD that is not ours or is gone, missing masters."""

from dataclasses import replace

import pytest

from kms.card.keys import DerivationPurpose
from kms.card.profile import CardProfile
from kms.domain.cards import CardState, DomainState
from kms.domain.keys import Delivery, KeyState, MasterKind
from kms.domain.orders import AgentStatus, Report
from kms.domain.updates import UpdateState
from kms.domain.visits import BreakCode, TerminalState
from kms.errors import Code, KmsError
from terminal.virtual_card.model import SELECTABLE, SecurityDomain
from terminal.virtual_card.personality import Personality
from tests.fakes.agent import VOID
from tests.fakes.issuer import IDENTITY, SoftwareVault
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene

OTHER_KEY = bytes(range(0x60, 0x70))
STRANGE = "the card's keys are not the ones on record"


def test_wrong_isd_keys_are_never_answered_and_three_visits_suspend_the_terminal() -> None:
    scene = build_scene(card_key=OTHER_KEY)
    scene.force(ISD_AID)
    assert [scene.visit() for _ in range(2)] == [STRANGE, STRANGE]
    assert scene.terminal_state() is TerminalState.ENROLLED
    assert "suspended" in scene.visit()
    assert scene.terminal_state() is TerminalState.SUSPENDED
    assert scene.card.count(0x82) == 0
    actions = scene.issuer.audit_actions()
    assert actions.count("card.mismatch") == 3
    assert actions.count("terminal.suspend") == 1
    scene.assert_not_set_aside()
    assert scene.issuer.last_update(ISD_AID).state is UpdateState.PENDING


def test_what_an_agent_says_of_its_trouble_stands_in_the_visit_s_journal() -> None:
    scene = build_scene()
    scene.force(ISD_AID)
    agent = scene.agent()
    agent.handshake("one")
    agent.report("one", VOID)
    stop = agent.report("one", Report(AgentStatus.UNAVAILABLE_SE, 1, (), "The reader was unplugged."))
    assert stop.stop
    said = [event.text for event in scene.events("one") if event.kind == "agent"]
    assert said == ["UNAVAILABLE_SE: The reader was unplugged."]


def test_wrong_isd_keys_at_two_terminals_quarantine_the_card() -> None:
    scene = build_scene(card_key=OTHER_KEY)
    scene.force(ISD_AID)
    open_elsewhere = scene.agent()
    open_elsewhere.card.reset()
    open_elsewhere.handshake("still open")
    open_elsewhere.report("still open", VOID)
    assert scene.visit() == STRANGE
    assert "set aside" in scene.visit(scene.agent(terminal=scene.issuer.other_terminal))
    card = scene.issuer.current_card()
    assert card.state is CardState.QUARANTINED
    assert "2 terminals" in card.quarantine_reason
    assert "card.quarantine" in scene.issuer.audit_actions()
    assert scene.card.count(0x82) == 0
    for terminal in (scene.issuer.terminal, scene.issuer.other_terminal):
        with pytest.raises(KmsError) as caught:
            scene.issuer.visits.handshake(terminal, "new", [IDENTITY])
        assert caught.value.code is Code.CARD_QUARANTINED
    order = open_elsewhere.report("still open", open_elsewhere.answer(open_elsewhere.orders[-1]))
    assert order.stop
    assert "set aside" in order.notification


def test_mismatches_before_the_cards_last_proof_do_not_count_against_it() -> None:
    scene = build_scene()
    scene.make_ssd()
    stranger = build_scene(card_key=OTHER_KEY).card
    scene.force(ISD_AID)
    assert scene.visit(scene.agent(card=stranger)) == STRANGE
    assert scene.visit() == "done"
    scene.force(ISD_AID)
    assert scene.visit(scene.agent(card=stranger, terminal=scene.issuer.other_terminal)) != "done"
    scene.assert_not_set_aside()
    scene.assert_reached(ISD_AID)


def test_a_terminal_that_an_officer_revoked_meanwhile_stays_revoked() -> None:
    scene = build_scene(card_key=OTHER_KEY)
    scene.force(ISD_AID)
    scene.visit()
    scene.visit()
    with scene.issuer.store.transaction() as tx:
        tx.terminals.save(replace(scene.issuer.terminal, state=TerminalState.REVOKED))
    scene.visit()
    assert scene.terminal_state() is TerminalState.REVOKED


def test_no_room_for_another_key_set_is_refused_by_name_and_fails_after_three_visits() -> None:
    scene = build_scene(kvn=0xFF, personality=Personality(keep_factory_set=True, max_key_sets=1))
    scene.force(ISD_AID)
    texts = [scene.visit() for _ in range(3)]
    assert all("6A84" in text for text in texts)
    update = scene.issuer.last_update(ISD_AID)
    assert update.state is UpdateState.FAILED
    assert "6A84" in update.failure
    assert scene.card.kvns(ISD_AID) == [0xFF]
    assert [s.delivery for s in scene.issuer.key_sets(ISD_AID)] == [Delivery.PROVED, Delivery.PLANNED]
    assert scene.visit() == "nothing is pending for this card"


def test_no_room_for_another_ssd_leaves_the_card_as_it_was() -> None:
    scene = build_scene(personality=Personality(max_domains=0))
    before = scene.card.state.domains[0].key_sets[0].keys
    session = scene.apply()
    assert "6A84" in scene.visit(session=session)
    assert scene.journal(session) == ["update", "broken", "gave-up"]
    assert [domain.aid for domain in scene.card.state.domains] == [ISD_AID]
    assert scene.card.state.isd.key_sets[0].keys == before
    for _ in range(2):
        scene.visit()
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.FAILED
    scene.force(ISD_AID)
    assert scene.visit() == "done"
    scene.apply()
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING


@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_an_ssd_that_somebody_else_made_is_never_taken_over(route: str) -> None:
    scene = build_scene(profile=CardProfile(name="default", initial_key_route=route))
    state = scene.card.state
    foreign = SecurityDomain(SSD_AID, ISD_AID, SELECTABLE, bytes.fromhex("808000"))
    scene.card._runtime.state = replace(state, domains=(*state.domains, foreign))  # noqa: SLF001 - made in a factory
    session = scene.apply()
    for visit in (session, scene.session(), scene.session()):
        assert "did not make it" in scene.visit(session=visit)
    assert scene.card.count(0x82) == 0
    assert scene.card.kvns(SSD_AID) == []
    assert scene.issuer.domain(SSD_AID).state is DomainState.PLANNED
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.FAILED


def test_a_foreign_ssd_is_not_taken_for_ours_although_the_first_attempts_answers_were_lost() -> None:
    scene = build_scene()
    state = scene.card.state
    foreign = SecurityDomain(SSD_AID, ISD_AID, SELECTABLE, bytes.fromhex("808000"))
    scene.card._runtime.state = replace(state, domains=(*state.domains, foreign))  # noqa: SLF001 - made in a factory
    for visit in (scene.apply(), scene.session()):
        agent = scene.agent()
        agent.card.reset()
        agent.handshake(visit)
        agent.transmit(agent.report(visit, VOID).commands)
    assert "did not make it" in scene.visit()
    assert scene.card.kvns(SSD_AID) == []


def test_an_application_whose_aid_begins_like_the_ssds_is_not_taken_for_it() -> None:
    scene = build_scene()
    state = scene.card.state
    longer = SecurityDomain(SSD_AID + b"\x01\x01", ISD_AID, SELECTABLE, bytes.fromhex("808000"))
    scene.card._runtime.state = replace(state, domains=(*state.domains, longer))  # noqa: SLF001 - made in a factory
    assert scene.visit(session=scene.apply()) == "done"
    assert scene.card.kvns(SSD_AID) == [0x21]


def test_an_ssd_that_vanished_is_named_and_other_domains_go_on() -> None:
    scene = build_scene()
    scene.make_ssd()
    state = scene.card.state
    scene.card._runtime.state = replace(state, domains=state.domains[:1])  # noqa: SLF001 - deleted by its issuer
    scene.force()
    for _ in range(3):
        assert "no security domain" in scene.visit()
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.FAILED
    scene.force(ISD_AID)
    assert scene.visit() == "done"
    scene.assert_in_step(ISD_AID)


def test_an_ssd_that_vanished_under_a_batch_in_flight_does_not_block_the_card_for_ever() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    agent = scene.agent()
    agent.card.reset()
    agent.handshake("one")
    agent.report("one", agent.answer(agent.report("one", VOID)))
    scene.card._runtime.state = replace(scene.card.state, domains=scene.card.state.domains[:1])  # noqa: SLF001 - deleted
    for _ in range(4):
        assert "no security domain" in scene.visit()
    # Whoever says so may be lying: the update is not given up while its keys may be in force.
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    scene.force(ISD_AID)
    scene.visit()
    scene.assert_in_step(ISD_AID)


@pytest.mark.parametrize("kind", [MasterKind.SSD, MasterKind.SSD_INITIAL])
def test_a_master_that_nobody_made_yet_ends_the_visit_in_words_and_leaves_nothing_half_done(kind: MasterKind) -> None:
    scene = build_scene()
    with scene.issuer.store.transaction() as tx:
        master = tx.master_keys.get(f"master-{kind}")
        tx.master_keys.save(replace(master, state=KeyState.PRE_ACTIVATION))
    notification = scene.visit(session=scene.apply())
    assert f"kms keys generate --kind {kind}" in notification
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    with scene.issuer.store.transaction() as tx:
        tx.master_keys.save(master)
    scene.assert_reached()


@pytest.mark.parametrize("kind", [MasterKind.VENDOR, MasterKind.SSD, MasterKind.SSD_INITIAL])
def test_a_master_that_the_token_lost_ends_the_visit_in_words_and_in_a_pending_update(kind: MasterKind) -> None:
    scene = build_scene()
    vault = scene.issuer.vault
    masters = dict(vault.masters)
    object_id = str(kind).encode().ljust(16, b".")
    vault.masters = {key: value for key, value in masters.items() if key != object_id}
    session = scene.apply()
    assert "key.missing" in scene.visit(session=session)
    assert scene.journal(session)[-2:] == ["fault", "gave-up"]
    # What is missing names objects of the HSM: it is for the platform's people, not for the terminal.
    assert "no master key" in scene.events(session)[-2].text
    assert scene.issuer.last_update(SSD_AID).failure_code == BreakCode.KEY_FAULT
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    vault.masters = masters
    scene.assert_reached()
    assert isinstance(vault, SoftwareVault)


def test_an_isd_rotated_while_an_ssds_first_keys_are_in_doubt_loses_neither() -> None:
    for executed in (0, 1, 2):
        scene = build_scene()
        session = scene.apply()
        agent = scene.agent()
        agent.card.reset()
        agent.handshake(session)
        order = agent.report(session, VOID)
        for _ in range(2):
            order = agent.report(session, agent.answer(order))
        assert scene.issuer.key_sets(SSD_AID)[0].delivery is Delivery.IN_FLIGHT
        agent.transmit(order.commands[:executed])
        scene.force(ISD_AID)
        scene.visit()
        scene.assert_in_step(ISD_AID)
        scene.assert_in_step(SSD_AID)
        scene.assert_reached(ISD_AID)
        scene.assert_reached(SSD_AID)


def test_an_initial_key_version_is_never_one_that_the_isd_holds() -> None:
    scene = build_scene(kvn=0x20)
    assert scene.visit(session=scene.apply()) == "done"
    assert [s.kvn for s in scene.issuer.key_sets(SSD_AID)] == [0x21, 0x22]
    assert scene.card.kvns(ISD_AID) == [0x20]


@pytest.mark.parametrize("scp_i", [0x15, 0x55])
def test_forty_rotations_go_round_the_sixteen_versions_and_no_generation_comes_twice(scp_i: int) -> None:
    scene = build_scene(scp_i=scp_i)
    scene.make_ssd()
    for _ in range(40):
        scene.force()
        assert scene.visit() == "done"
        assert len(scene.card.kvns(SSD_AID)) == 1
    sets = [s for s in scene.issuer.key_sets(SSD_AID) if s.purpose is DerivationPurpose.SSD]
    assert [s.generation for s in sets] == list(range(1, 42))
    assert len({s.kcvs for s in sets}) == 41
    scene.assert_in_step()


def test_set_status_refused_after_the_keys_went_in_does_not_stop_flow_2() -> None:
    scene: Scene = build_scene(profile=CardProfile(name="default", set_status_personalized=True))
    assert scene.visit(session=scene.apply()) == "done"
    scene.assert_reached()


def test_a_new_master_is_used_by_the_next_update_although_a_set_was_planned_before() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    agent = scene.agent()
    agent.card.reset()
    agent.handshake("one")
    agent.report("one", VOID)
    update = scene.issuer.last_update(SSD_AID)
    with scene.issuer.store.transaction() as tx:
        tx.key_updates.save(replace(update, state=UpdateState.CANCELLED))
        old = tx.master_keys.get(f"master-{MasterKind.SSD}")
        tx.master_keys.add(replace(old, id="newer", name="newer", object_id=b"." * 16, generation=2))
    masters = scene.issuer.vault.masters
    scene.issuer.vault.masters = {**masters, b"." * 16: masters[old.object_id]}
    scene.force()
    assert scene.visit() == "done"
    proved = next(s for s in scene.issuer.key_sets(SSD_AID) if s.kvn in scene.issuer.sets_in_force(SSD_AID))
    assert proved.master_id == "newer"
