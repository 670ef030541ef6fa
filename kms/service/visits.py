"""Visits: the service behind GlobalPlatform SERAM's two requests (DESIGN section 3).

Rules:
- At most once. A Report with the cookie of the last Order answers it; with the cookie of the one before, the last Order
  was lost on the way and is sent again. Anything else means that nobody knows: the visit starts over with a new channel
  and reconciles; wrapped commands are never repeated.
- An agent without cookies is served too: answers that fit the last Order are taken for its answers (a card cryptogram
  decides what they are worth), the same answers once more mean that nobody knows.
- A step reads the card's record, works without a transaction, and writes with the card claimed; a step that another
  overtook is taken again from the start. The card is read first: what is read after it is as new as the claim.
- A master key that the HSM does not give ends the visit with a text that says so; the records are as before it.
"""

import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TypeVar

from kms.card.profile import CardProfile
from kms.domain.audit import AuditEvent
from kms.domain.cards import Card, CardState
from kms.domain.orders import AgentStatus, Order, Report
from kms.domain.policies import PolicyBook
from kms.domain.recovery import RepairOrder
from kms.domain.terminal_limits import check_card_allowed
from kms.domain.transfers import TransferState
from kms.domain.updates import UpdateState
from kms.domain.visits import BreakCode, Terminal, Visit, VisitState
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord, load_card_record
from kms.service.evidence import EarlierMismatches, trusted_since
from kms.service.looking import Looking, may_repair
from kms.service.orders import find_order
from kms.service.plan import Planner
from kms.service.ports import Clock, Identifiers, Store, Transaction, Vault
from kms.service.recovery import RecoveryService
from kms.service.relay import Relay
from kms.service.settling import Settling
from kms.service.visit_step import VisitLimits, VisitStep, build_stop

T = TypeVar("T")

CLAIM_ATTEMPTS = 5
CLAIM_PAUSE = 0.02  # seconds before a step is taken again, doubled each time and scattered
PROBE_MARK = '"kind":"probe"'  # as a looking program stands in the stored state
MAX_OPEN_VISITS = 4  # of one card at one terminal, which serves one card at a time: every step reads a card's open ones
# Faults of single keys: others can be served meanwhile, and no repetition by the terminal mends them.
KEY_FAULTS = frozenset(
    {
        Code.KEY_MISSING,
        Code.KEY_AMBIGUOUS,
        Code.KEY_KCV_MISMATCH,
        Code.KEY_ATTRIBUTES,
        Code.KEY_STATE,
        Code.KEY_EXPIRED,
        Code.KEY_TEST_VALUE,
    }
)


class VisitService:
    """Handshake and Reports. `entropy`: gives so many fresh random bytes (host challenges).

    `on_failed`: called with its campaign's id after an update of it failed, so that its circuit breaker looks at once.
    """

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        clock: Clock,
        identifiers: Identifiers,
        entropy: Callable[[int], bytes],
        platform: str,
        profiles: Mapping[str, CardProfile],
        limits: VisitLimits,
        relay: Relay,
        recovery: RecoveryService | None = None,
        on_failed: Callable[[str], object] = lambda _campaign_id: None,
    ) -> None:
        self._on_failed = on_failed
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers
        self._entropy = entropy
        self._platform = platform
        self._profiles = profiles
        self._limits = limits
        self._relay = relay
        self._recovery = recovery

    def handshake(self, terminal: Terminal, session_id: str, identities: Sequence[bytes]) -> bytes:
        """Bind a session to a card; returns the identity of the secure element chosen.

        `identities`: of the cards the agent has, the preferred first. A session that is not known yet is opened for
        the first of them that is enrolled. Raises `card.unknown`, `card.quarantined`, `visit.session-unknown`.
        """
        self._look_once()
        return until_claimed(lambda: self._handshake(terminal, session_id, identities))

    def _handshake(self, terminal: Terminal, session_id: str, identities: Sequence[bytes]) -> bytes:
        with self._store.transaction() as tx:
            found = tx.visits.find_by_session(session_id)
            if found is not None:
                self._check_bound(found, terminal)
                card = tx.cards.get(found.card_id)
                visit = tx.visits.get(found.id)
                if visit.state is not VisitState.OPEN or card.identity not in identities:
                    raise KmsError(Code.SESSION_UNKNOWN, "this session is not open for that card: begin a new one")
                check_card_allowed(terminal.limits, card.identity)
                check_served(card, _find_repair(tx, card), terminal)
                # Claimed like any step, so that a Report that is served at the same time is not undone.
                tx.cards.claim(card)
                tx.visits.save(replace(visit, requests=visit.requests + 1))
                return card.identity
            known = {card.identity: card for card in tx.cards.find_by_identities(list(identities))}
            chosen = next((known[identity] for identity in identities if identity in known), None)
            if chosen is None:
                raise KmsError(Code.CARD_UNKNOWN, "no card with this identity is enrolled: import it first")
            check_card_allowed(terminal.limits, chosen.identity)
            check_served(chosen, _find_repair(tx, chosen), terminal)
            self.open_visit(tx, terminal, chosen, session_id, requests=1)
            return chosen.identity

    def open_visit(
        self, tx: Transaction, terminal: Terminal, card: Card, session_id: str, *, requests: int = 0
    ) -> None:
        """Add a visit that begins now; of this card's at this terminal the oldest end, so that they never pile up.

        What they may have sent is reconciled as after any other that broke off. Raises `visit.conflict`.
        """
        here = [item for item in tx.visits.list_open_for_card(card.id) if item.terminal_id == terminal.id]
        surplus = here[: max(0, len(here) - MAX_OPEN_VISITS + 1)]
        if surplus:
            # Claimed like any step, so that a Report of one of them that is served at the same time writes nothing.
            tx.cards.claim(card)
        for visit in surplus:
            text = "later visits of this card at this terminal took its place"
            tx.visits.save(replace(visit, state=VisitState.FENCED, order=None, program=None, result=text))
        tx.visits.add(replace(self.new_visit(terminal, card, session_id), requests=requests))

    def new_visit(self, terminal: Terminal, card: Card, session_id: str) -> Visit:
        """A visit that begins now."""
        now = self._clock.now()
        return Visit(
            id=self._identifiers.new(),
            session_id=session_id,
            terminal_id=terminal.id,
            card_id=card.id,
            state=VisitState.OPEN,
            opened_at=now,
            deadline=now + self._limits.deadline,
        )

    def report(self, terminal: Terminal, session_id: str, report: Report) -> Order:
        """Take a Report and give the next Order.

        Raises `visit.session-unknown` for a session that is not this terminal's, `hsm.unavailable` and
        `database.unavailable` when the Report should come again later.
        """
        self._look_once()
        try:
            return until_claimed(lambda: self._report(terminal, session_id, lambda step: self._advance(step, report)))
        except KmsError as error:
            if error.code not in KEY_FAULTS:
                raise
            fault = error

        def refuse(step: VisitStep) -> Order:
            # What is wrong names objects of the HSM: the terminal learns the code, the visit's journal the rest.
            text = f"the platform cannot use one of its keys ({fault.code}): tell its operators"
            return step.refuse(text, BreakCode.KEY_FAULT, f"{fault.code}: {fault.detail}")

        return until_claimed(lambda: self._report(terminal, session_id, refuse))

    def _report(self, terminal: Terminal, session_id: str, act: Callable[[VisitStep], Order]) -> Order:
        with self._store.reading() as tx:
            found = tx.visits.find_by_session(session_id)
            if found is None:
                raise KmsError(Code.SESSION_UNKNOWN, "this session is not known: begin with a handshake")
            self._check_bound(found, terminal)
            card = tx.cards.get(found.card_id)
            record = load_card_record(tx, card, tx.visits.list_open_for_card(card.id))
            visit = record.visits.get(found.id)
            if visit is None:
                visit = tx.visits.get(found.id)
                return build_stop(visit.order_number, card.identity, visit.result or "the visit is over")
            looking = self._find_looking(tx, record, visit, terminal)
        # Read where a step needs it, and once: most steps ask no policy.
        policies = cache(self._load_policies)
        settling = Settling(record, self._identifiers, self._clock.now(), f"terminal {terminal.name}", policies)
        with self._vault.open_scope() as keys:
            step = VisitStep(
                record=record,
                visit_id=visit.id,
                terminal=terminal,
                planner=Planner(self._platform, self._get_profile(card), self._identifiers, self._clock.now()),
                settling=settling,
                earlier=lambda: self._find_mismatches(record, terminal),
                limits=self._limits,
                keys=keys,
                relay=self._relay,
                challenge=self._entropy,
                looking=looking,
                grace=settling.find_grace,
            )
            record.save(replace(visit, requests=visit.requests + 1))
            order = act(step)
        with self._store.transaction() as tx:
            record.write(tx)
        for update in record.updates.values():
            if update.state is UpdateState.FAILED and update.campaign_id is not None:
                with suppress(KmsError):  # the scheduler looks again; the terminal's answer does not wait for it
                    self._on_failed(update.campaign_id)
        if order.stop:
            self._tell_issuer(record, terminal)
        return order

    def _find_looking(self, tx: Transaction, record: CardRecord, visit: Visit, terminal: Terminal) -> Looking:
        """What the visit has to look at: asked at its beginning, and as long as it looks."""
        is_looking = visit.program is not None and PROBE_MARK in visit.program
        if visit.order_number > 0 and not is_looking:
            return Looking(None, terminal)
        order = tx.repair_orders.find_open(record.card.id)
        if order is not None:
            record.repair = order
            record.findings.extend(tx.key_findings.list_for_order(order.id))
        return Looking(self._recovery.find_state(tx) if self._recovery is not None else None, terminal)

    def _look_once(self) -> None:
        """A database that is behind its anchor is recognized before anything is read for a visit."""
        if self._recovery is not None:
            self._recovery.look_once()

    def _load_policies(self) -> PolicyBook:
        with self._store.reading() as tx:
            return tx.policies.load_book()

    def _tell_issuer(self, record: CardRecord, terminal: Terminal) -> None:
        """Say that control was taken; when the line is down a later visit of the card says it."""
        for transfer in record.transfers.values():
            if transfer.state is not TransferState.CONTROLLED:
                continue
            try:
                self._relay.accept_control(transfer)
            except KmsError as error:
                result, closed = f"not heard: {error.code}", transfer
            else:
                result = f"heard by {transfer.peer}"
                closed = replace(transfer, state=TransferState.CLOSED, closed_at=self._clock.now())
            where = f"card {record.card.identity.hex().upper()}"
            actor, subject = f"terminal {terminal.name}", f"transfer {transfer.id}"
            event = AuditEvent(
                self._identifiers.new(), self._clock.now(), actor, "transfer.close", subject, result, "", where
            )
            with self._store.transaction() as tx:
                tx.transfers.save(closed)
                tx.audit.append(event)

    def _advance(self, step: VisitStep, report: Report) -> Order:
        if report.error:  # "SHOULD be logged for investigation" (SERAM 2.0, localAgentStatus); it decides nothing
            step.record.note(step.visit, self._clock.now(), "agent", f"{report.status}: {report.error}")
        visit = step.visit
        expired = self._clock.now() > visit.deadline
        unserved = step.find_refusal()
        if unserved is not None:
            return step.refuse(unserved)
        if visit.order_number == 0:
            return step.expire() if expired else step.begin()
        if not expired and visit.order_number > 1 and report.answers_order == visit.order_number - 1:
            lost = find_order(visit.order)
            if lost is not None:
                return lost
        if not _answers_last_order(visit, report):
            return step.expire() if expired else step.restart("a Report does not say which Order it answers")
        step.record.save(replace(visit, report_digest=_digest(report)))
        if expired:
            return step.answer_late(report.responses)
        return step.answer(report.responses, card_gone=report.status is not AgentStatus.PROCESSED)

    def _find_mismatches(self, record: CardRecord, terminal: Terminal) -> EarlierMismatches:
        card = record.card
        proofs = [item.proved_at for item in record.key_sets.values()]
        card_since = trusted_since(card.enrolled_at, card.trusted_since, *proofs)
        since = trusted_since(terminal.enrolled_at, terminal.trusted_since)
        with self._store.reading() as tx:
            return EarlierMismatches(
                at_terminal=tuple(tx.visits.list_mismatched(since=since, terminal_id=terminal.id)),
                of_card=tuple(tx.visits.list_mismatched(since=card_since, card_id=card.id)),
            )

    def _get_profile(self, card: Card) -> CardProfile:
        profile = self._profiles.get(card.profile)
        if profile is None:
            raise KmsError(Code.CONFIG_INVALID, f"card profile {card.profile} is not configured")
        return profile

    @staticmethod
    def _check_bound(visit: Visit, terminal: Terminal) -> None:
        """A sessionId is bound to its client certificate (DESIGN section 3)."""
        if visit.terminal_id != terminal.id:
            raise KmsError(Code.SESSION_UNKNOWN, "this session is not known: begin with a handshake")


def _find_repair(tx: Transaction, card: Card) -> RepairOrder | None:
    """The open repair order that may let a card be looked at although it is set aside."""
    return tx.repair_orders.find_open(card.id) if card.state is CardState.QUARANTINED else None


def check_served(card: Card, repair: RepairOrder | None = None, terminal: Terminal | None = None) -> None:
    """Check that a card is served. Raises `card.quarantined`, `card.unknown` for a retired one.

    `repair`: its open repair order: at the terminal that it is for, the card may be looked at although it is set aside.
    """
    if card.state is CardState.QUARANTINED and (terminal is None or not may_repair(repair, terminal)):
        raise KmsError(Code.CARD_QUARANTINED, f"the card is set aside: {card.quarantine_reason}; officers decide")
    if card.state is CardState.RETIRED:
        raise KmsError(Code.CARD_UNKNOWN, "the card is retired")


def _answers_last_order(visit: Visit, report: Report) -> bool:
    """Whether the Report answers the last Order, by its cookie or, without one, by its answers."""
    if not report.responses:
        # A void Report where an answer was due, unless the agent says that it lost the card.
        return report.answers_order in (None, visit.order_number) and report.status not in (
            AgentStatus.PROCESSED,
            AgentStatus.POLLING,
        )
    if report.answers_order is not None:
        return report.answers_order == visit.order_number
    last = find_order(visit.order)
    return last is not None and len(report.responses) == len(last.commands) and _digest(report) != visit.report_digest


def until_claimed(work: Callable[[], T]) -> T:
    """Work anew from the start while another step of the same card comes first. Raises `visit.conflict` in the end."""
    for attempt in range(CLAIM_ATTEMPTS - 1):
        try:
            return work()
        except KmsError as error:
            if error.code is not Code.VISIT_CONFLICT:
                raise
        # Two that met would meet again; a peer's server is not to be asked five times in a row either.
        time.sleep(CLAIM_PAUSE * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - no secret, a pause
    return work()


def _digest(report: Report) -> bytes:
    """Tells whether the same answers come again. 32 bytes; answers are wrapped or public, and salted by challenges."""
    lengths = b"".join(len(item).to_bytes(2, "big") for item in report.responses)
    return hashlib.sha256(lengths + b"".join(report.responses)).digest()
