"""At most once: reports twice, late, with the wrong cookie or none; sessions and terminals that are not theirs."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from kms.domain.cards import DomainState
from kms.domain.keys import Delivery
from kms.domain.orders import AgentStatus, Order, Report
from kms.domain.updates import UpdateState
from kms.domain.visits import VisitState
from kms.errors import Code, KmsError
from kms.service.terminals import TerminalService
from terminal.virtual_card.personality import Personality
from tests.fakes.agent import VOID, Agent
from tests.fakes.issuer import IDENTITY, away
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene


@pytest.fixture
def scene() -> Scene:
    """A card whose SSD waits for a rotation."""
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    return scene


def begin(scene: Scene, session: str = "one") -> tuple[Agent, Order]:
    agent = scene.agent()
    agent.card.reset()
    agent.handshake(session)
    return agent, agent.report(session, VOID)


def finish(agent: Agent, order: Order, session: str = "one") -> Order:
    while not order.stop:
        order = agent.report(session, agent.answer(order))
    return order


def visit_state(scene: Scene, session: str) -> VisitState:
    with scene.issuer.store.transaction() as tx:
        visit = tx.visits.find_by_session(session)
    assert visit is not None
    return visit.state


def test_the_same_report_with_the_same_cookie_gets_the_same_order_again(scene: Scene) -> None:
    agent, opening = begin(scene)
    report = agent.answer(opening)
    batch = agent.report("one", report)
    assert agent.report("one", report) == batch
    assert agent.report("one", report) == batch
    stop = finish(agent, batch)
    assert stop.notification == "done"
    assert agent.report("one", report) == stop
    scene.assert_in_step()


def test_a_lost_stop_is_given_again(scene: Scene) -> None:
    agent, order = begin(scene)
    while not order.stop:
        report = agent.answer(order)
        order = agent.report("one", report)
    assert agent.report("one", report) == order
    assert agent.report("one", VOID) == order


@pytest.mark.parametrize("cookie", [None, 0, 7])
def test_an_answer_with_no_or_an_impossible_cookie_never_makes_a_wrapped_command_go_twice(
    scene: Scene, cookie: int | None
) -> None:
    agent, opening = begin(scene)
    batch = agent.report("one", agent.answer(opening))
    answers = agent.answer(batch).responses
    next_order = agent.report("one", Report(AgentStatus.PROCESSED, cookie, answers))
    assert not set(next_order.commands) & set(batch.commands)
    finish(agent, next_order)
    wrapped = [command for command in scene.card.log if command[0] & 0x04]
    assert len(wrapped) == len(set(wrapped))
    scene.assert_in_step()


def test_a_void_report_where_an_answer_was_due_reconciles_in_a_new_channel(scene: Scene) -> None:
    agent, opening = begin(scene)
    batch = agent.report("one", agent.answer(opening))
    agent.transmit(batch.commands)
    order = agent.report("one", VOID)
    assert [command[1] for command in order.commands] == [0xA4, 0xCA, 0x50, 0x50]
    assert finish(agent, order).notification == "done"
    assert scene.journal("one") == ["update", "restart", "reconciled", "completed"]
    scene.assert_in_step()


def test_a_visit_starts_over_only_so_often(scene: Scene) -> None:
    agent, order = begin(scene)
    for _ in range(4):
        assert not order.stop
        order = agent.report("one", VOID)
    assert order.stop
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    scene.assert_reached()


@pytest.mark.parametrize("executed", [True, False])
def test_a_late_report_settles_what_it_proves_and_sends_nothing(scene: Scene, executed: bool) -> None:
    agent, opening = begin(scene)
    batch = agent.report("one", agent.answer(opening))
    report = agent.answer(batch) if executed else VOID
    scene.issuer.clock.move(minutes=6)
    order = agent.report("one", report)
    assert order.stop
    assert not order.commands
    assert visit_state(scene, "one") is VisitState.EXPIRED
    last = scene.issuer.key_sets(SSD_AID)[-1]
    assert last.delivery is (Delivery.PROVED if executed else Delivery.IN_DOUBT)
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.PENDING
    scene.assert_reached()


def test_a_late_report_never_moves_a_state_back(scene: Scene) -> None:
    agent, opening = begin(scene)
    batch = agent.report("one", agent.answer(opening))
    report = agent.answer(batch)
    assert scene.visit() == "done"
    before = scene.issuer.key_sets(SSD_AID)
    scene.issuer.clock.move(minutes=60)
    assert agent.report("one", report).stop
    assert agent.report("one", replace(report, responses=(b"\x69\x85",) * 3)).stop
    assert scene.issuer.key_sets(SSD_AID) == before
    scene.assert_reached()


def test_an_order_is_not_sent_again_after_the_deadline(scene: Scene) -> None:
    agent, opening = begin(scene)
    report = agent.answer(opening)
    agent.report("one", report)
    scene.issuer.clock.move(minutes=6)
    order = agent.report("one", report)
    assert order.stop
    assert not order.commands
    scene.assert_reached()


def test_a_handshake_again_in_the_middle_changes_nothing(scene: Scene) -> None:
    agent, opening = begin(scene)
    agent.handshake("one")
    batch = agent.report("one", agent.answer(opening))
    agent.handshake("one")
    assert finish(agent, batch).notification == "done"
    with pytest.raises(KmsError) as caught:
        agent.handshake("one")
    assert caught.value.code is Code.SESSION_UNKNOWN
    scene.assert_reached()


def test_a_report_that_another_request_overtakes_is_served_from_the_start_and_undoes_nothing() -> None:
    meanwhile: list[Callable[[], object]] = []
    numbers = itertools.count(1)

    def entropy(length: int) -> bytes:
        if meanwhile:
            meanwhile.pop()()
        return next(numbers).to_bytes(length, "little")

    scene = build_scene(entropy=entropy)
    scene.make_ssd()
    scene.force()
    agent, opening = begin(scene)
    report = agent.answer(opening)
    twin: list[Order] = []
    meanwhile += [lambda: twin.append(agent.report("one", report)), lambda: agent.handshake("one")]
    batch = agent.report("one", report)
    assert twin == [batch]
    with scene.issuer.store.transaction() as tx:
        visit = tx.visits.find_by_session("one")
    assert visit is not None
    assert (visit.order_number, visit.requests) == (2, 5)
    assert finish(agent, batch).notification == "done"
    scene.assert_in_step()


def test_an_order_or_program_that_cannot_be_read_starts_the_visit_over(scene: Scene) -> None:
    for spoilt in ({"order": "{}"}, {"program": '{"kind": "of another version"}'}, {"order": "?", "program": None}):
        session = scene.session()
        agent, opening = begin(scene, session)
        report = agent.answer(opening)
        batch = agent.report(session, report)
        with scene.issuer.store.transaction() as tx:
            visit = tx.visits.find_by_session(session)
            assert visit is not None
            tx.visits.save(replace(visit, **spoilt))
        for repeated in (report, agent.answer(batch)):
            assert not set(agent.report(session, repeated).commands) & set(batch.commands) or "order" not in spoilt
        assert finish(agent, agent.report(session, VOID), session).notification == "done"
        scene.assert_reached()
        scene.force()


def test_an_agent_without_cookies_does_all_flows() -> None:
    scene = build_scene(kvn=0xFF, personality=Personality(keep_factory_set=True))
    scene.force(ISD_AID)
    assert scene.visit(scene.agent(cookies=False)) == "done"
    scene.assert_in_step(ISD_AID)
    assert scene.visit(scene.agent(cookies=False), scene.apply()) == "done"
    scene.assert_in_step()
    scene.force()
    agent = scene.agent(cookies=False)
    assert scene.visit(agent) == "done"
    assert (agent.requests, agent.apdus) == (4, 5)
    scene.assert_reached()


def test_an_agent_without_cookies_that_reports_twice_makes_the_visit_start_over(scene: Scene) -> None:
    agent, opening = begin(scene)
    agent.cookies = False
    report = agent.answer(opening)
    agent.report("one", report)
    order = agent.report("one", report)
    assert "restart" in scene.journal("one")
    assert finish(agent, order).notification == "done"
    scene.assert_in_step()


def test_an_agent_without_cookies_that_lost_the_card_ends_the_visit(scene: Scene) -> None:
    agent, _opening = begin(scene)
    order = agent.report("one", Report(AgentStatus.UNAVAILABLE_SE, None))
    assert order.notification == "the card was taken away: present it again"
    scene.assert_reached()


def test_a_session_of_another_terminal_is_not_its_own(scene: Scene) -> None:
    agent, opening = begin(scene)
    thief = scene.agent(terminal=scene.issuer.other_terminal)
    for attempt in (
        lambda: thief.report("one", agent.answer(opening)),
        lambda: thief.handshake("one"),
        lambda: thief.report("never opened", VOID),
    ):
        with pytest.raises(KmsError) as caught:
            attempt()
        assert caught.value.code is Code.SESSION_UNKNOWN
    assert visit_state(scene, "one") is VisitState.OPEN


def test_a_session_is_for_one_card(scene: Scene) -> None:
    begin(scene)
    with pytest.raises(KmsError) as caught:
        scene.issuer.visits.handshake(scene.issuer.terminal, "one", [b"\x01\x02\x03"])
    assert caught.value.code is Code.SESSION_UNKNOWN
    with pytest.raises(KmsError) as caught:
        scene.issuer.visits.handshake(scene.issuer.terminal, "two", [b"\x01\x02\x03"])
    assert caught.value.code is Code.CARD_UNKNOWN
    chosen = scene.issuer.visits.handshake(scene.issuer.terminal, "three", [b"\x01\x02\x03", IDENTITY])
    assert chosen == IDENTITY


def test_a_suspended_terminal_is_refused_at_the_door_and_the_card_goes_on_elsewhere(scene: Scene) -> None:
    agent, opening = begin(scene)
    agent.report("one", agent.answer(opening))
    terminals = TerminalService(
        store=scene.issuer.store, clock=scene.issuer.clock, identifiers=scene.issuer.identifiers
    )
    terminals.suspend("counter-1", reason="stolen", actor="test")
    with pytest.raises(KmsError) as caught:
        terminals.authenticate(scene.issuer.terminal.fingerprint)
    assert caught.value.code is Code.TERMINAL_REFUSED
    assert scene.visit(scene.agent(terminal=scene.issuer.other_terminal)) == "done"
    scene.assert_in_step()


def test_while_the_hsm_is_away_nothing_changes_and_the_same_report_goes_on_later(scene: Scene) -> None:
    agent, opening = begin(scene)
    report = agent.answer(opening)
    before = scene.issuer.key_sets(SSD_AID)
    scene.issuer.vault.fail_with = away()
    with pytest.raises(KmsError) as caught:
        agent.report("one", report)
    assert caught.value.code is Code.HSM_UNAVAILABLE
    assert scene.issuer.key_sets(SSD_AID) == before
    scene.issuer.vault.fail_with = None
    assert finish(agent, agent.report("one", report)).notification == "done"


def test_wrapped_keys_do_not_outlive_the_visit(scene: Scene) -> None:
    scene.visit(session="one")
    with scene.issuer.store.transaction() as tx:
        visit = tx.visits.find_by_session("one")
    assert visit is not None
    assert (visit.order, visit.program) == (None, None)


def test_sets_in_doubt_are_settled_even_when_nothing_is_pending() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    agent, opening = begin(scene)
    agent.transmit(agent.report("one", agent.answer(opening)).commands)
    update = scene.issuer.last_update(SSD_AID)
    with scene.issuer.store.transaction() as tx:
        tx.key_updates.save(replace(update, state=UpdateState.CANCELLED))
    scene.visit()
    assert scene.issuer.sets_in_force(SSD_AID) == scene.card.kvns(SSD_AID) == [0x22]
    assert scene.issuer.domain(SSD_AID).state is DomainState.KEYED
