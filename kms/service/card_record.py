"""One card's records as a step of a visit sees and changes them: read in one transaction, written in another.

Rules: between the two no transaction is open, so HSM calls may take their time. `write` claims the card first, so a
step that another visit overtook writes nothing and is taken again from the start.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from kms.domain.alarms import Alarm
from kms.domain.audit import AuditEvent
from kms.domain.cards import Application, Card, DomainKind, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKey, MasterKind, PeerKey
from kms.domain.recovery import KeyFinding, RepairOrder
from kms.domain.transfers import OPEN_TRANSFERS, Transfer
from kms.domain.updates import KeyUpdate
from kms.domain.visits import Terminal, TerminalState, Visit, VisitEvent
from kms.errors import Code, KmsError
from kms.service.ports import Transaction

IN_DOUBT = (Delivery.IN_FLIGHT, Delivery.IN_DOUBT)
_Saved = Card | SecurityDomain | KeySet | KeyUpdate | Application | Visit | Terminal | Transfer | RepairOrder


@dataclass
class CardRecord:
    """A card with everything a visit may need to know and change. Values are frozen; `save` replaces one by another.

    `repair`: the card's open repair order; `findings`: what its visits found so far.
    """

    card: Card
    domains: dict[str, SecurityDomain]
    key_sets: dict[str, KeySet]
    updates: dict[str, KeyUpdate]
    applications: dict[str, Application]
    visits: dict[str, Visit]
    masters: dict[str, MasterKey]
    transfers: dict[str, Transfer] = field(default_factory=dict)
    peer_keys: dict[str, PeerKey] = field(default_factory=dict)
    repair: RepairOrder | None = None
    findings: list[KeyFinding] = field(default_factory=list)
    _added: list[KeySet] = field(default_factory=list)
    _found: list[KeyFinding] = field(default_factory=list)
    _alarms: list[Alarm] = field(default_factory=list)
    _changed: dict[str, _Saved] = field(default_factory=dict)
    _audit: list[AuditEvent] = field(default_factory=list)
    _events: list[VisitEvent] = field(default_factory=list)

    @property
    def isd(self) -> SecurityDomain:
        """The issuer security domain. Raises `input.not-found` for a card that was enrolled without one."""
        isd = self.find_isd()
        if isd is None:
            raise KmsError(Code.NOT_FOUND, "the card has no issuer security domain on record: enrol it again")
        return isd

    def find_isd(self) -> SecurityDomain | None:
        """The issuer security domain; None on a card that another platform issued."""
        return next((item for item in self.domains.values() if item.kind is DomainKind.ISD), None)

    def find_transfer(self, domain: SecurityDomain) -> Transfer | None:
        """The newest transfer of a security domain that is not at its end."""
        mine = [item for item in self.transfers.values() if item.security_domain_id == domain.id]
        return next((item for item in reversed(mine) if item.state in OPEN_TRANSFERS), None)

    def sets_of(self, domain: SecurityDomain) -> list[KeySet]:
        """The key sets of a security domain, oldest first."""
        return [item for item in self.key_sets.values() if item.security_domain_id == domain.id]

    def find_current_set(self, domain: SecurityDomain) -> KeySet | None:
        """The set that is in force as far as is known: the newest ACTIVE one that was proved or delivered so."""
        known = [
            item
            for item in self.sets_of(domain)
            if item.state is KeyState.ACTIVE and item.delivery in (Delivery.PROVED, Delivery.FACTORY)
        ]
        return known[-1] if known else None

    def sets_in_doubt(self, domain: SecurityDomain) -> list[KeySet]:
        """Sets that may or may not have reached the card; not the compromised ones, which nobody asks after."""
        sets = self.sets_of(domain)
        return [item for item in sets if item.delivery in IN_DOUBT and item.state is not KeyState.COMPROMISED]

    def get_active_master(self, kind: MasterKind) -> MasterKey:
        """The master of a kind that issues new key sets: the newest that was ever made, and none in its stead.

        Raises `key.missing` without one, `key.state` where it is no longer ACTIVE: an older one never takes its place.
        """
        made = [
            item for item in self.masters.values() if item.kind is kind and item.state is not KeyState.PRE_ACTIVATION
        ]
        newest = max(made, key=lambda item: (item.created_at, item.generation), default=None)
        if newest is None:
            raise KmsError(
                Code.KEY_MISSING,
                f"there is no active {kind} master key: make one with `kms keys generate --kind {kind}`",
            )
        if newest.state is not KeyState.ACTIVE:
            raise KmsError(
                Code.KEY_STATE,
                f"the {kind} master key {newest.name} generation {newest.generation} is {newest.state}: make its next"
                " generation (`kms keys generate --new-generation`)",
            )
        return newest

    def add_key_set(self, key_set: KeySet) -> None:
        """Add a new key set."""
        self.key_sets[key_set.id] = key_set
        self._added.append(key_set)

    def save(self, item: _Saved) -> None:
        """Replace a value by its changed self."""
        match item:
            case Card():
                self.card = item
            case SecurityDomain():
                self.domains[item.id] = item
            case KeySet():
                self.key_sets[item.id] = item
            case KeyUpdate():
                self.updates[item.id] = item
            case Application():
                self.applications[item.id] = item
            case Visit():
                self.visits[item.id] = item
            case Transfer():
                self.transfers[item.id] = item
            case RepairOrder():
                self.repair = item
            case Terminal():
                pass
        self._changed[item.id] = item

    def add_finding(self, finding: KeyFinding) -> None:
        """Add what a look at the card showed."""
        self.findings.append(finding)
        self._found.append(finding)

    def alarm(self, alarm: Alarm) -> None:
        """Raise an alarm with the changes."""
        self._alarms.append(alarm)

    def log(self, event: AuditEvent) -> None:
        """Write an audit event with the changes."""
        self._audit.append(event)

    def note(self, visit: Visit, at: datetime, kind: str, text: str) -> Visit:
        """Write a line into the visit's journal; returns the visit, which counts its lines."""
        visit = replace(visit, events=visit.events + 1)
        self._events.append(VisitEvent(visit.id, visit.events, at, kind, text))
        self.save(visit)
        return visit

    def write(self, tx: Transaction) -> None:
        """Claim the card and write every change. Raises `visit.conflict` when another step came first."""
        tx.cards.claim(self.card)
        added = {item.id for item in self._added}
        tx.key_sets.add_all([self.key_sets[item.id] for item in self._added])
        for item in self._changed.values():
            if item.id not in added:
                _write_item(tx, item)
        for event in self._events:
            tx.visits.add_event(event)
        for finding in self._found:
            tx.key_findings.add(finding)
        for alarm in self._alarms:
            tx.alarms.raise_(alarm)
        if self._audit:
            tx.audit.append_all(self._audit)


def _write_item(tx: Transaction, item: _Saved) -> None:
    match item:
        case Card():
            tx.cards.save(replace(item, version=item.version + 1))
        case SecurityDomain():
            tx.security_domains.save(item)
        case KeySet():
            tx.key_sets.save(item)
        case KeyUpdate():
            tx.key_updates.save(item)
        case Application():
            tx.applications.save(item)
        case Visit():
            tx.visits.save(item)
        case Transfer():
            tx.transfers.save(item)
        case RepairOrder():
            tx.repair_orders.save(item)
        case Terminal():
            # The card's claim does not cover it: an officer's revocation in between stands.
            if tx.terminals.get(item.id).state is TerminalState.ENROLLED:
                tx.terminals.save(item)


def load_card_record(tx: Transaction, card: Card, visits: Iterable[Visit]) -> CardRecord:
    """Read a card's records. `visits`: the card's open visits."""
    transfers = tx.transfers.list_for_card(card.identity)
    peer_keys = {peer: tx.peer_keys.find_active(peer) for peer in {item.peer for item in transfers}}
    return CardRecord(
        card=card,
        domains={item.id: item for item in tx.security_domains.list_for_card(card.id)},
        key_sets={item.id: item for item in tx.key_sets.list_for_card(card.id)},
        updates={item.id: item for item in tx.key_updates.list_open_for_card(card.id)},
        applications={item.id: item for item in tx.applications.list_for_card(card.id)},
        visits={item.id: item for item in visits},
        masters={item.id: item for item in tx.master_keys.list(limit=1000)},
        transfers={item.id: item for item in transfers},
        peer_keys={peer: key for peer, key in peer_keys.items() if key is not None},
    )
