"""Repair: an officer has a card looked at, reads what was found, and sets the records to it.

Rules: a repair order is for one card, at one terminal or any; while it is open a card that is set aside is served there
for that look alone. Nothing is changed before an officer confirms; what is applied are key sets proved by a card
cryptogram, and that what did not answer is not there. Every step is an audit event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kms.card.profile import CardProfile
from kms.domain.audit import AuditEvent
from kms.domain.cards import Card, CardState, SecurityDomain
from kms.domain.keys import KeySet
from kms.domain.recovery import PROVED_KINDS, FindingKind, KeyFinding, RepairOrder, RepairState
from kms.domain.visits import BreakCode, Terminal, VisitState
from kms.errors import Code, KmsError
from kms.service.adopting import adopt, clear_away
from kms.service.card_record import CardRecord, load_card_record
from kms.service.plan import Planner
from kms.service.ports import Clock, Identifiers, Store, Transaction, Vault
from kms.service.probing import Derivable, build_found_set, plan_found_set
from kms.service.settling import Settling
from kms.service.visits import until_claimed


@dataclass(frozen=True)
class RepairReport:
    """A card's newest repair order and what its visits found. `aids`: of the security domains by their ids."""

    card: Card
    order: RepairOrder
    terminal: Terminal | None
    findings: Sequence[KeyFinding]
    aids: Mapping[str, bytes]


class RepairService:
    """The use cases of repair, and of setting a card aside by hand."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        clock: Clock,
        identifiers: Identifiers,
        platform: str,
        profiles: Mapping[str, CardProfile],
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers
        self._platform = platform
        self._profiles = profiles

    def quarantine(self, identity: bytes, *, reason: str, actor: str) -> Card:
        """Set a card aside until it is released or repaired; its open visits end.

        Raises `card.unknown`, `input.conflict` for one that is set aside already.
        """
        return until_claimed(lambda: self._quarantine(identity, reason, actor))

    def order(self, identity: bytes, terminal_name: str | None, *, actor: str) -> RepairOrder:
        """Have a card looked at when it is next presented, at one terminal or any; an earlier open order gives way.

        Raises `card.unknown`, `input.not-found` for the terminal.
        """
        now = self._clock.now()
        with self._store.transaction() as tx:
            card = _get_card(tx, identity)
            terminal = tx.terminals.find_by_name(terminal_name) if terminal_name is not None else None
            if terminal_name is not None and terminal is None:
                raise KmsError(Code.NOT_FOUND, "There is no terminal with this name: `kms terminals list`.")
            earlier = tx.repair_orders.find_newest(card.id)
            if earlier is not None and earlier.state in (RepairState.OPEN, RepairState.FOUND):
                self._finish(tx, card, earlier, RepairState.CANCELLED, actor)
            order = RepairOrder(
                id=self._identifiers.new(),
                card_id=card.id,
                terminal_id=terminal.id if terminal is not None else None,
                state=RepairState.OPEN,
                requested_at=now,
                requested_by=actor,
            )
            tx.repair_orders.add(order)
            where = f"at terminal {terminal_name}" if terminal_name is not None else "at any terminal"
            self._log(
                tx, card, actor, "card.repair-order", subject=f"repair {order.id}", result="ordered", detail=where
            )
        return order

    def show(self, identity: bytes) -> RepairReport:
        """The newest repair order of a card. Raises `card.unknown`, `input.not-found` where there is none."""
        with self._store.transaction() as tx:
            card = _get_card(tx, identity)
            order = tx.repair_orders.find_newest(card.id)
            if order is None:
                raise KmsError(Code.NOT_FOUND, "No repair was ordered for this card: `kms cards repair CARD`.")
            terminal = tx.terminals.find(order.terminal_id) if order.terminal_id is not None else None
            aids = {item.id: item.aid for item in tx.security_domains.list_for_card(card.id)}
            return RepairReport(card, order, terminal, tx.key_findings.list_for_order(order.id), aids)

    def confirm(self, identity: bytes, *, actor: str) -> RepairReport:
        """Set the records to what was found, and serve the card again if it was set aside.

        Raises `card.unknown`, `input.not-found`, `input.conflict` while the card was not looked at or when the findings
        were applied already, `key.state` where the card answers under keys that nobody knows.
        """
        until_claimed(lambda: self._confirm(identity, actor))
        return self.show(identity)

    def cancel(self, identity: bytes, *, actor: str) -> RepairOrder:
        """Drop a repair order with what it found. Raises `card.unknown`, `input.not-found`, `input.conflict`."""
        with self._store.transaction() as tx:
            card = _get_card(tx, identity)
            order = tx.repair_orders.find_newest(card.id)
            if order is None:
                raise KmsError(Code.NOT_FOUND, "No repair was ordered for this card.")
            if order.state not in (RepairState.OPEN, RepairState.FOUND):
                raise KmsError(Code.CONFLICT, f"The repair is {order.state} already.")
            return self._finish(tx, card, order, RepairState.CANCELLED, actor)

    def _quarantine(self, identity: bytes, reason: str, actor: str) -> Card:
        with self._store.transaction() as tx:
            card = _get_card(tx, identity)
            if card.state is CardState.QUARANTINED:
                raise KmsError(Code.CONFLICT, f"The card is set aside already: {card.quarantine_reason}.")
            tx.cards.claim(card)
            aside = replace(
                card,
                state=CardState.QUARANTINED,
                quarantine_reason=reason,
                quarantine_code=BreakCode.OFFICER,
                version=card.version + 1,
            )
            tx.cards.save(aside)
            for visit in tx.visits.list_open_for_card(card.id):
                text = "the card is set aside; officers decide"
                tx.visits.save(replace(visit, state=VisitState.FENCED, order=None, program=None, result=text))
            subject = f"card {identity.hex().upper()}"
            told = f"{BreakCode.OFFICER}: {reason}"
            self._log(tx, card, actor, "card.quarantine", subject=subject, result="quarantined", detail=told)
        return aside

    def _confirm(self, identity: bytes, actor: str) -> None:
        with self._store.transaction() as tx:
            card = _get_card(tx, identity)
            order = tx.repair_orders.find_newest(card.id)
            if order is None or order.state is not RepairState.FOUND:
                state = "was never ordered" if order is None else f"is {order.state}"
                raise KmsError(Code.CONFLICT, f"The repair {state}: there is nothing to confirm.")
            record = load_card_record(tx, card, tx.visits.list_open_for_card(card.id))
            findings = tx.key_findings.list_for_order(order.id)
            book = tx.policies.load_book()
        _check_known(record, findings)
        settling = Settling(record, self._identifiers, self._clock.now(), actor, lambda: book)
        planner = Planner(self._platform, self._profiles[card.profile], self._identifiers, self._clock.now())
        for domain in list(record.domains.values()):
            mine = [item for item in findings if item.security_domain_id == domain.id]
            if mine:
                self._apply(settling, planner, domain, mine)
        now = self._clock.now()
        if record.card.state is CardState.QUARANTINED:
            released = replace(
                record.card,
                state=CardState.ENROLLED,
                quarantine_reason="",
                quarantine_code="",
                trusted_since=now,
            )
            record.save(released)
            settling.log("card.release", "card", "repaired", detail=card.quarantine_reason)
        applied = replace(order, state=RepairState.APPLIED, finished_at=now, finished_by=actor)
        record.save(applied)
        settling.log("card.repair-confirm", f"repair {order.id}", "applied", detail=f"{len(findings)} findings")
        with self._store.transaction() as tx:
            record.write(tx)
            tx.key_findings.mark_applied(order.id, now)

    def _apply(
        self, settling: Settling, planner: Planner, domain: SecurityDomain, findings: Sequence[KeyFinding]
    ) -> None:
        new: list[KeySet] = []
        in_force: dict[str, int] = {}
        with self._vault.open_scope() as keys:
            for finding in findings:
                if finding.kind is FindingKind.RECORDED and finding.key_set_id is not None:
                    in_force[finding.key_set_id] = finding.counter
                elif finding.kind is FindingKind.DERIVED:
                    derivable = _read_derivable(finding)
                    planned = plan_found_set(planner, domain, derivable)
                    new.append(build_found_set(keys, planner, settling.record, derivable, planned))
                    in_force[planned.id] = finding.counter
        adopt(settling, domain, in_force, new)
        clear_away(settling, settling.record.domains[domain.id], in_force)
        for item in new:
            settling.log_set("key-set.recover", settling.record.key_sets[item.id], "found in force")

    def _finish(self, tx: Transaction, card: Card, order: RepairOrder, state: RepairState, actor: str) -> RepairOrder:
        finished = replace(order, state=state, finished_at=self._clock.now(), finished_by=actor)
        tx.repair_orders.save(finished)
        subject = f"repair {order.id}"
        self._log(tx, card, actor, "card.repair-cancel", subject=subject, result=str(state).lower())
        return finished

    def _log(
        self, tx: Transaction, card: Card, actor: str, action: str, *, subject: str, result: str, detail: str = ""
    ) -> None:
        where = f"card {card.identity.hex().upper()}"
        text = f"{where}; {detail}" if detail else where
        tx.audit.append(
            AuditEvent(self._identifiers.new(), self._clock.now(), actor, action, subject, result, detail=text)
        )


def _get_card(tx: Transaction, identity: bytes) -> Card:
    card = tx.cards.find_by_identity(identity)
    if card is None or card.state is CardState.RETIRED:
        raise KmsError(Code.CARD_UNKNOWN, "No card with this identity is enrolled: `kms cards list`.")
    return card


def _check_known(record: CardRecord, findings: Sequence[KeyFinding]) -> None:
    """Refuse to write that a security domain has no keys where it answers under keys that nobody knows."""
    for domain in record.domains.values():
        mine = [item for item in findings if item.security_domain_id == domain.id]
        proved = any(item.kind in PROVED_KINDS for item in mine)
        if not proved and any(item.kind is FindingKind.UNKNOWN for item in mine):
            raise KmsError(
                Code.KEY_STATE,
                f"{domain.kind} {domain.aid.hex().upper()} answers under keys that this platform neither has on record"
                " nor derives: import the vendor's master if they are its, or retire the card.",
            )


def _read_derivable(finding: KeyFinding) -> Derivable:
    if finding.key_type is None or finding.master_id is None or finding.generation is None:
        raise KmsError(Code.INTERNAL, "a finding of derived keys does not say which")
    return Derivable(finding.kvn, finding.key_type, finding.purpose, finding.master_id, finding.generation)
