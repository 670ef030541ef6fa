"""The daily look at the HSM's lasting objects (R19, R48): every key on record as it was made, and nothing else there.

Rules: what is wrong with a key is an alarm of that key, cleared by the first look that finds it right again. The HSM
adapter refuses the key's use by itself. What nobody has on record is a warning, since a token may be shared; a key that
could both wrap and open what it wrapped is critical whoever it belongs to. Nothing is repaired or removed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kms.card.keys import MasterRef
from kms.domain.alarms import AlarmSeverity
from kms.domain.keys import KeyState, MasterKey, PlatformKey
from kms.domain.token_objects import ExpectedObject, ObjectReport
from kms.errors import Code
from kms.service.alarms import raise_alarm
from kms.service.ports import Clock, Identifiers, Store, Transaction, Vault

ALL = 10_000

DEVIATES = "token-object.deviates"
MISSING = "token-object.missing"
UNEXPECTED = "token-object.unexpected"
KINDS = (DEVIATES, MISSING, UNEXPECTED)


@dataclass(frozen=True)
class Condition:
    """What an alarm is to say."""

    kind: str
    subject: str
    text: str
    severity: AlarmSeverity


class TokenCheck:
    """The use case. `vault`: this platform's HSM."""

    def __init__(self, *, store: Store, vault: Vault, clock: Clock, identifiers: Identifiers) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers

    def look(self) -> ObjectReport:
        """Hold the HSM's objects against the record; changes nothing. Raises `hsm.*`."""
        with self._store.transaction() as tx:
            expected = _list_expected(tx)
            ceremonies = {item.pair_id for item in tx.ceremonies.list_open()}
        report = self._vault.check_objects(expected)
        # The pair of a ceremony that runs, or is not cleared away yet, is on record there.
        unexpected = tuple(item for item in report.unexpected if item.object_id not in ceremonies)
        return replace(report, unexpected=unexpected)

    def check(self) -> str:
        """Look, and raise or clear the alarms that follow; what was found, in a few words. Raises `hsm.*`."""
        report = self.look()
        conditions = list(_list_conditions(report))
        now = self._clock.now()
        with self._store.transaction() as tx:
            for item in conditions:
                raise_alarm(
                    tx,
                    item.kind,
                    item.subject,
                    item.text,
                    item.severity,
                    alarm_id=self._identifiers.new(),
                    at=now,
                )
            current = {(item.kind, item.subject) for item in conditions}
            for alarm in tx.alarms.list_open():
                if alarm.kind in KINDS and (alarm.kind, alarm.subject) not in current:
                    tx.alarms.clear(alarm.kind, alarm.subject, now)
        wrong = sum(finding.code is not None for finding in report.findings)
        return f"{len(report.findings)} keys looked at, {wrong} wrong, {len(report.unexpected)} unexpected objects"


def _list_expected(tx: Transaction) -> Sequence[ExpectedObject]:
    masters = (_expect_master(key) for key in tx.master_keys.list(limit=ALL) if key.state is not KeyState.DESTROYED)
    pairs = (_expect_pair(key) for key in tx.platform_keys.list(limit=ALL) if key.state is not KeyState.DESTROYED)
    return [*masters, *pairs]


def _expect_master(key: MasterKey) -> ExpectedObject:
    ref = MasterRef(key.object_id, key.key_type, key.kcv, key.kcv_method) if key.kcv else None
    return ExpectedObject(f"{key.name}-{key.generation}", key.object_id, master=ref)


def _expect_pair(key: PlatformKey) -> ExpectedObject:
    pair = (key.purpose, key.public_key_der) if key.public_key_der else None
    return ExpectedObject(key.name, key.object_id, pair=pair)


def _list_conditions(report: ObjectReport) -> Iterator[Condition]:
    for finding in report.findings:
        if finding.code is not None:
            kind = MISSING if finding.code is Code.KEY_MISSING else DEVIATES
            text = f"{finding.name}: {finding.text} ({finding.code})"
            yield Condition(kind, f"key {finding.object_id.hex().upper()}", text, AlarmSeverity.CRITICAL)
    for found in report.unexpected:
        danger = "; it could wrap a key and open what it wrapped" if found.dangerous else ""
        text = f"a {found.kind} labelled {found.label!r} is on nobody's record{danger}: find out whose it is"
        severity = AlarmSeverity.CRITICAL if found.dangerous else AlarmSeverity.WARNING
        yield Condition(UNEXPECTED, f"object {found.object_id.hex().upper() or found.label}", text, severity)
