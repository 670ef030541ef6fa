"""Terminals that lie: every answer may be forged, dropped, held back or replayed, and no card is lost by it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kms.card.profile import CardProfile
from kms.domain.keys import Delivery
from kms.domain.orders import AgentStatus, Order, Report
from kms.domain.updates import UpdateState
from kms.service.visits import MAX_OPEN_VISITS
from terminal.virtual_card.personality import Personality
from tests.fakes.agent import VOID
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, Tamper, build_scene, change_answer, sw

LIES: dict[str, Callable[[bytes], bytes]] = {
    "refused": sw(0x6985),
    "wrong data": sw(0x6A80),
    "memory failure": sw(0x6581),
    "no answer": lambda _: b"",
    "half an answer": lambda answer: answer[:1],
    "done": sw(0x9000),
    "a bit turned": lambda answer: answer[:-3] + bytes([answer[-3] ^ 1]) + answer[-2:] if len(answer) > 3 else answer,
    "another length": lambda answer: b"\x00" + answer,
    "other key version": lambda a: a[:10] + bytes([a[10] ^ 0x01]) + a[11:] if len(a) == 30 else a,
    "other counter": lambda a: a[:13] + bytes([a[13] ^ 0x01]) + a[14:] if len(a) == 30 else a,
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("scp_i", [0x15, 0x55, 0x75])
def test_one_forged_answer_anywhere_in_a_rotation_does_not_lose_the_card(lie: str, scp_i: int) -> None:
    for number, index in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]:
        scene = build_scene(scp_i=scp_i, profile=CardProfile(name="default", r_mac=True))
        scene.make_ssd()
        scene.force()
        scene.visit(scene.agent(tamper=change_answer(number, index, LIES[lie])))
        assert scene.issuer.last_update(SSD_AID).state is not UpdateState.FAILED
        scene.assert_reached()
        scene.assert_not_set_aside()


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_one_forged_answer_anywhere_in_flow_2_does_not_lose_the_card(lie: str, route: str) -> None:
    places = [(n, i) for n, count in ((1, 3), (2, 4), (3, 4), (4, 3)) for i in range(count)]
    for number, index in places:
        scene = build_scene(profile=CardProfile(name="default", initial_key_route=route))
        scene.visit(scene.agent(tamper=change_answer(number, index, LIES[lie])), scene.apply())
        scene.assert_reached()
        assert len(scene.card.state.domains) == 2


@pytest.mark.parametrize("lie", LIES)
def test_one_forged_answer_anywhere_in_a_take_over_does_not_lose_the_card(lie: str) -> None:
    for number, index in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)]:
        scene = build_scene(kvn=0xFF, personality=Personality(keep_factory_set=True))
        scene.force(ISD_AID)
        scene.visit(scene.agent(tamper=change_answer(number, index, LIES[lie])))
        scene.assert_reached(ISD_AID)


def test_a_forged_check_value_is_named_and_the_proof_decides() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    flip = change_answer(2, 1, lambda answer: bytes([answer[0], answer[1] ^ 0xFF]) + answer[2:])
    session = scene.session()
    assert scene.visit(scene.agent(tamper=flip), session) == "done"
    assert scene.journal(session) == ["update", "broken", "reconciled", "completed"]
    assert "PUT KEY" in scene.events(session)[1].text
    assert "key-set.doubt" in scene.issuer.audit_actions()
    scene.assert_in_step()


def test_a_card_cryptogram_that_fits_nothing_is_never_answered() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()

    def forge(_order: Order, answers: list[bytes]) -> list[bytes]:
        return [LIES["a bit turned"](answer) if len(answer) == 30 else answer for answer in answers]

    session = scene.session()
    assert scene.visit(scene.agent(tamper=forge), session) == "the card's keys are not the ones on record"
    assert scene.card.count(0x82) == 0
    assert scene.journal(session) == ["update", "mismatch", "gave-up"]
    assert "card.mismatch" in scene.issuer.audit_actions()
    scene.assert_reached()


def test_a_terminal_cannot_pile_up_visits_that_others_have_to_read() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    flood = scene.agent()
    for number in range(40):
        flood.handshake(f"flood-{number}")
    for _ in range(40):
        scene.apply()
    with scene.issuer.store.transaction() as tx:
        assert len(tx.visits.list_open_for_card("card-1")) == MAX_OPEN_VISITS
    ended = flood.report("flood-0", VOID)
    assert ended.stop
    assert "took its place" in ended.notification
    assert scene.visit(scene.agent(terminal=scene.issuer.other_terminal)) == "done"
    scene.assert_in_step()


def test_a_visit_that_gave_way_leaves_its_key_set_to_be_reconciled() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    broken_off = scene.agent()
    broken_off.handshake("first")
    opening = broken_off.report("first", VOID)
    broken_off.transmit(broken_off.report("first", broken_off.answer(opening)).commands)
    for number in range(MAX_OPEN_VISITS):
        broken_off.handshake(f"later-{number}")
    assert scene.visit() == "done"
    scene.assert_in_step()


def test_a_card_enrolled_with_a_wrong_i_is_evidence_against_nobody() -> None:
    scene = build_scene(scp_i=0x15)
    with scene.issuer.store.transaction() as tx:
        card = tx.cards.get("card-1")
        tx.cards.save(replace(card, scp02_i=0x55))  # the cryptogram fits, the random challenge does not
    for _ in range(4):
        session = scene.apply()
        scene.visit(scene.agent(), session)
        assert scene.journal(session) == ["update", "broken", "gave-up"]
    assert "card.mismatch" not in scene.issuer.audit_actions()
    scene.assert_not_set_aside()


def test_a_terminal_that_answers_nonsense_of_another_protocol_is_no_evidence_against_anybody() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    for _ in range(4):
        scene.visit(scene.agent(tamper=lambda _order, answers: [b"\x01\x02\x90\x00" for _ in answers]))
    assert "card.mismatch" not in scene.issuer.audit_actions()
    assert scene.terminal_state().value == "ENROLLED"
    scene.assert_reached()


@pytest.mark.parametrize("where", ["SELECT", "GET STATUS"])
def test_a_terminal_that_says_the_ssd_is_there_already_gets_a_refusal_and_the_next_visit_makes_it(where: str) -> None:
    scene = build_scene()
    entry = bytes.fromhex("E30D4F07") + SSD_AID + bytes.fromhex("9F700107") + b"\x90\x00"
    selected = bytes.fromhex("6F098407") + SSD_AID + b"\x90\x00"
    lie = change_answer(1, 0, lambda _: selected) if where == "SELECT" else change_answer(2, 1, lambda _: entry)
    session = scene.apply()
    assert "did not make it" in scene.visit(scene.agent(tamper=lie), session)
    assert scene.journal(session)[-1] == "gave-up"
    assert "update.break" in scene.issuer.audit_actions()
    scene.assert_reached()
    assert scene.card.kvns(ISD_AID) == [0x01]


@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_get_status_that_lies_absent_after_a_first_attempt_does_no_harm(route: str) -> None:
    scene = build_scene(profile=CardProfile(name="default", initial_key_route=route))
    scene.visit(scene.agent(tamper=change_answer(2, 1, lambda _: b"")), scene.apply())
    scene.visit(scene.agent(tamper=change_answer(2, 1, sw(0x6A88))))
    scene.assert_reached()
    assert scene.card.kvns(ISD_AID) == [0x01]


def test_key_information_that_claims_the_old_set_is_still_there_is_found_out_by_the_next_visit() -> None:
    scene = build_scene(kvn=0xFF, personality=Personality(keep_factory_set=True))
    scene.force(ISD_AID)
    claim = bytes.fromhex("E006C00401FF8010") + b"\x90\x00"
    assert "still shows key version FF" in scene.visit(scene.agent(tamper=change_answer(3, 2, lambda _: claim)))
    scene.assert_reached(ISD_AID)


def test_with_r_mac_nobody_can_hide_that_delete_was_dropped() -> None:
    profile = CardProfile(name="default", r_mac=True)
    scene = build_scene(kvn=0xFF, scp_i=0x75, profile=profile, personality=Personality(keep_factory_set=True))
    scene.force(ISD_AID)
    agent = scene.agent()
    transmit = agent.transmit

    def drop_delete(commands: tuple[bytes, ...]) -> list[bytes]:
        kept = [command for command in commands if command[1] != 0xE4]
        answers = transmit(kept)
        if len(kept) == len(commands):
            return answers
        shown = bytes.fromhex("E006C00401218010")
        return [answers[0], b"\x00\x90\x00", shown + b"\x90\x00"]

    agent.transmit = drop_delete  # type: ignore[method-assign,assignment] # the terminal's lie
    notification = scene.visit(agent)
    assert notification != "done"
    assert scene.card.kvns(ISD_AID) == [0xFF, 0x21]
    scene.assert_reached(ISD_AID)


def withhold(scene: Scene) -> Order:
    """A terminal opens a channel, gets the batch with the new keys, and keeps it."""
    agent = scene.agent()
    agent.card.reset()
    session = scene.session()
    agent.handshake(session)
    opening = agent.report(session, VOID)
    return agent.report(session, agent.answer(opening))


def replay(scene: Scene, batch: Order, host_challenge: bytes) -> list[bytes]:
    """Play the withheld batch to the card behind the same INITIALIZE UPDATE."""
    scene.card.reset()
    select = bytes([0x00, 0xA4, 0x04, 0x00, len(SSD_AID)]) + SSD_AID + b"\x00"
    scene.card.transmit(select)
    scene.card.transmit(host_challenge)
    return [scene.card.transmit(command) for command in batch.commands]


@pytest.mark.parametrize("retry_first", [True, False])
def test_a_withheld_batch_replayed_later_brings_the_same_keys_whichever_wins(retry_first: bool) -> None:
    scene = build_scene(scp_i=0x55)
    scene.make_ssd()
    scene.force()
    batch = withhold(scene)
    opening = next(command for command in reversed(scene.card.log) if command[1] == 0x50)
    if retry_first:
        assert scene.visit() == "done"
    before = scene.card.keys(SSD_AID)
    answers = replay(scene, batch, opening)
    if retry_first:
        assert scene.card.keys(SSD_AID) == before, answers
    else:
        assert scene.card.kvns(SSD_AID) == [0x22]
        assert scene.visit() == "done"
    assert scene.card.kvns(SSD_AID) == [0x22]
    assert [s.generation for s in scene.issuer.key_sets(SSD_AID)] == [0, 1, 2]
    scene.assert_in_step()
    scene.assert_reached()


def test_a_batch_replayed_after_its_set_was_seen_absent_is_still_recognised() -> None:
    scene = build_scene(scp_i=0x55)
    scene.make_ssd()
    scene.force()
    batch = withhold(scene)
    opening = next(command for command in reversed(scene.card.log) if command[1] == 0x50)
    # Another visit reconciles: the old set is in force, the new one was not seen. The counter has not moved.
    agent = scene.agent(terminal=scene.issuer.other_terminal)
    agent.card.reset()
    session = scene.session()
    agent.handshake(session)
    reconcile = agent.report(session, VOID)
    agent.report(session, agent.answer(reconcile))
    scene.issuer.clock.move(minutes=10)
    agent.report(session, VOID)
    replay(scene, batch, opening)
    assert scene.card.kvns(SSD_AID) == [0x22]
    scene.assert_reached()


def test_a_batch_replayed_after_its_update_failed_is_still_recognised() -> None:
    """The terminal holds the batch back, says that the card refuses it, and plays it when the platform gave up."""
    scene = build_scene(scp_i=0x55)
    scene.make_ssd()
    scene.force()
    kept: list[tuple[bytes, Order]] = []

    def refuse(order: Order, answers: list[bytes]) -> list[bytes]:
        return [
            b"\x6a\x84" if command[1] == 0xD8 else answer
            for command, answer in zip(order.commands, answers, strict=True)
        ]

    agent = scene.agent(tamper=refuse)
    transmit = agent.transmit

    def hold_back(commands: tuple[bytes, ...]) -> list[bytes]:
        if any(command[1] == 0xD8 for command in commands):
            kept.append((scene.card.log[-1], agent.orders[-1]))
            return [b"\x90\x00", b"\x6a\x84", b"\x6a\x88"]
        return transmit(commands)

    agent.transmit = hold_back  # type: ignore[method-assign,assignment] # the terminal's lie
    for _ in range(3):
        scene.visit(agent)
    assert scene.issuer.last_update(SSD_AID).state is UpdateState.FAILED
    assert scene.card.kvns(SSD_AID) == [0x21]
    opening, batch = kept[-1]
    replay(scene, batch, opening)
    assert scene.card.kvns(SSD_AID) == [0x22]
    scene.force()
    assert scene.visit() == "done"
    scene.assert_in_step()
    scene.assert_reached()


@pytest.mark.parametrize("replayed", ["before", "after"])
@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_a_whole_creation_held_back_and_played_later_brings_the_same_keys(route: str, replayed: str) -> None:
    """i=55: the ISD's card challenge is known, so all after INITIALIZE UPDATE stays good until its counter moves."""
    scene = build_scene(scp_i=0x55, profile=CardProfile(name="default", initial_key_route=route))
    session, held = scene.apply(), list[bytes]()
    agent = scene.agent()
    agent.card.reset()
    agent.handshake(session)
    order = agent.report(session, VOID)
    opening = order.commands
    answers = agent.transmit(opening)
    for _ in range(2):
        order = agent.report(session, Report(AgentStatus.PROCESSED, order.number, tuple(answers)))
        held += order.commands
        answers = [b"\x90\x00"] * len(order.commands)
    agent.report(session, Report(AgentStatus.PROCESSED, order.number, tuple(answers)))
    if replayed == "after":
        scene.visit()
        scene.visit()
        scene.assert_in_step()
    before = scene.card.keys(SSD_AID), scene.card.keys(ISD_AID)
    scene.card.reset()
    for command in (*opening, *held):
        scene.card.transmit(command)
    if replayed == "after":
        assert (scene.card.keys(SSD_AID), scene.card.keys(ISD_AID)) == before
    scene.assert_reached()
    assert scene.card.kvns(ISD_AID) == [0x01]
    assert len(scene.card.state.domains) == 2


def test_an_agent_that_sends_everything_though_one_command_failed_harms_nothing() -> None:
    for ins in (0x82, 0xF2, 0xE6, 0xE2, 0xD8, 0xE4):
        scene = build_scene(kvn=0xFF, personality=Personality(keep_factory_set=True))
        scene.force(ISD_AID)
        agent = scene.agent()
        transmit, broken = agent.transmit, list[bytes]()

        def spoil(commands: tuple[bytes, ...]) -> list[bytes]:
            """One command reaches the card with a wrong MAC, once."""
            spoilt = list(commands)
            for position, command in enumerate(commands):
                if command[1] == ins and not broken:  # noqa: B023 - used within the turn of the loop
                    broken.append(command)  # noqa: B023 - the same
                    spoilt[position] = command[:-2] + bytes([command[-2] ^ 1]) + command[-1:]
            return transmit(spoilt)  # noqa: B023 - the same

        agent.transmit = spoil  # type: ignore[method-assign,assignment] # a line that turns a bit
        scene.visit(agent, scene.apply())
        assert broken
        scene.assert_reached(ISD_AID)
        scene.assert_reached(SSD_AID)
        assert scene.card.kvns(ISD_AID) == scene.issuer.sets_in_force(ISD_AID)


def test_a_card_swapped_in_the_middle_gets_no_authentication_and_the_right_one_goes_on() -> None:
    scene, stranger = build_scene(), build_scene(card_key=bytes(range(0x60, 0x70))).card
    scene.make_ssd()
    scene.force(ISD_AID)
    agent = scene.agent()
    agent.card.reset()
    session = scene.session()
    agent.handshake(session)
    agent.report(session, VOID)
    agent.card = stranger
    stranger.reset()
    order = agent.orders[-1]
    while not order.stop:
        order = agent.report(session, agent.answer(order))
    assert order.notification == "the card's keys are not the ones on record"
    assert stranger.count(0x82) == 0
    scene.assert_reached(ISD_AID)
    scene.assert_not_set_aside()


def test_two_interleaved_visits_the_later_cryptogram_fences_the_earlier_one() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    first, second = scene.agent(), scene.agent(terminal=scene.issuer.other_terminal)
    scene.card.reset()
    first.handshake("first")
    opening = first.report("first", VOID)
    answered = first.answer(opening)
    scene.issuer.clock.move(minutes=1)
    second.handshake("second")
    second.report("second", VOID)
    # The first goes on while the second only waits: it is not fenced yet.
    wrapped = first.report("first", answered)
    assert len(wrapped.commands) == 3
    scene.card.reset()
    report = second.answer(second.orders[-1])
    second.report("second", report)
    assert "visit.fence" in scene.issuer.audit_actions()
    fenced = first.report("first", Report(AgentStatus.PROCESSED, wrapped.number, (b"\x90\x00",) * 3))
    assert fenced.stop
    assert not fenced.commands
    order = second.orders[-1]
    while not order.stop:
        order = second.report("second", second.answer(order))
    assert order.notification == "done"
    scene.assert_in_step()
    scene.assert_reached()


def test_reports_that_claim_every_status_end_in_words_and_not_in_a_lost_card() -> None:
    for status in AgentStatus:
        scene = build_scene()
        scene.make_ssd()
        scene.force()
        agent = scene.agent()
        agent.card.reset()
        session = scene.session()
        agent.handshake(session)
        agent.report(session, VOID)
        order = agent.report(session, Report(status, 1, ()))
        for _ in range(8):
            if order.stop:
                break
            order = agent.report(session, Report(status, order.number, ()))
        assert order.stop
        assert order.notification
        scene.assert_reached()


def lie_at(number: int, answers_for: Callable[[Order], list[bytes]]) -> Tamper:
    return lambda order, answers: answers_for(order) if order.number == number else answers


def test_more_or_fewer_answers_than_commands_are_refused() -> None:
    for answers in ([], [b"\x90\x00"], [b"\x90\x00"] * 7):
        for number in (1, 2):
            scene = build_scene()
            scene.make_ssd()
            scene.force()
            scene.visit(scene.agent(tamper=lie_at(number, lambda _order, a=answers: list(a))))  # type: ignore[misc] # bound now
            scene.assert_reached()


def test_no_set_in_force_is_moved_back_by_any_of_this() -> None:
    scene = build_scene()
    scene.make_ssd()
    proved = replace(next(s for s in scene.issuer.key_sets(SSD_AID) if s.delivery is Delivery.PROVED))
    scene.force()
    scene.visit(scene.agent(tamper=lambda _order, answers: [b"\x69\x85"] * len(answers)))
    assert proved in scene.issuer.key_sets(SSD_AID)
    scene.assert_reached()
