"""Keeping house, with nobody watching: visits that nobody ended, work and keys that are late, journals that are old.

Rules: each method works in bounded batches, a transaction each, and says what it did in a few words. What it finds
wrong is an alarm, and the alarm is cleared when it is found right again. The audit log is never touched.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from kms.domain.alarms import Alarm, AlarmSeverity
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.housekeeping import ExpiredVisits, Overdue
from kms.errors import Code, KmsError
from kms.service.ports import Clock, Identifiers, Store, Transaction

ACTOR = "scheduler"
BATCH = 500  # rows a transaction, so that no visit waits long
MAX_BATCHES = 2000  # a run ends; the next one goes on
ATTEMPTS = 5
EXPIRED = "the visit took too long: nothing was heard of it any more"
UPDATES_OVERDUE = "updates.overdue"
KEYS_PAST_END = "keys.past-end"


@dataclass(frozen=True)
class HousekeepingLimits:
    """`late_reports`: how long after its deadline a visit may still be reported, for what a late answer proves.

    `retention`: how long a visit that is over stays with its journal, seven days at least.
    """

    late_reports: timedelta
    retention: timedelta


class HousekeepingService:
    """The jobs that keep house."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers, limits: HousekeepingLimits) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._limits = limits

    def expire_visits(self) -> str:
        """End visits that nobody reported in time; their sets in flight are in doubt, their updates wait again."""
        visits = doubted = 0
        for _ in range(MAX_BATCHES):
            expired = self._expire_batch()
            visits += len(expired.visit_ids)
            doubted += len(expired.doubted)
            if len(expired.visit_ids) < BATCH:
                break
        return f"{visits} visits expired, {doubted} key sets in doubt"

    def _expire_batch(self) -> ExpiredVisits:
        """One batch, taken again where a step of a visit came between."""
        for _ in range(ATTEMPTS - 1):
            try:
                return self._try_expire_batch()
            except KmsError as error:
                if error.code is not Code.VISIT_CONFLICT:
                    raise
        return self._try_expire_batch()

    def _try_expire_batch(self) -> ExpiredVisits:
        now = self._clock.now()
        with self._store.transaction() as tx:
            expired = tx.housekeeping.expire_visits(now - self._limits.late_reports, now, EXPIRED, BATCH)
            events = [
                AuditEvent(
                    self._identifiers.new(),
                    now,
                    ACTOR,
                    "key-set.doubt",
                    f"key set {item.key_set_id}",
                    "in doubt",
                    build_kcv_text(item.kcv_method, item.kcvs),
                    item.where,
                )
                for item in expired.doubted
            ]
            events += [
                AuditEvent(
                    self._identifiers.new(), now, ACTOR, "update.break", f"update {item}", "PENDING", "", EXPIRED
                )
                for item in expired.update_ids
            ]
            if events:
                tx.audit.append_all(events)
        return expired

    def escalate_overdue(self) -> str:
        """Raise alarms for updates past their deadline and key sets in force past their end; clear them when none."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            overdue = tx.housekeeping.count_overdue(now)
            late = self._build_alarm(UPDATES_OVERDUE, _describe_updates(overdue), AlarmSeverity.WARNING, now)
            past = self._build_alarm(KEYS_PAST_END, _describe_sets(overdue), AlarmSeverity.CRITICAL, now)
            self._tell(tx, late, overdue.updates)
            self._tell(tx, past, overdue.key_sets)
        return f"{overdue.updates} updates overdue, {overdue.key_sets} key sets past their end"

    def _tell(self, tx: Transaction, alarm: Alarm, count: int) -> None:
        if count:
            tx.alarms.raise_(alarm)
        else:
            tx.alarms.clear(alarm.kind, alarm.subject, alarm.raised_at)

    def _build_alarm(self, kind: str, text: str, severity: AlarmSeverity, now: datetime) -> Alarm:
        return Alarm(self._identifiers.new(), kind, "", text, severity, raised_at=now, last_at=now)

    def retain(self) -> str:
        """Delete visits that are long over, with their journals."""
        before = self._clock.now() - self._limits.retention
        deleted = 0
        for _ in range(MAX_BATCHES):
            with self._store.transaction() as tx:
                count = tx.housekeeping.delete_visits(before, BATCH)
            deleted += count
            if count < BATCH:
                break
        return f"{deleted} visits deleted"


def _describe_updates(overdue: Overdue) -> str:
    return (
        f"{overdue.updates} key updates are past their deadline, the oldest since {_date(overdue.oldest_deadline)}: "
        "their cards did not show up; `kms updates list --open` lists them"
    )


def _describe_sets(overdue: Overdue) -> str:
    return (
        f"{overdue.key_sets} key sets are in force past their end, the oldest since {_date(overdue.oldest_end)}: they "
        "open a channel for their own replacement alone, within their policy's grace"
    )


def _date(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at is not None else "never"
