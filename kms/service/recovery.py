"""Recovery: telling that the database was restored from an older backup, and what may be done until officers confirm.

Rules: the database is behind when it does not hold the audit event that its anchor, outside it, names (DESIGN section
4). It is looked for when a process first needs to know, and each time the anchor is kept. In RECOVERY cards are looked
at; no campaigns, enrolments or approvals, and terminals that were refused when the anchor was written stay refused. The
anchor is not written over until officers confirm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kms.domain.alarms import AlarmSeverity
from kms.domain.audit import AuditEvent
from kms.domain.recovery import AnchorMark, KeyFinding, PlatformCondition, PlatformState
from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from kms.service.alarms import raise_alarm
from kms.service.ports import Anchor, Clock, Identifiers, Store, Transaction

STATE_ID = "platform"
ALARM = "platform.recovery"
ACTOR = "recovery"
LOST = "refused before the database was restored"


@dataclass(frozen=True)
class RecoveryStatus:
    """The platform's condition for people. `anchored`: whether an anchor is configured; `findings`: numbers by kind."""

    condition: PlatformCondition
    anchored: bool
    anchor_event: str
    changed_at: datetime | None
    changed_by: str
    reason: str
    restored_at: datetime | None
    behind_since: datetime | None
    findings: dict[str, int]


class RecoveryService:
    """The use cases of recovery. `anchor` None: nothing outside the database tells that it is behind."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers, anchor: Anchor | None) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._anchor = anchor
        self._checked = False
        self._is_recovering = False

    @property
    def is_recovering(self) -> bool:
        """Whether the platform was in recovery when this process last looked (each 30 seconds); never waits."""
        return self._is_recovering

    def look_once(self) -> None:
        """Look at the anchor, once a process, before its first visit is served (`detect`)."""
        if not self._checked:
            self.detect()
            self._checked = True

    @staticmethod
    def find_state(tx: Transaction) -> PlatformState | None:
        """The platform's condition as it is recorded; None while it was always normal."""
        return tx.platform_state.find_current()

    def detect(self) -> PlatformState | None:
        """Look whether the database is behind its anchor, and go into recovery if so."""
        with self._store.transaction() as tx:
            return self._detect(tx)

    def keep_anchor(self) -> str:
        """Look whether the database is behind; if not, write the anchor anew. Says what it did."""
        if self._anchor is None:
            return "no anchor is configured"
        with self._store.transaction() as tx:
            state = self._detect(tx)
            if state is not None and state.condition is PlatformCondition.RECOVERY:
                return "in recovery: the anchor stays as it is"
            mark = _build_mark(tx)
        if mark is None:
            return "nothing is recorded yet"
        self._anchor.write(mark)
        return f"anchored at event {mark.event_id}"

    def confirm(self, *, actor: str) -> PlatformState:
        """End recovery: what was found stands. Raises `input.conflict` when the platform is not in recovery."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            state = self._detect(tx)
            if state is None or state.condition is not PlatformCondition.RECOVERY:
                raise KmsError(Code.CONFLICT, "The platform is not in recovery: there is nothing to confirm.")
            found = tx.key_findings.count_by_kind(state.restored_at or now)
            normal = replace(state, condition=PlatformCondition.NORMAL, changed_at=now, changed_by=actor)
            tx.platform_state.save(normal)
            tx.alarms.clear(ALARM, "", now)
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items())) or "none"
            self._log(tx, actor, "recovery.confirm", "confirmed", f"findings: {told}")
            self._is_recovering = False
            # Before the commit: another process that looks meanwhile finds RECOVERY still, and changes nothing.
            mark = _build_mark(tx)
            if self._anchor is not None and mark is not None:
                self._anchor.write(mark)
        return normal

    def status(self) -> RecoveryStatus:
        """The condition for people."""
        with self._store.transaction() as tx:
            state = self._detect(tx)
            since = state.restored_at if state is not None else None
            found = tx.key_findings.count_by_kind(since) if since is not None else {}
        mark = self._anchor.read() if self._anchor is not None else None
        return RecoveryStatus(
            condition=state.condition if state is not None else PlatformCondition.NORMAL,
            anchored=self._anchor is not None,
            anchor_event=mark.event_id if mark is not None else "",
            changed_at=state.changed_at if state is not None else None,
            changed_by=state.changed_by if state is not None else "",
            reason=state.reason if state is not None else "",
            restored_at=since,
            behind_since=state.behind_since if state is not None else None,
            findings=found,
        )

    def list_findings(self, *, limit: int = 100, offset: int = 0) -> Sequence[KeyFinding]:
        """What was found on cards since the database was restored, oldest first."""
        with self._store.transaction() as tx:
            state = tx.platform_state.find_current()
            if state is None or state.restored_at is None:
                return []
            return tx.key_findings.list_of_recovery(state.restored_at, limit=limit, offset=offset)

    def _detect(self, tx: Transaction) -> PlatformState | None:
        state = tx.platform_state.find_current()
        mark = self._anchor.read() if self._anchor is not None else None
        in_recovery = state is not None and state.condition is PlatformCondition.RECOVERY
        self._is_recovering = in_recovery
        if mark is None or in_recovery or tx.audit.contains(mark.event_id):
            return state
        return self._enter(tx, state, mark)

    def _enter(self, tx: Transaction, before: PlatformState | None, mark: AnchorMark) -> PlatformState:
        self._is_recovering = True
        now = self._clock.now()
        newest = tx.audit.list(limit=1)
        reason = f"the database does not hold the audit event of {mark.event_at.isoformat()} that its anchor names"
        state = PlatformState(
            id=STATE_ID,
            condition=PlatformCondition.RECOVERY,
            changed_at=now,
            changed_by=ACTOR,
            reason=reason,
            restored_at=now,
            behind_since=newest[0].at if newest else None,
        )
        if before is None:
            tx.platform_state.add(state)
        else:
            tx.platform_state.save(state)
        refused = 0
        for fingerprint in mark.refused_terminals:
            terminal = tx.terminals.find_by_fingerprint(fingerprint)
            if terminal is not None and terminal.state is TerminalState.ENROLLED:
                # No revocation is undone: which of the two it was, the officers know.
                tx.terminals.save(replace(terminal, state=TerminalState.SUSPENDED, reason=LOST))
                refused += 1
        raise_alarm(
            tx,
            ALARM,
            "",
            f"{reason}: it was restored from an older backup. Cards are looked at and nothing else is done until"
            " officers confirm (`kms recovery status`).",
            AlarmSeverity.CRITICAL,
            alarm_id=self._identifiers.new(),
            at=now,
        )
        self._log(tx, ACTOR, "recovery.begin", "in recovery", f"{reason}; {refused} terminals suspended again")
        return state

    def _log(self, tx: Transaction, actor: str, action: str, result: str, detail: str) -> None:
        event = AuditEvent(self._identifiers.new(), self._clock.now(), actor, action, "platform", result, detail=detail)
        tx.audit.append(event)


def check_normal(tx: Transaction, what: str) -> None:
    """Raise `platform.recovery` while the platform is in recovery. `what`: what is refused, with a capital letter."""
    state = tx.platform_state.find_current()
    if state is not None and state.condition is PlatformCondition.RECOVERY:
        text = f"{what} has to wait: the platform is in recovery ({state.reason}). See `kms recovery status`."
        raise KmsError(Code.RECOVERY, text)


def _build_mark(tx: Transaction) -> AnchorMark | None:
    newest = tx.audit.list(limit=1)
    if not newest:
        return None
    refused = tuple(item.fingerprint for item in tx.terminals.list_refused())
    return AnchorMark(newest[0].id, newest[0].at, refused)
