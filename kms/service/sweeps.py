"""The expiry sweep and the notices: what asks, unattended, for new keys before the old ones end.

Rules: a sweep may be run by anybody at any time, again or by two at once: it asks for nothing twice, and keeps every
policy's caps, working window and dates. Each batch is a transaction of its own; given the store of whoever holds the
scheduler's lease (`kms.service.leases.FencedStore`), a node that lost it writes nothing more. A key set without a known
due date stops and asks: an alarm, never an update.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kms.domain.alarms import AlarmSeverity
from kms.domain.audit import AuditEvent
from kms.domain.policies import PolicyVersion
from kms.service.alarms import raise_alarm
from kms.service.policies import BATCH, PolicyService, repeat_overtaken
from kms.service.policy_ports import Asking, Batch
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.recovery import check_normal

ACTOR = "scheduler"
UNDATED = "key-set.undated"
ENDING = "key-set.ending"
_UNDATED_TEXT = (
    "{count} key sets in force have no due date: nobody knows when they were put in, or no policy is for them. They "
    "are never replaced by themselves: `kms policies unknown`."
)


@dataclass(frozen=True)
class PolicySweep:
    """What a sweep did by one policy. `held_back`: due key sets left for later; `why`: by which bound, or empty."""

    policy: str
    created: int
    held_back: int = 0
    why: str = ""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep did. `undated`: key sets in force whose due date nobody knows."""

    policies: tuple[PolicySweep, ...]
    undated: int

    @property
    def created(self) -> int:
        """Updates asked for."""
        return sum(item.created for item in self.policies)

    @property
    def held_back(self) -> int:
        """Due key sets left for later."""
        return sum(item.held_back for item in self.policies)


@dataclass(frozen=True)
class Notice:
    """So many key sets passed a threshold since the last notices: they end within `days` days."""

    policy: str
    days: int
    key_sets: int


class SweepService:
    """The sweeps of one platform. `store`: each transaction of it may check a lease first."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers, platform: str) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._platform = platform
        self._policies = PolicyService(store=store, clock=clock, identifiers=identifiers, platform=platform)

    def sweep_expiry(self, now: datetime | None = None) -> SweepResult:
        """Ask for an update of every due key set that none is asked for, within the bounds. `now`: for tests alone.

        Raises `platform.recovery` while the platform is in recovery.
        """
        now = now or self._clock.now()
        self._policies.settle_if_needed()
        with self._store.transaction() as tx:
            versions = tx.policies.load_book().versions
        swept = tuple(self._sweep_policy(version, now) for version in versions)
        with self._store.transaction() as tx:
            undated = tx.sweeps.count_undated(self._platform)
            self._tell(tx, UNDATED, "", undated, now=now, severity=AlarmSeverity.WARNING, text=_UNDATED_TEXT)
        return SweepResult(swept, undated)

    def give_notices(self, now: datetime | None = None) -> Sequence[Notice]:
        """Record, once each, which key sets passed a threshold of notice; the shortest first."""
        now = now or self._clock.now()
        with self._store.transaction() as tx:
            versions = tx.policies.load_book().versions
        return [notice for version in versions for notice in self._notice_policy(version, now)]

    def _sweep_policy(self, version: PolicyVersion, now: datetime) -> PolicySweep:
        policy = version.policy
        asking = Asking(
            version=version,
            platform=self._platform,
            until=now,
            retry_since=now - timedelta(days=policy.retry_after_days),
            requested_by=ACTOR,
        )
        if not policy.is_valid_at(now):
            return self._hold_back(asking, 0, "outside of valid_from and valid_until")
        if now not in policy.window:
            return self._hold_back(asking, 0, "outside of the working window")
        created, place = 0, ""
        while True:
            left = policy.max_per_run - created
            if left <= 0:
                return self._hold_back(asking, created, "max_per_run")
            batch = self._ask(asking, now, place, left)
            if batch is None:
                return self._hold_back(asking, created, "max_per_day")
            created += batch.rows
            if batch.next is None:
                return PolicySweep(version.name, created)
            place = batch.next

    def _ask(self, asking: Asking, now: datetime, place: str, most: int) -> Batch | None:
        """One batch; None where the day's cap is reached."""
        return repeat_overtaken(self._store, lambda tx: self._ask_in(tx, asking, now, place, most))

    def _ask_in(self, tx: Transaction, asking: Asking, now: datetime, place: str, most: int) -> Batch | None:
        check_normal(tx, "Asking for updates")
        name, policy = asking.version.name, asking.version.policy
        day = f"{now.astimezone(UTC):%Y-%m-%d}"
        left_today = policy.max_per_day - tx.policies.count_asked(name, day)
        if left_today <= 0:
            return None
        limit = min(most, left_today, BATCH)
        batch = tx.sweeps.ask_expiry(asking, now, place, BATCH, limit)
        if batch.rows:
            tx.policies.add_asked(name, day, batch.rows)
            detail = f"{batch.rows} expiry updates asked for; version {asking.version.version}"
            event = AuditEvent(
                self._identifiers.new(), now, ACTOR, "policy.sweep", f"policy {name}", "done", "", detail
            )
            tx.audit.append(event)
        # Cut off by a cap: the same place again, where the cap then says so.
        return Batch(batch.rows, place if batch.rows == limit < BATCH else batch.next)

    def _hold_back(self, asking: Asking, created: int, why: str) -> PolicySweep:
        with self._store.transaction() as tx:
            waiting = tx.sweeps.count_waiting(asking)
        return PolicySweep(asking.version.name, created, waiting, why if waiting else "")

    def _notice_policy(self, version: PolicyVersion, now: datetime) -> Iterator[Notice]:
        for days in sorted(version.policy.notice_days):
            marked = 0
            while rows := self._mark(version, days, now):
                marked += rows
            if marked:
                yield Notice(version.name, days, marked)
        if version.policy.notice_days:
            repeat_overtaken(self._store, lambda tx: self._tell_ending(tx, version, now))

    def _mark(self, version: PolicyVersion, days: int, now: datetime) -> int:
        return repeat_overtaken(self._store, lambda tx: self._mark_in(tx, version, days, now))

    def _mark_in(self, tx: Transaction, version: PolicyVersion, days: int, now: datetime) -> int:
        rows = tx.sweeps.give_notice(version, self._platform, days, now, BATCH)
        if rows:
            detail = f"{rows} key sets end within {days} days and are not replaced; version {version.version}"
            subject = f"policy {version.name}"
            event = AuditEvent(self._identifiers.new(), now, ACTOR, "policy.notice", subject, "noticed", "", detail)
            tx.audit.append(event)
        return rows

    def _tell_ending(self, tx: Transaction, version: PolicyVersion, now: datetime) -> None:
        longest = max(version.policy.notice_days)
        ending = tx.sweeps.count_noticed(version, self._platform, longest, now)
        text = (
            f"{{count}} key sets of policy {version.name} end within {longest} days and are not "
            "replaced: their cards were not presented, or their updates fail (`kms updates list --open`)."
        )
        urgent = bool(tx.sweeps.count_noticed(version, self._platform, min(version.policy.notice_days), now))
        severity = AlarmSeverity.CRITICAL if urgent else AlarmSeverity.WARNING
        self._tell(tx, ENDING, f"policy {version.name}", ending, now=now, severity=severity, text=text)

    def _tell(
        self, tx: Transaction, kind: str, subject: str, count: int, *, now: datetime, severity: AlarmSeverity, text: str
    ) -> None:
        """Raise the alarm of a condition, or clear it when nothing shows it any more."""
        if count:
            alarm_id = self._identifiers.new()
            raise_alarm(tx, kind, subject, text.format(count=count), severity, alarm_id=alarm_id, at=now)
        else:
            tx.alarms.clear(kind, subject, now)
