"""Alarms for people: listing them, and saying that somebody looks into one.

Rules: an alarm is raised and cleared by whoever sees the condition, in the transaction that found it
(`raise_alarm`, `tx.alarms.clear`). Acknowledging an alarm does not clear it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kms.domain.alarms import Alarm, AlarmSeverity
from kms.domain.audit import AuditEvent
from kms.errors import Code, KmsError
from kms.service.ports import Clock, Identifiers, Store, Transaction


class AlarmService:
    """The use cases of alarms."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers

    def list(self, *, only_open: bool = True, limit: int = 100, offset: int = 0) -> Sequence[Alarm]:
        """The open alarms, oldest first; or all, newest first."""
        with self._store.transaction() as tx:
            if only_open:
                return tx.alarms.list_open(limit=limit, offset=offset)
            return tx.alarms.list_newest(limit=limit, offset=offset)

    def get(self, alarm_id: str) -> Alarm:
        """One alarm. Raises `input.not-found`."""
        with self._store.transaction() as tx:
            return tx.alarms.get(alarm_id)

    def raise_(self, tx: Transaction, kind: str, subject: str, text: str, severity: AlarmSeverity) -> Alarm:
        """Raise an alarm in a transaction (`raise_alarm`)."""
        alarm_id, at = self._identifiers.new(), self._clock.now()
        return raise_alarm(tx, kind, subject, text, severity, alarm_id=alarm_id, at=at)

    def acknowledge(self, alarm_id: str, *, actor: str) -> Alarm:
        """Say that somebody looks into it; the first one stands. Raises `input.not-found`, `input.conflict`."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            alarm = tx.alarms.get(alarm_id)
            if alarm.cleared_at is not None:
                raise KmsError(Code.CONFLICT, "This alarm is cleared: what it told of is over.")
            if alarm.acknowledged_at is not None:
                return alarm
            acknowledged = replace(alarm, acknowledged_at=now, acknowledged_by=actor)
            tx.alarms.save(acknowledged)
            subject = f"alarm {alarm.id}"
            detail = f"{alarm.kind}, {alarm.subject}" if alarm.subject else alarm.kind
            event = AuditEvent(
                self._identifiers.new(), now, actor, "alarm.acknowledge", subject, "acknowledged", "", detail
            )
            tx.audit.append(event)
        return acknowledged


def raise_alarm(
    tx: Transaction, kind: str, subject: str, text: str, severity: AlarmSeverity, *, alarm_id: str, at: datetime
) -> Alarm:
    """Open an alarm, or count it in the open one of its kind and subject. `alarm_id`: for a new one."""
    return tx.alarms.raise_(Alarm(alarm_id, kind, subject, text, severity, raised_at=at, last_at=at))
