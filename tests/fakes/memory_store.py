"""An in-memory `Store`, written from `kms/service/ports.py` alone.

One transaction at a time (a lock, as SQLite's writer); an exception puts every table back as it was.
"""

import copy
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from kms.domain.alarms import Alarm
from kms.domain.audit_chain import AuditRecord, Checkpoint
from kms.domain.campaigns import Campaign, CampaignState
from kms.domain.cards import Application, Card, CardState, DomainKind, SecurityDomain
from kms.domain.ceremonies import Ceremony, StepRecord
from kms.domain.key_components import KeyComponent
from kms.domain.keys import KeySet, KeyState, MasterKey, MasterKind, PeerKey, PlatformKey, PlatformKeyPurpose
from kms.domain.leases import JobRun, Lease
from kms.domain.pending import PendingCursor, PendingFilter, PendingItem, PendingRow, PendingRows
from kms.domain.policies import PolicyState, PolicyVersion
from kms.domain.recovery import KeyFinding, PlatformState, RepairOrder
from kms.domain.requests import Approval, Quorum, Request
from kms.domain.transfers import OPEN_TRANSFERS, Transfer
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateState
from kms.domain.visits import Terminal, TerminalState, Visit, VisitEvent, VisitState
from kms.errors import Code, KmsError
from kms.service.ports import Store
from tests.fakes import memory_people
from tests.fakes.memory_audit import MemoryAudit
from tests.fakes.memory_campaigns import MemoryCampaigns, MemoryCompromises
from tests.fakes.memory_ceremonies import MemoryCeremonies
from tests.fakes.memory_recovery import MemoryKeyFindings, MemoryPlatformState, MemoryRepairOrders
from tests.fakes.memory_requests import MemoryRequests
from tests.fakes.memory_rows import MemoryRepository
from tests.fakes.memory_scheduler import MemoryHousekeeping, MemoryLeases
from tests.fakes.policies import MemoryPolicies, MemorySweeps


def is_served(update: KeyUpdate, campaigns: dict[str, Campaign]) -> bool:
    """Whether an update is open and may be done now."""
    if update.state is not UpdateState.PENDING or update.campaign_id is None:
        return update.state in OPEN_STATES
    campaign = campaigns[update.campaign_id]
    return campaign.state is CampaignState.RUNNING and update.due_at <= campaign.released_until


class MemoryCards(MemoryRepository[Card]):
    noun = "card"

    def __init__(
        self,
        rows: dict[str, Card],
        domains: dict[str, SecurityDomain],
        updates: dict[str, KeyUpdate],
        campaigns: dict[str, Campaign],
    ) -> None:
        super().__init__(rows)
        self._domains = domains
        self._updates = updates
        self._campaigns = campaigns

    def unique_values(self, item: Card) -> tuple[object, ...]:
        return (item.identity,)

    def find_by_identity(self, identity: bytes) -> Card | None:
        return self._first(lambda card: card.identity == identity)

    def find_by_identities(self, identities: Sequence[bytes]) -> Sequence[Card]:
        wanted = set(identities)
        return self._where(lambda card: card.identity in wanted)

    def list_pending(self, *, limit: int = 100, offset: int = 0) -> Sequence[Card]:
        owed = {
            self._domains[item.security_domain_id].card_id
            for item in self._updates.values()
            if is_served(item, self._campaigns)
        }
        found = self._where(lambda card: card.id in owed and card.state is CardState.ENROLLED, key=lambda card: card.id)
        return found[offset : offset + limit]

    def claim(self, card: Card) -> None:
        stored = self.find(card.id)
        if stored is None or stored.version != card.version:
            raise KmsError(Code.VISIT_CONFLICT, "Another request has taken this card's next step already.")
        self._rows[card.id] = replace(stored, version=stored.version + 1)


class MemorySecurityDomains(MemoryRepository[SecurityDomain]):
    noun = "security domain"

    def unique_values(self, item: SecurityDomain) -> tuple[object, ...]:
        return ((item.card_id, item.aid),)

    def find_by_aid(self, card_id: str, aid: bytes) -> SecurityDomain | None:
        return self._first(lambda domain: domain.card_id == card_id and domain.aid == aid)

    def list_for_card(self, card_id: str) -> Sequence[SecurityDomain]:
        return self._where(lambda domain: domain.card_id == card_id)

    def list_for_cards(self, card_ids: Sequence[str]) -> Sequence[SecurityDomain]:
        wanted = set(card_ids)
        return self._where(lambda domain: domain.card_id in wanted)


class MemoryKeySets(MemoryRepository[KeySet]):
    noun = "key set"

    def __init__(self, rows: dict[str, KeySet], domains: dict[str, SecurityDomain]) -> None:
        super().__init__(rows)
        self._domains = domains

    def list_for_card(self, card_id: str) -> Sequence[KeySet]:
        mine = {domain.id for domain in self._domains.values() if domain.card_id == card_id}
        return self._where(
            lambda key_set: key_set.security_domain_id in mine, key=lambda key_set: (key_set.created_at, key_set.id)
        )

    def unique_values(self, item: KeySet) -> tuple[object, ...]:
        return ((item.security_domain_id, item.purpose, item.generation) if item.purpose is not None else None,)

    def list_for_domain(self, security_domain_id: str) -> Sequence[KeySet]:
        return self._where(
            lambda key_set: key_set.security_domain_id == security_domain_id,
            key=lambda key_set: (key_set.created_at, key_set.id),
        )

    def list_for_domains(self, security_domain_ids: Sequence[str]) -> Sequence[KeySet]:
        wanted = set(security_domain_ids)
        return self._where(lambda key_set: key_set.security_domain_id in wanted)


class MemoryKeyUpdates(MemoryRepository[KeyUpdate]):
    noun = "key update"

    def __init__(
        self, rows: dict[str, KeyUpdate], domains: dict[str, SecurityDomain], campaigns: dict[str, Campaign]
    ) -> None:
        super().__init__(rows)
        self._domains = domains
        self._campaigns = campaigns

    def add(self, item: KeyUpdate) -> None:
        self._check_alone(item)
        super().add(item)

    def save(self, item: KeyUpdate) -> None:
        self._check_alone(item)
        super().save(item)

    def count_forced(self, since: datetime) -> int:
        mine = [x for x in self._rows.values() if x.requested_at >= since and x.campaign_id is None]
        return sum(x.requested_by.startswith("person ") and " (request " not in x.requested_by for x in mine)

    def _check_alone(self, item: KeyUpdate) -> None:
        others = (x for x in self._rows.values() if x.security_domain_id == item.security_domain_id and x.id != item.id)
        if item.state in OPEN_STATES and any(other.state in OPEN_STATES for other in others):
            raise KmsError(Code.VISIT_CONFLICT, "Another request has asked for an update meanwhile; try again.")

    def list_open_for_card(self, card_id: str) -> Sequence[KeyUpdate]:
        mine = {domain.id: domain for domain in self._domains.values() if domain.card_id == card_id}
        return self._where(
            lambda update: update.security_domain_id in mine and is_served(update, self._campaigns),
            key=lambda update: (
                mine[update.security_domain_id].kind is not DomainKind.ISD,
                update.due_at,
                update.id,
            ),
        )

    def list_for_domain(self, security_domain_id: str) -> Sequence[KeyUpdate]:
        return self._where(
            lambda update: update.security_domain_id == security_domain_id,
            key=lambda update: (update.requested_at, update.id),
        )


class MemoryPolicyVersions(MemoryRepository[PolicyVersion]):
    noun = "policy"

    def unique_values(self, item: PolicyVersion) -> tuple[object, ...]:
        return ((item.name, item.version), item.name if item.state is PolicyState.IN_FORCE else None)


class MemoryCampaignRows(MemoryCampaigns, MemoryRepository[Campaign]):
    noun = "campaign"

    def __init__(self, tables: "Tables") -> None:
        MemoryCampaigns.__init__(self, tables)
        MemoryRepository.__init__(self, tables.campaigns)

    def unique_values(self, item: Campaign) -> tuple[object, ...]:
        return (item.name,)


class MemoryApplications(MemoryRepository[Application]):
    noun = "application"

    def find_by_aid(self, card_id: str, aid: bytes) -> Application | None:
        found = self._where(
            lambda application: application.card_id == card_id and application.aid == aid,
            key=lambda application: (application.requested_at, application.id),
        )
        return found[-1] if found else None

    def list_for_card(self, card_id: str) -> Sequence[Application]:
        return self._where(
            lambda application: application.card_id == card_id,
            key=lambda application: (application.requested_at, application.id),
        )


class MemoryVisits(MemoryRepository[Visit]):
    noun = "visit"

    def __init__(self, rows: dict[str, Visit], events: list[VisitEvent]) -> None:
        super().__init__(rows)
        self._events = events

    def unique_values(self, item: Visit) -> tuple[object, ...]:
        return (item.session_id,)

    def find_by_session(self, session_id: str) -> Visit | None:
        return self._first(lambda visit: visit.session_id == session_id)

    def list_open_for_card(self, card_id: str) -> Sequence[Visit]:
        return self._where(
            lambda visit: visit.card_id == card_id and visit.state is VisitState.OPEN,
            key=lambda visit: (visit.opened_at, visit.id),
        )

    def list_mismatched(
        self, *, since: datetime, card_id: str | None = None, terminal_id: str | None = None
    ) -> Sequence[Visit]:
        return self._where(
            lambda visit: (
                visit.mismatches > 0
                and visit.opened_at >= since
                and card_id in {None, visit.card_id}
                and terminal_id in {None, visit.terminal_id}
            ),
            key=lambda visit: (visit.opened_at, visit.id),
        )

    def add_event(self, event: VisitEvent) -> None:
        if any(old.visit_id == event.visit_id and old.number == event.number for old in self._events):
            raise KmsError(Code.CONFLICT, "The journal has a line with this number.")
        self._events.append(event)

    def list_events(self, visit_id: str) -> Sequence[VisitEvent]:
        mine = [event for event in self._events if event.visit_id == visit_id]
        return sorted(mine, key=lambda event: event.number)


class MemoryTerminals(MemoryRepository[Terminal]):
    noun = "terminal"

    def unique_values(self, item: Terminal) -> tuple[object, ...]:
        return (item.fingerprint, item.name)

    def find_by_fingerprint(self, fingerprint: bytes) -> Terminal | None:
        return self._first(lambda terminal: terminal.fingerprint == fingerprint)

    def find_by_name(self, name: str) -> Terminal | None:
        return self._first(lambda terminal: terminal.name == name)

    def list_refused(self) -> Sequence[Terminal]:
        return self._where(lambda terminal: terminal.state is not TerminalState.ENROLLED)


class MemoryMasterKeys(MemoryRepository[MasterKey]):
    noun = "master key"

    def unique_values(self, item: MasterKey) -> tuple[object, ...]:
        return (item.object_id, (item.kind, item.name, item.generation))

    def find_active(self, kind: MasterKind, name: str | None = None) -> MasterKey | None:
        found = self._where(
            lambda key: key.kind is kind and key.state is KeyState.ACTIVE and name in {None, key.name},
            key=lambda key: (key.generation, key.id),
        )
        return found[-1] if found else None

    def find_by_name(self, name: str) -> MasterKey | None:
        found = self._where(lambda key: key.name == name, key=lambda key: (key.generation, key.id))
        return found[-1] if found else None

    def find_generation(self, name: str, generation: int) -> MasterKey | None:
        return self._first(lambda key: (key.name, key.generation) == (name, generation))


class MemoryTransfers(MemoryRepository[Transfer]):
    noun = "transfer"

    def list_for_card(self, card_identity: bytes) -> Sequence[Transfer]:
        return self._where(
            lambda transfer: transfer.card_identity == card_identity,
            key=lambda transfer: (transfer.requested_at, transfer.id),
        )

    def count_open(self, peer: str) -> int:
        return len(self._where(lambda transfer: transfer.peer == peer and transfer.state in OPEN_TRANSFERS))

    def count_since(self, peer: str, since: datetime) -> int:
        return len(self._where(lambda transfer: transfer.peer == peer and transfer.requested_at >= since))


class MemoryPlatformKeys(MemoryRepository[PlatformKey]):
    noun = "platform key"

    def unique_values(self, item: PlatformKey) -> tuple[object, ...]:
        return (item.object_id, item.purpose if item.state is KeyState.ACTIVE else None)

    def find_active(self, purpose: PlatformKeyPurpose) -> PlatformKey | None:
        return self._first(lambda key: key.purpose is purpose and key.state is KeyState.ACTIVE)

    def find_planned(self, purpose: PlatformKeyPurpose) -> PlatformKey | None:
        found = self._where(lambda key: key.purpose is purpose and key.state is KeyState.PRE_ACTIVATION)
        return found[-1] if found else None


class MemoryPeerKeys(MemoryRepository[PeerKey]):
    noun = "peer key"

    def unique_values(self, item: PeerKey) -> tuple[object, ...]:
        return (item.peer if item.state is KeyState.ACTIVE else None,)

    def find_active(self, peer: str) -> PeerKey | None:
        return self._first(lambda key: key.peer == peer and key.state is KeyState.ACTIVE)


class MemoryAlarms(MemoryRepository[Alarm]):
    noun = "alarm"

    def unique_values(self, item: Alarm) -> tuple[object, ...]:
        return ((item.kind, item.subject) if item.cleared_at is None else None,)

    def find_open(self, kind: str, subject: str) -> Alarm | None:
        return self._first(lambda alarm: (alarm.kind, alarm.subject, alarm.cleared_at) == (kind, subject, None))

    def raise_(self, alarm: Alarm) -> Alarm:
        old = self.find_open(alarm.kind, alarm.subject)
        if old is None:
            self.add(alarm)
            return alarm
        stored = replace(old, count=old.count + 1, last_at=alarm.last_at, text=alarm.text, severity=alarm.severity)
        self.save(stored)
        return stored

    def clear(self, kind: str, subject: str, at: datetime) -> bool:
        old = self.find_open(kind, subject)
        if old is not None:
            self.save(replace(old, cleared_at=at))
        return old is not None

    def list_open(self, *, limit: int = 100, offset: int = 0) -> Sequence[Alarm]:
        return self._where(lambda alarm: alarm.cleared_at is None)[offset : offset + limit]

    def list_newest(self, *, limit: int = 100, offset: int = 0) -> Sequence[Alarm]:
        return self._where(lambda _: True)[::-1][offset : offset + limit]


class MemoryPending:
    def __init__(self, tables: "Tables") -> None:
        self._tables = tables

    def list_page(self, wanted: PendingFilter, *, limit: int, after: PendingCursor | None = None) -> PendingRows:
        rows = sorted(self._rows(wanted), key=lambda row: (row.item.due_at, row.update_id))
        if after is not None:
            rows = [row for row in rows if (row.item.due_at, row.update_id) > (after.due_at, after.update_id)]
        page = rows[:limit]
        more = PendingCursor(page[-1].item.due_at, page[-1].update_id) if len(rows) > limit else None
        return PendingRows(tuple(page), more)

    def _rows(self, wanted: PendingFilter) -> Iterator[PendingRow]:
        for update in self._tables.key_updates.values():
            domain = self._tables.security_domains[update.security_domain_id]
            card = self._tables.cards[domain.card_id]
            item = PendingItem(domain.aid, update.reason, update.due_at)
            served = is_served(update, self._tables.campaigns) and card.state is CardState.ENROLLED
            if served and wanted.limits.allows_card(card.identity) and wanted.accepts(item):
                yield PendingRow(update.id, card.identity, item)


@dataclass
class Tables(memory_people.PeopleTables):
    cards: dict[str, Card] = field(default_factory=dict)
    security_domains: dict[str, SecurityDomain] = field(default_factory=dict)
    key_sets: dict[str, KeySet] = field(default_factory=dict)
    key_updates: dict[str, KeyUpdate] = field(default_factory=dict)
    campaigns: dict[str, Campaign] = field(default_factory=dict)
    applications: dict[str, Application] = field(default_factory=dict)
    visits: dict[str, Visit] = field(default_factory=dict)
    visit_events: list[VisitEvent] = field(default_factory=list)
    terminals: dict[str, Terminal] = field(default_factory=dict)
    master_keys: dict[str, MasterKey] = field(default_factory=dict)
    transfers: dict[str, Transfer] = field(default_factory=dict)
    platform_keys: dict[str, PlatformKey] = field(default_factory=dict)
    peer_keys: dict[str, PeerKey] = field(default_factory=dict)
    platform_state: dict[str, PlatformState] = field(default_factory=dict)
    repair_orders: dict[str, RepairOrder] = field(default_factory=dict)
    key_findings: dict[str, KeyFinding] = field(default_factory=dict)
    policy_versions: dict[str, PolicyVersion] = field(default_factory=dict)
    policy_days: dict[tuple[str, str], int] = field(default_factory=dict)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    job_runs: dict[str, JobRun] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    ceremonies: dict[str, Ceremony] = field(default_factory=dict)
    ceremony_steps: dict[str, StepRecord] = field(default_factory=dict)
    key_components: dict[str, KeyComponent] = field(default_factory=dict)
    decisions: list[Approval] = field(default_factory=list)
    quorums: dict[str, Quorum] = field(default_factory=dict)
    audit_records: list[AuditRecord] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def copy(self) -> "Tables":
        return Tables(**{name: copy.copy(table) for name, table in vars(self).items()})


class MemoryTransaction(memory_people.PeopleTransaction):
    def __init__(self, tables: Tables, clock: Callable[[], datetime]) -> None:
        super().__init__(tables)
        self.policies = MemoryPolicies(MemoryPolicyVersions(tables.policy_versions), tables.policy_days)
        self.sweeps = MemorySweeps(tables, lambda: str(uuid.uuid4()))
        self.alarms = MemoryAlarms(tables.alarms)
        self.housekeeping = MemoryHousekeeping(tables)
        self.leases = MemoryLeases(tables.leases, tables.job_runs, clock)
        self.cards = MemoryCards(tables.cards, tables.security_domains, tables.key_updates, tables.campaigns)
        self.security_domains = MemorySecurityDomains(tables.security_domains)
        self.key_sets = MemoryKeySets(tables.key_sets, tables.security_domains)
        self.key_updates = MemoryKeyUpdates(tables.key_updates, tables.security_domains, tables.campaigns)
        self.campaigns = MemoryCampaignRows(tables)
        self.compromises = MemoryCompromises(tables)
        self.applications = MemoryApplications(tables.applications)
        self.visits = MemoryVisits(tables.visits, tables.visit_events)
        self.terminals = MemoryTerminals(tables.terminals)
        self.master_keys = MemoryMasterKeys(tables.master_keys)
        self.transfers = MemoryTransfers(tables.transfers)
        self.platform_keys = MemoryPlatformKeys(tables.platform_keys)
        self.peer_keys = MemoryPeerKeys(tables.peer_keys)
        self.pending = MemoryPending(tables)
        self.platform_state = MemoryPlatformState(tables.platform_state)
        self.repair_orders = MemoryRepairOrders(tables.repair_orders)
        self.key_findings = MemoryKeyFindings(tables.key_findings)
        self.ceremonies = MemoryCeremonies(tables.ceremonies, tables.ceremony_steps, tables.key_components)
        self.requests = MemoryRequests(tables.requests, tables.decisions, tables.quorums)
        self.audit = MemoryAudit(tables.audit_records, tables.checkpoints)


class MemoryStore:
    """`fail_with`: an error that every transaction and check raises, to play a database that is away.

    `clock`: the database's own.
    """

    def __init__(self) -> None:
        self._tables = Tables()
        self._lock = threading.Lock()
        self.fail_with: KmsError | None = None
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        self.check()
        # A transaction inside another would wait for itself for ever: say so instead.
        if not self._lock.acquire(timeout=5):
            raise RuntimeError("a transaction is open already; transactions are short and do not nest")
        try:
            tables = self._tables.copy()
            yield MemoryTransaction(tables, self.clock)
            self._tables = tables
        finally:
            self._lock.release()

    @contextmanager
    def reading(self) -> Iterator[MemoryTransaction]:
        with self.transaction() as transaction:
            yield transaction

    def check(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with


def take_backup(store: Store) -> Tables:
    """All tables as they are, as a backup would hold them."""
    assert isinstance(store, MemoryStore)
    return store._tables.copy()  # noqa: SLF001 - behind the store's back, as a backup is


def put_back(store: Store, backup: Tables) -> None:
    """Restore what `take_backup` gave."""
    assert isinstance(store, MemoryStore)
    store._tables = backup.copy()  # noqa: SLF001 - the same
