"""Flow 3 among liars: terminals, a provider, an issuer and a third party. Each ends in a named refusal and a record,
and the right owner still reaches the card.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from kms.card.keys import KcvMethod, KeyType
from kms.domain.hand_over import build_payload, parse_payload
from kms.domain.orders import AgentStatus, Order, Report
from kms.domain.transfers import (
    Envelope,
    HandOver,
    RelayedOrder,
    TransferReason,
    TransferRequest,
    TransferState,
)
from kms.domain.updates import UpdateState
from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from kms.service.terminals import TerminalService
from kms.service.transfers import TransferService
from tests.fakes.agent import VOID, Agent
from tests.fakes.issuer import IDENTITY, PROVIDER, SSD_AID
from tests.fakes.provider import KEK, SSD
from tests.fakes.scene import change_answer, sw
from tests.fakes.software_keys import check_value
from tests.fakes.transfer_scene import TransferScene, build_stranger, build_transfer_scene

LIES: dict[str, Callable[[bytes], bytes]] = {
    "refused": sw(0x6985),
    "no answer": lambda _: b"",
    "done": sw(0x9000),
    "a bit turned": lambda answer: answer[:-3] + bytes([answer[-3] ^ 1]) + answer[-2:] if len(answer) > 3 else answer,
}
ID = "3f2b8f6e-0000-4000-8000-000000000001"
OTHER_ID = "3f2b8f6e-0000-4000-8000-000000000002"
ASKED = TransferRequest(ID, TransferReason.CREATE, IDENTITY, SSD, b"\x80", KeyType.DES2)


def list_places() -> list[tuple[int, int]]:
    """Each answer of flow 3: the Order's number and the answer's place."""
    scene = build_transfer_scene()
    agent = scene.agent()
    scene.apply(agent)
    return [(order.number, index) for order in agent.orders for index in range(len(order.commands))]


def refuse(code: Code, call: Callable[[], object]) -> KmsError:
    with pytest.raises(KmsError) as error:
        call()
    assert error.value.code is code
    return error.value


class TestTerminals:
    @pytest.mark.parametrize("lie", LIES)
    def test_one_forged_answer_anywhere_does_not_lose_the_card(self, lie: str) -> None:
        for number, index in list_places():
            scene = build_transfer_scene()
            scene.apply(scene.agent(tamper=change_answer(number, index, LIES[lie])))
            scene.assert_reached()

    def test_all_answers_forged_from_some_place_on(self) -> None:
        for number in range(1, 7):
            scene = build_transfer_scene()

            def tamper(order: Order, answers: list[bytes], first: int = number) -> list[bytes]:
                return [b"\x90\x00" for _ in answers] if order.number >= first else answers

            scene.apply(scene.agent(tamper=tamper))
            scene.assert_reached()

    def test_a_card_that_is_swapped_at_any_order_gets_nothing(self) -> None:
        """Neither platform's keys go to a stranger, and the right card is reached at another terminal."""
        for number in range(1, 7):
            scene, stranger = build_transfer_scene(), build_stranger()
            agent = SwappingAgent(
                scene.provider.visits, scene.provider.terminal, scene.card, IDENTITY, swap_at=number, other=stranger
            )
            scene.apply(agent)
            assert [len(domain.key_sets) for domain in stranger.state.domains] == [1]
            assert stranger.state.isd.key_sets[0].kvn == 0x01
            scene.provider.terminal = scene.provider.other_terminal
            scene.assert_reached()

    def test_an_agent_without_cookies_is_served(self) -> None:
        scene = build_transfer_scene()
        assert scene.apply(scene.agent(cookies=False)) == "done"
        scene.assert_handed_over()

    def test_reports_that_come_twice_or_as_void_do_no_harm(self) -> None:
        scene = build_transfer_scene()
        session, agent = scene.provider.apply(), scene.agent()
        agent.handshake(session)
        report = VOID
        while not (order := agent.report(session, report)).stop:
            assert agent.report(session, report).number in (order.number, order.number + 1)
            report = agent.answer(agent.orders[-1]) if not agent.orders[-1].stop else VOID
        scene.assert_reached()

    def test_answers_after_the_deadline_are_not_lost_on_the_next_visit(self) -> None:
        for number in range(1, 6):
            scene = build_transfer_scene()

            def tamper(
                order: Order, answers: list[bytes], late: int = number, at: TransferScene = scene
            ) -> list[bytes]:
                if order.number == late:
                    at.issuer.clock.move(minutes=6)
                return answers

            assert "took too long" in scene.apply(scene.agent(tamper=tamper))
            scene.assert_reached()

    def test_a_visit_that_another_overtook_reports_late(self) -> None:
        """A visit is left at each of its Orders, another one finishes elsewhere, then the first one's answers come."""
        for number in range(1, 6):
            for acted in (False, True):
                scene = build_transfer_scene()
                session, agent = scene.provider.apply(), scene.agent()
                agent.handshake(session)
                order = agent.report(session, VOID)
                while order.number < number:
                    order = agent.report(session, agent.answer(order))
                late = agent.answer(order) if acted else Report(AgentStatus.PROCESSED, order.number, (b"",))
                scene.visit(scene.agent(terminal=scene.provider.other_terminal))
                keys = scene.card.keys(SSD)
                while not (answer := agent.report(session, late)).stop:
                    late = agent.answer(answer)
                assert scene.card.keys(SSD) == keys
                scene.assert_reached()

    def test_batches_that_are_held_back_and_played_after_all_is_done_change_nothing(self) -> None:
        scene = build_transfer_scene()
        kept: list[Order] = []

        def tamper(order: Order, answers: list[bytes]) -> list[bytes]:
            kept.append(order)
            return answers

        scene.apply(scene.agent(tamper=tamper))
        keys = scene.card.keys(SSD)
        for order in kept:
            scene.card.reset()
            for command in order.commands:
                scene.card.transmit(command)
        assert scene.card.keys(SSD) == keys
        scene.assert_reached()


class SwappingAgent(Agent):
    """Puts another card into the reader when an Order comes."""

    def __init__(self, *args: object, swap_at: int, other: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type] # passed on as they are
        self.swap_at, self.other = swap_at, other

    def answer(self, order: Order) -> Report:
        if order.number == self.swap_at:
            self.card = self.other  # type: ignore[assignment] # a card
            self.card.reset()
        return super().answer(order)


class TestProviders:
    @pytest.mark.parametrize(
        ("change", "code", "why"),
        [
            ({"aid": SSD_AID}, Code.PEER_NOT_ALLOWED, "the AID is not"),
            ({"privileges": b"\x9e"}, Code.PEER_NOT_ALLOWED, "the privileges are not"),
            ({"key_type": KeyType.DES3}, Code.TRANSFER_REFUSED, "take DES2 or AES keys"),
            ({"card_identity": b"\x01\x02"}, Code.CARD_UNKNOWN, "enrolled"),
            ({"reason": TransferReason.REKEY}, Code.TRANSFER_REFUSED, "no such security domain"),
        ],
    )
    def test_what_may_not_be_asked_for_is_refused_and_recorded(
        self, change: dict[str, object], code: Code, why: str
    ) -> None:
        scene = build_transfer_scene()
        request = replace(ASKED, **change)  # type: ignore[arg-type] # fields of the request
        error = refuse(code, lambda: scene.issuer.transfers.request("provider", request))
        assert why in error.detail
        (event,) = scene.events("issuer", "transfer.request")
        assert (event.actor, event.result) == ("peer provider", f"refused: {code}")
        assert ID in event.detail
        assert scene.card.log == []

    def test_another_ones_security_domain_is_refused(self) -> None:
        scene = build_transfer_scene()
        scene.hand_over()
        domain = scene.issuer.domain(SSD)
        with scene.issuer.store.transaction() as tx:
            tx.security_domains.save(replace(domain, managed_by="rival"))
        for reason in TransferReason:
            request = replace(ASKED, reason=reason)
            error = refuse(Code.TRANSFER_REFUSED, partial(scene.issuer.transfers.request, "provider", request))
            assert "belongs to another platform" in error.detail

    def test_quotas_hold(self) -> None:
        scene = build_transfer_scene()
        limit = build_limited(scene, max_open_transfers=1)
        limit.request("provider", ASKED)
        limit.request("provider", ASKED)  # the same again is no other
        other = replace(ASKED, transfer_id=OTHER_ID)
        refuse(Code.PEER_QUOTA, lambda: limit.request("provider", other))
        per_day = build_limited(scene, max_transfers_per_day=1)
        refuse(Code.PEER_QUOTA, lambda: per_day.request("provider", other))
        assert scene.events("issuer", "transfer.request")[-1].result == f"refused: {Code.PEER_QUOTA}"

    def test_an_id_is_for_one_request(self) -> None:
        scene = build_transfer_scene()
        scene.issuer.transfers.request("provider", ASKED)
        changed = replace(ASKED, aid=SSD + b"\x01")
        refuse(Code.TRANSFER_CONFLICT, lambda: scene.issuer.transfers.request("provider", changed))

    def test_nothing_is_handed_over_before_the_proof_or_after_control(self) -> None:
        scene = build_transfer_scene()
        transfers = scene.issuer.transfers
        transfers.request("provider", ASKED)
        refuse(Code.TRANSFER_STATE, lambda: transfers.hand_over("provider", ID))
        refuse(Code.TRANSFER_STATE, lambda: transfers.accept_control("provider", ID))
        scene.hand_over()
        closed = scene.provider.transfer().id
        refuse(Code.TRANSFER_STATE, lambda: transfers.hand_over("provider", closed))
        assert transfers.accept_control("provider", closed) is TransferState.CLOSED

    def test_one_that_never_accepts_control_gets_the_same_keys_again_until_a_later_request(self) -> None:
        scene = build_transfer_scene()
        relay_whole(scene, ID)
        first = parse_payload(scene.issuer.transfers.hand_over("provider", ID).payload)
        scene.issuer.clock.move(days=2)
        again = parse_payload(scene.issuer.transfers.hand_over("provider", ID).payload)
        assert (again.kcvs, again.kvn, again.generation) == (first.kcvs, first.kvn, first.generation)
        assert again.expires_at > first.expires_at
        relay_whole(scene, OTHER_ID)
        refuse(Code.TRANSFER_STATE, lambda: scene.issuer.transfers.hand_over("provider", ID))
        refuse(Code.TRANSFER_STATE, lambda: scene.issuer.transfers.accept_control("provider", ID))
        later = parse_payload(scene.issuer.transfers.hand_over("provider", OTHER_ID).payload)
        assert later.kcvs == first.kcvs
        results = [event.result for event in scene.events("issuer", "transfer.hand-over")]
        assert results == ["issued", "issued again", "issued"]
        assert [event.result for event in scene.events("issuer", "transfer.refuse")] == [
            "a later request took its place"
        ]
        scene.assert_reached()

    def test_reports_out_of_order_and_repeated_do_no_harm(self) -> None:
        scene = build_transfer_scene()
        transfers = scene.issuer.transfers
        transfers.request("provider", ASKED)
        first = transfers.report("provider", ID, VOID)
        answers = transmit(scene, first)
        second = transfers.report("provider", ID, Report(AgentStatus.PROCESSED, first.number, answers))
        again = transfers.report("provider", ID, Report(AgentStatus.PROCESSED, first.number, answers))
        assert again == second
        ahead = Report(AgentStatus.PROCESSED, second.number + 5, answers)
        new_channel = transfers.report("provider", ID, ahead)
        assert new_channel.number == second.number + 1
        assert new_channel.commands != second.commands
        scene.assert_reached()

    def test_a_card_swapped_under_the_issuer_gets_nothing_and_the_peer_is_named(self) -> None:
        scene, stranger = build_transfer_scene(), build_stranger()
        texts = [scene.apply(scene.agent(card=stranger)) for _ in range(3)]
        assert all("provider" not in text and text != "done" for text in texts)
        assert len(stranger.state.domains) == 1
        with scene.issuer.store.transaction() as tx:
            counterpart = tx.terminals.find_by_name("peer provider")
        assert counterpart is not None
        assert counterpart.state is TerminalState.SUSPENDED
        officers = TerminalService(
            store=scene.issuer.store, clock=scene.issuer.clock, identifiers=scene.issuer.identifiers
        )
        officers.resume("peer provider", actor="officer")
        scene.issuer.clock.move(minutes=1)
        scene.assert_reached()

    def test_another_peer_finds_no_transfer(self) -> None:
        scene = build_transfer_scene()
        transfers = scene.issuer.transfers
        transfers.request("provider", ASKED)
        calls: list[Callable[[], object]] = [
            lambda: transfers.get("rival", ID),
            lambda: transfers.report("rival", ID, VOID),
            lambda: transfers.hand_over("rival", ID),
            lambda: transfers.accept_control("rival", ID),
            lambda: transfers.request("rival", ASKED),
        ]
        for call in calls:
            refuse(Code.TRANSFER_UNKNOWN, call)
        scene.assert_reached()


def build_limited(scene: TransferScene, **limits: int) -> TransferService:
    """The issuer's service with other limits for the provider."""
    issuer = scene.issuer
    return TransferService(
        store=issuer.store,
        vault=issuer.vault,  # type: ignore[arg-type] # transfers use scopes and signatures
        clock=issuer.clock,
        identifiers=issuer.identifiers,
        visits=issuer.visits,
        peers={"provider": replace(PROVIDER, **limits)},  # type: ignore[arg-type] # numbers all
        platform="issuer",
    )


def transmit(scene: TransferScene, order: RelayedOrder) -> tuple[bytes, ...]:
    return tuple(scene.card.transmit(command) for command in order.commands)


def relay_whole(scene: TransferScene, transfer_id: str) -> None:
    """A provider of its own making: asks, and relays to the end of the issuer's part."""
    scene.issuer.clock.move(minutes=1)
    scene.card.reset()
    transfers = scene.issuer.transfers
    transfers.request("provider", replace(ASKED, transfer_id=transfer_id))
    order = transfers.report("provider", transfer_id, VOID)
    while not order.ended:
        report = Report(AgentStatus.PROCESSED, order.number, transmit(scene, order))
        order = transfers.report("provider", transfer_id, report)
    assert order.state is TransferState.PROVED


def _swap_keys(hand_over: HandOver) -> HandOver:
    first, second, third = hand_over.wrapped
    return replace(hand_over, wrapped=(second, first, third))


def _turn_bit(hand_over: HandOver) -> HandOver:
    first, *rest = hand_over.wrapped
    return replace(hand_over, wrapped=(bytes([first[0] ^ 1]) + first[1:], *rest))


WRONG_CONTENTS: dict[str, tuple[Callable[[HandOver], HandOver], Code]] = {
    "for another platform": (lambda h: replace(h, provider="rival"), Code.ENVELOPE_RECIPIENT),
    "by another platform": (lambda h: replace(h, issuer="rival"), Code.ENVELOPE_ISSUER),
    "of another transfer": (lambda h: replace(h, transfer_id=OTHER_ID), Code.ENVELOPE_TRANSFER),
    "for another card": (lambda h: replace(h, card_identity=b"\x01\x02"), Code.ENVELOPE_CARD),
    "for another SSD": (lambda h: replace(h, aid=SSD + b"\x01"), Code.ENVELOPE_DOMAIN),
    "valid for long": (lambda h: replace(h, expires_at=h.issued_at + timedelta(days=2)), Code.ENVELOPE_PERIOD),
    "of the future": (
        lambda h: replace(h, issued_at=h.issued_at + timedelta(hours=1), expires_at=h.expires_at + timedelta(hours=1)),
        Code.ENVELOPE_EARLY,
    ),
    "of the past": (
        lambda h: replace(h, issued_at=h.issued_at - timedelta(days=2), expires_at=h.expires_at - timedelta(days=2)),
        Code.ENVELOPE_EXPIRED,
    ),
    "keys of another type": (lambda h: replace(h, key_type=KeyType.AES128), Code.ENVELOPE_KEY_TYPE),
    "under another KEK": (lambda h: replace(h, kek_kcv=bytes(5)), Code.ENVELOPE_KEK),
    "check values cut": (lambda h: replace(h, kcvs=tuple(kcv[:2] for kcv in h.kcvs)), Code.ENVELOPE_KEYS),
    "keys in another order": (_swap_keys, Code.KEY_KCV_MISMATCH),
    "a wrapped key damaged": (_turn_bit, Code.KEY_UNWRAP_REFUSED),
}


class TestIssuers:
    @pytest.mark.parametrize("wrong", WRONG_CONTENTS)
    def test_a_signed_envelope_that_is_wrong_is_refused_by_name(self, wrong: str) -> None:
        change, code = WRONG_CONTENTS[wrong]
        scene = build_transfer_scene()
        scene.issue(change)
        assert scene.apply() != "done"
        (event,) = scene.events("provider", "transfer.refuse")
        assert event.result == f"refused: {code}"
        assert scene.provider.transfer().envelope is None
        assert scene.provider.key_sets() == []
        scene.be_honest()
        scene.assert_reached()

    def test_an_envelope_that_is_altered_or_not_canonical_or_unsigned_is_refused_by_name(self) -> None:
        def alter(envelope: Envelope) -> Envelope:
            return Envelope(envelope.payload.replace(b'"scp":2', b'"scp":3'), envelope.signature)

        def cut(envelope: Envelope) -> Envelope:
            return Envelope(envelope.payload, envelope.signature[:-1])

        def space(envelope: Envelope) -> Envelope:
            return scene.sign(envelope.payload.replace(b":", b": "))

        for change, code in [
            (alter, Code.ENVELOPE_SIGNATURE),
            (cut, Code.ENVELOPE_SIGNATURE),
            (space, Code.ENVELOPE_MALFORMED),
        ]:
            scene = build_transfer_scene()
            scene.provider.line.change_envelope = change
            assert scene.apply() != "done"
            assert scene.events("provider", "transfer.refuse")[-1].result == f"refused: {code}"
            scene.be_honest()
            scene.assert_reached()

    def test_an_envelope_of_an_earlier_transfer_is_refused(self) -> None:
        scene = build_transfer_scene()
        relay_whole(scene, ID)
        old = scene.issuer.transfers.hand_over("provider", ID)
        scene.provider.line.change_envelope = lambda _envelope: old
        assert scene.apply() != "done"
        assert scene.events("provider", "transfer.refuse")[-1].result == f"refused: {Code.ENVELOPE_TRANSFER}"
        scene.be_honest()
        scene.assert_reached()

    def test_keys_that_the_card_does_not_hold_are_distrusted_and_asked_for_again(self) -> None:
        """The envelope is right in itself: its check values fit its keys, but the card holds others."""
        scene = build_transfer_scene()
        value = bytes(range(0x70, 0x80))
        kcv = check_value(value, KeyType.DES2, KcvMethod.DES_ZERO)
        wrapped = aes_key_wrap(KEK, value)

        def issue_others(hand_over: HandOver) -> HandOver:
            return replace(hand_over, kcvs=(kcv,) * 3, wrapped=(wrapped,) * 3)

        scene.issue(issue_others)
        assert "do not open the card" in scene.apply()
        assert scene.events("provider", "transfer.distrust")[0].subject == f"transfer {scene.provider.transfer().id}"
        assert scene.provider.transfer().envelope is None
        with scene.provider.store.transaction() as tx:
            terminal = tx.terminals.get(scene.provider.terminal.id)
        assert terminal.state is TerminalState.ENROLLED
        scene.be_honest()
        scene.assert_reached()

    def test_a_proof_that_is_claimed_while_nothing_is_on_the_card(self) -> None:
        scene = build_transfer_scene()
        elsewhere = build_transfer_scene()
        relay_whole(elsewhere, ID)

        def claim(order: RelayedOrder) -> RelayedOrder:
            return RelayedOrder(order.number, (), ended=True, state=TransferState.PROVED, text="done")

        def issue(hand_over: HandOver) -> Envelope:
            wanted = scene.provider.transfer().id
            return scene.sign(build_payload(replace(hand_over, transfer_id=wanted)))

        false = parse_payload(elsewhere.issuer.transfers.hand_over("provider", ID).payload)
        scene.provider.line.change_order = claim
        scene.provider.line.hand_over = lambda transfer_id: issue(false)  # type: ignore[method-assign] # noqa: ARG005 - the lie
        assert scene.apply() != "done"
        assert len(scene.card.state.domains) == 1
        assert scene.provider.last_update().state is UpdateState.PENDING
        assert scene.events("provider", "update.break")
        del scene.provider.line.hand_over
        scene.be_honest()
        scene.issuer.clock.move(days=1)  # the false envelope's end: the issuer is asked again
        scene.assert_reached()

    def test_a_refusal_ends_the_update_and_a_later_application_is_a_new_request(self) -> None:
        scene = build_transfer_scene()
        why = "the issuer does not want to"

        def refuse_order(order: RelayedOrder) -> RelayedOrder:
            return RelayedOrder(order.number, (), ended=True, state=TransferState.REFUSED, text=why)

        scene.provider.line.change_order = refuse_order
        assert why in scene.apply()
        assert scene.provider.last_update().state is UpdateState.FAILED
        refused = scene.provider.transfer()
        assert (refused.state, refused.refusal) == (TransferState.REFUSED, why)
        assert scene.events("provider", "transfer.refuse")[0].detail.endswith(why)
        scene.be_honest()
        scene.assert_reached()
        assert scene.provider.transfer().id != refused.id

    def test_one_that_goes_away_in_the_middle_is_waited_for(self) -> None:
        for call in range(1, 9):
            scene = build_transfer_scene()
            calls = 0

            def disturb(_name: str, last: int = call) -> None:
                nonlocal calls
                calls += 1
                if calls >= last:
                    raise KmsError(Code.PEER_UNREACHABLE, "away: try again")

            scene.provider.line.disturb = disturb
            with suppress(KmsError):
                scene.apply()
            scene.provider.line.disturb = lambda _name: None
            scene.assert_reached()
