"""Leases and keeping house in memory, written from `kms/service/scheduler_ports.py` alone."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from kms.domain.cards import CardState
from kms.domain.housekeeping import DoubtedSet, ExpiredVisits, FleetFigures, Overdue
from kms.domain.keys import Delivery, KeyState
from kms.domain.leases import JobRun, Lease
from kms.domain.updates import OPEN_STATES, UpdateState
from kms.domain.visits import VisitEvent, VisitState
from kms.errors import Code, KmsError


class MemoryLeases:
    def __init__(self, leases: dict[str, Lease], runs: dict[str, JobRun], clock: Callable[[], datetime]) -> None:
        self._leases = leases
        self._runs = runs
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()

    def find(self, name: str) -> Lease | None:
        return self._leases.get(name)

    def add(self, lease: Lease) -> None:
        if lease.name in self._leases:
            raise KmsError(Code.CONFLICT, "The lease exists.")
        self._leases[lease.name] = lease

    def replace(self, lease: Lease, fence: int) -> bool:
        stored = self._leases.get(lease.name)
        if stored is None or stored.fence != fence:
            return False
        self._leases[lease.name] = lease
        return True

    def check(self, name: str, fence: int) -> None:
        stored = self._leases.get(name)
        if stored is None or stored.fence != fence:
            raise KmsError(Code.LEASE_LOST, "Another node holds the lease.")

    def find_run(self, job: str) -> JobRun | None:
        return self._runs.get(job)

    def list_runs(self) -> Sequence[JobRun]:
        return [self._runs[job] for job in sorted(self._runs)]

    def save_run(self, run: JobRun) -> None:
        self._runs[run.job] = run


class MemoryHousekeeping:
    def __init__(self, tables: Any) -> None:  # noqa: ANN401 - the store's tables, which import this module
        self._tables = tables

    def expire_visits(self, before: datetime, at: datetime, why: str, limit: int) -> ExpiredVisits:
        tables = self._tables
        late = [item for item in tables.visits.values() if item.state is VisitState.OPEN and item.deadline < before]
        chosen = sorted(late, key=lambda item: item.deadline)[:limit]
        for visit in chosen:
            ended = replace(
                visit,
                state=VisitState.EXPIRED,
                order=None,
                program=None,
                result=why,
                ended_at=at,
                events=visit.events + 1,
            )
            tables.visits[visit.id] = ended
            tables.visit_events.append(VisitEvent(visit.id, ended.events, at, "expire", why))
        cards = {item.card_id for item in chosen}
        for card_id in cards:
            tables.cards[card_id] = replace(tables.cards[card_id], version=tables.cards[card_id].version + 1)
        still_open = [item for item in tables.visits.values() if item.state is VisitState.OPEN]
        taken, visited = {item.update_id for item in still_open}, {item.card_id for item in still_open}
        returned = sorted(
            item.update_id
            for item in chosen
            if item.update_id
            and item.update_id not in taken
            and tables.key_updates[item.update_id].state is UpdateState.RUNNING
        )
        for update_id in returned:
            update = tables.key_updates[update_id]
            tables.key_updates[update_id] = replace(update, state=UpdateState.PENDING, failure=why)
        doubted = []
        for key_set in sorted(tables.key_sets.values(), key=lambda item: item.id):
            domain = tables.security_domains[key_set.security_domain_id]
            if key_set.delivery is Delivery.IN_FLIGHT and domain.card_id in cards - visited:
                tables.key_sets[key_set.id] = replace(key_set, delivery=Delivery.IN_DOUBT)
                where = (
                    f"card {tables.cards[domain.card_id].identity.hex().upper()}; {domain.kind} "
                    f"{domain.aid.hex().upper()}, key version {key_set.kvn:02X}, generation {key_set.generation}"
                )
                doubted.append(DoubtedSet(key_set.id, key_set.kcv_method, key_set.kcvs, where))
        return ExpiredVisits(tuple(item.id for item in chosen), tuple(doubted), tuple(returned))

    def delete_visits(self, before: datetime, limit: int) -> int:
        tables = self._tables
        over = [
            item
            for item in tables.visits.values()
            if item.state is not VisitState.OPEN and item.deadline < before and item.mismatches == 0
        ]
        ids = {item.id for item in sorted(over, key=lambda item: item.deadline)[:limit]}
        for visit_id in ids:
            del tables.visits[visit_id]
        tables.visit_events[:] = [item for item in tables.visit_events if item.visit_id not in ids]
        return len(ids)

    def count_overdue(self, now: datetime) -> Overdue:
        updates = self._tables.key_updates.values()
        deadlines = [item.deadline for item in updates if item.state in OPEN_STATES and item.deadline is not None]
        ends = [
            item.expires_at
            for item in self._tables.key_sets.values()
            if item.state is KeyState.ACTIVE and item.delivery is Delivery.PROVED and item.expires_at is not None
        ]
        late = [deadline for deadline in deadlines if deadline < now]
        past = [end for end in ends if end < now]
        return Overdue(len(late), min(late, default=None), len(past), min(past, default=None))

    def read_figures(self, now: datetime) -> FleetFigures:
        tables = self._tables
        deliveries = Counter(item.delivery for item in tables.key_sets.values())
        return FleetFigures(
            updates=dict(Counter((str(item.reason), str(item.state)) for item in tables.key_updates.values())),
            visits=dict(
                Counter((str(item.state), "done" if item.result == "done" else "") for item in tables.visits.values())
            ),
            overdue=self.count_overdue(now),
            quarantined=sum(item.state is CardState.QUARANTINED for item in tables.cards.values()),
            in_doubt=deliveries[Delivery.IN_DOUBT],
            in_flight=deliveries[Delivery.IN_FLIGHT],
            alarms=dict(Counter(str(item.severity) for item in tables.alarms.values() if item.cleared_at is None)),
        )
