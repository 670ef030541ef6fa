"""Ceremonies: started by request, carried out step by step by the people present, ended in one way or another.

Rules: a step is checked, done in the HSM, and then written with its audit event in one transaction, which counts up the
ceremony's version: cut off anywhere, the step is simply done again. Whatever ends a ceremony removes its key pair from
the HSM, and with it all that was not finished; what was cut off there is cleared away by `tidy`. Key components never
come this way: they are entered in single-use processes (`kms.service.ceremonies.components`).
"""

import hmac
import json
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from kms.card.keys import KcvMethod, KeyType
from kms.config.ceremony_files import LoadedScript, parse_script
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.ceremonies import (
    DEVELOPMENT,
    Ceremony,
    CeremonyState,
    StepInput,
    StepRecord,
    Subject,
    check_alone,
    check_step,
    count_missing,
    get_next_step,
)
from kms.domain.ceremony_scripts import COMPONENT_STEPS, EXCHANGING, MAKING, CeremonyKind, Script, Step
from kms.domain.key_components import KeyComponent
from kms.domain.keys import KeyState
from kms.domain.known_keys import check_not_test_key
from kms.domain.people import Principal
from kms.domain.permissions import Action, check_permitted
from kms.errors import Code, KmsError
from kms.service.ceremonies.words import build_words
from kms.service.ceremonies.work import Outcome, StepWork, build_ref, check_subject, compute_file_fingerprint
from kms.service.keys import check_kcv_form, check_name, find_kcv_method
from kms.service.plain_values import to_plain
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.recovery import check_normal

MAX_BECAUSE = 500


@dataclass(frozen=True)
class CeremonyView:
    """A ceremony as people see it. `words`: of the script's hash. `next_step`: None when all are done.

    `missing`: how many more people the next step takes. `file_fingerprint`: of the peer's file, where there is one.
    """

    ceremony: Ceremony
    script: Script
    words: tuple[str, ...]
    steps: tuple[StepRecord, ...]
    components: tuple[KeyComponent, ...]
    next_step: Step | None
    missing: int

    @property
    def next_number(self) -> int:
        """The number of the next step, from 1."""
        return self.ceremony.position + 1


class CeremonyService:
    """The use cases. `load`: reads a script of the site's by its name. `software`: version of this program."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        work: StepWork,
        load: Callable[[str], LoadedScript],
        software: str,
        lab_mode: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._work = work
        self._load = load
        self._software = software
        self._lab_mode = lab_mode

    def start(self, name: str, digest: bytes, subject: Subject, *, actor: str, rehearsal: bool = False) -> CeremonyView:
        """Start a ceremony by the script of this name, whose hash is the one that was approved.

        Raises `ceremony.script-changed`, `config.invalid`, `input.*`, `key.test-value`; nothing is begun then.
        """
        loaded = self._load(name)
        if not hmac.compare_digest(loaded.digest, digest):
            raise KmsError(Code.CEREMONY_CHANGED, f"The script {name} has changed: read and approve it as it is now.")
        self._check_subject(loaded.script, subject, rehearsal=rehearsal)
        now = self._clock.now()
        ceremony_id = self._identifiers.new()
        ceremony = Ceremony(
            id=ceremony_id,
            script_name=name,
            script=loaded.text,
            digest=loaded.digest,
            kind=loaded.script.kind,
            rehearsal=rehearsal,
            key_name=subject.key_name,
            started_by=actor,
            started_at=now,
            deadline=now + timedelta(minutes=loaded.script.minutes),
            state=CeremonyState.RUNNING,
            pair_id=uuid.UUID(ceremony_id).bytes,
            object_id=uuid.UUID(self._identifiers.new()).bytes,
            software=self._software,
            generation=subject.generation,
            expected_kcv=subject.expected_kcv,
            valid_days=subject.valid_days,
            because=subject.because,
            peer_file=subject.peer_file,
            cleared=True,
        )
        self._work.get_vault(ceremony)
        if loaded.script.kind in EXCHANGING - {CeremonyKind.OFFER_KEK}:
            compute_file_fingerprint(ceremony)
        with self._store.transaction() as tx:
            check_normal(tx, "Ceremonies")
            check_subject(tx, ceremony, loaded.script)
            tx.ceremonies.add(ceremony)
            tx.audit.append(
                self._build_event(ceremony, actor, "ceremony.start", "started", " ".join(build_words(digest)))
            )
        return self.view(ceremony_id)

    def load_script(self, name: str) -> LoadedScript:
        """A script of the site's as it is now. Raises `config.invalid`."""
        return self._load(name)

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[Ceremony]:
        """Ceremonies, the oldest first."""
        with self._store.reading() as reading:
            return reading.ceremonies.list(limit=limit, offset=offset)

    def view(self, ceremony_id: str) -> CeremonyView:
        """A ceremony with all that was done. Raises `input.not-found`, `ceremony.script-changed`."""
        with self._store.reading() as reading:
            return build_view(reading, reading.ceremonies.get(ceremony_id))

    def act(self, principal: Principal, ceremony_id: str, number: int, given: StepInput | None = None) -> CeremonyView:
        """Do one's part in a step. `number`: of the step, from 1, as it was seen.

        Raises `ceremony.*`, `person.not-permitted`, `key.*`, `exchange.*`, `hsm.*`; the step is still to be done then.
        """
        check_permitted(principal, Action.CEREMONIES_STEP)
        given = given or StepInput()
        view = self.view(ceremony_id)
        try:
            step = self._check(view, number, principal)
            _check_not_component(step)
            self._work.check_given(view.ceremony, step, given)
            last = view.missing <= 1 or principal.development
            actor = f"{principal.actor} (ceremony {ceremony_id})"
            outcome = self._work.do(view.ceremony, view.script, step, actor) if last else Outcome(view.ceremony)
        except KmsError as error:
            self._refuse(view.ceremony, principal, number, error)
            raise
        result = {**outcome.result, **({"note": given.note} if given.note else {})}
        self._finish_step(view, principal, step, replace(outcome, result=result), last=last)
        after = self.view(ceremony_id)
        if after.ceremony.state is not CeremonyState.RUNNING:
            with suppress(KmsError):  # the step is done; `tidy` clears away what could not be cleared now
                self._clear(after.ceremony)
            after = self.view(ceremony_id)
        return after

    def add_component(
        self, principal: Principal, view: CeremonyView, sealed: tuple[bytes, KcvMethod, bytes]
    ) -> CeremonyView:
        """Record a component that a single-use process sealed: its check value, the method, the wrapped value."""
        number = view.next_number
        step = self._check(view, number, principal)
        kcv, method, wrapped = sealed
        component = KeyComponent(
            id=self._identifiers.new(),
            ceremony_id=view.ceremony.id,
            key_name=view.ceremony.key_name,
            number=step.component,
            person_id=principal.person_id,
            person_name=principal.name,
            account_id=principal.account_id,
            login_session_id=principal.login_session_id,
            kcv=kcv,
            kcv_method=method,
            rehearsal=view.ceremony.rehearsal,
            entered_at=self._clock.now(),
            wrapped=wrapped,
        )
        result = {"component": step.component, "kcv": kcv.hex().upper(), "kcv_method": str(method)}
        outcome = Outcome(view.ceremony, result)
        self._finish_step(view, principal, step, outcome, last=True, component=component)
        return self.view(view.ceremony.id)

    def refuse_component(self, principal: Principal, view: CeremonyView, error: KmsError) -> None:
        """Record that a component was refused, and why (never what it was)."""
        self._refuse(view.ceremony, principal, view.next_number, error)

    def abort(self, ceremony_id: str, *, actor: str, why: str) -> Ceremony:
        """End a ceremony and clear away what it had begun. Once more clears away what was left."""
        ceremony = self._end(ceremony_id, CeremonyState.ABORTED, actor, why)
        self._clear(ceremony)
        return self.view(ceremony_id).ceremony

    def expire(self) -> str:
        """End the ceremonies whose time is over, and clear away what is left of any; how many, in words."""
        with self._store.reading() as reading:
            overdue = reading.ceremonies.list_overdue(self._clock.now())
        for item in overdue:
            self._end(item.id, CeremonyState.EXPIRED, "scheduler", "its time is over")
        cleared = self.tidy()
        return f"{len(overdue)} ceremonies ended, {cleared} cleared"

    def tidy(self) -> int:
        """Clear away what ended ceremonies have left in the HSM; how many there were."""
        with self._store.reading() as reading:
            left = [item for item in reading.ceremonies.list_open() if item.state is not CeremonyState.RUNNING]
        for item in left:
            self._clear(item)
        return len(left)

    def _check_subject(self, script: Script, subject: Subject, *, rehearsal: bool) -> None:
        check_name(subject.key_name)
        if len(subject.because) > MAX_BECAUSE:
            raise KmsError(Code.INPUT_INVALID, f"The reason has {MAX_BECAUSE} characters at most.")
        if script.kind is CeremonyKind.IMPORT_MASTER and script.key is not None:
            check_expected(script.key.type, subject.expected_kcv, lab_mode=self._lab_mode or rehearsal)
        elif subject.expected_kcv:
            raise KmsError(Code.INPUT_INVALID, "A check value is expected of imported keys alone.")
        if script.kind in EXCHANGING - {CeremonyKind.OFFER_KEK} and not subject.peer_file:
            raise KmsError(Code.INPUT_INVALID, "The peer's file is missing.")

    def _check(self, view: CeremonyView, number: int, principal: Principal) -> Step:
        now = self._clock.now()
        if principal.development and not self._lab_mode:
            raise KmsError(Code.LOGIN_NEEDED, "Production mode refuses the development login: log in (`kms login`).")
        step = check_step(view.ceremony, view.script, number, principal, done=view.steps, now=now)
        with self._store.reading() as reading:
            others = [
                (other, item)
                for other in reading.ceremonies.list_open()
                if other.state is CeremonyState.RUNNING and other.deadline > now
                for item in reading.ceremonies.list_steps(other.id)
            ]
        check_alone(view.ceremony, principal, others)
        return step

    def _finish_step(
        self,
        view: CeremonyView,
        principal: Principal,
        step: Step,
        outcome: Outcome,
        *,
        last: bool,
        component: KeyComponent | None = None,
    ) -> None:
        now = self._clock.now()
        position = view.ceremony.position + 1
        changed = outcome.ceremony
        if last:
            over = position == len(view.script.steps)
            state = CeremonyState.DONE if over else CeremonyState.RUNNING
            changed = replace(changed, position=position, state=state, finished_at=now if over else None)
            if over and view.ceremony.kind in MAKING:
                changed = replace(changed, cleared=False)
        record = StepRecord(
            id=self._identifiers.new(),
            ceremony_id=changed.id,
            number=position,
            do=step.do,
            role=str(step.role),
            person_id=principal.person_id,
            person_name=principal.name,
            account_id=principal.account_id,
            login_session_id=principal.login_session_id,
            factor=DEVELOPMENT if principal.development else str(principal.second_factor or "none"),
            done_at=now,
            result=json.dumps(to_plain(outcome.result), sort_keys=True),
        )
        with self._store.transaction() as tx:
            tx.ceremonies.save(changed)
            tx.ceremonies.add_step(record)
            if component is not None:
                tx.ceremonies.add_component(component)
            events = [self._build_event(changed, principal.actor, f"ceremony.{step.do}", "done", f"step {position}")]
            if outcome.master is not None:
                tx.master_keys.save(outcome.master)
                events.append(self._build_event(changed, principal.actor, "master-key.activate", "done"))
            if changed.state is CeremonyState.DONE:
                events.append(self._build_event(changed, principal.actor, "ceremony.finish", "done"))
            tx.audit.append_all(events)

    def _end(self, ceremony_id: str, state: CeremonyState, actor: str, why: str) -> Ceremony:
        with self._store.transaction() as tx:
            ceremony = tx.ceremonies.get(ceremony_id)
            if ceremony.state is CeremonyState.DONE:
                raise KmsError(Code.CEREMONY_STATE, "The ceremony is done: there is nothing to abort.")
            if ceremony.state is not CeremonyState.RUNNING:
                return ceremony
            ended = replace(
                ceremony, state=state, finished_at=self._clock.now(), why=why, cleared=ceremony.kind not in MAKING
            )
            tx.ceremonies.save(ended)
            tx.audit.append(self._build_event(ended, actor, "ceremony.end", str(state).lower(), why))
            return tx.ceremonies.get(ceremony_id)

    def _clear(self, ceremony: Ceremony) -> None:
        """Remove what is left in the HSM and of wrapped values; a key that was not finished is never used."""
        if ceremony.cleared:
            return
        self._work.get_vault(ceremony).ceremony_keys.remove_pair(ceremony.pair_id)
        abandoned = self._find_abandoned(ceremony)
        with self._store.transaction() as tx:
            tx.ceremonies.clear_components(ceremony.id)
            tx.ceremonies.save(replace(ceremony, sealed=b"", cleared=True))
            if abandoned is not None:
                tx.master_keys.save(replace(tx.master_keys.get(abandoned[0]), state=abandoned[1], kcv=ceremony.kcv))
            detail = f"the unfinished key is {abandoned[1]}" if abandoned is not None else ""
            tx.audit.append(self._build_event(ceremony, "system", "ceremony.clear", "cleared", detail))

    def _find_abandoned(self, ceremony: Ceremony) -> tuple[str, KeyState] | None:
        """The row of a key that was planned and not finished, and whether the HSM has got it after all."""
        if ceremony.key_id is None:
            return None
        with self._store.reading() as reading:
            key = reading.master_keys.get(ceremony.key_id)
        if key.state is not KeyState.PRE_ACTIVATION:
            return None
        try:
            with self._work.get_vault(ceremony).open_scope() as scope:
                scope.get_master(build_ref(replace(key, kcv=ceremony.kcv)))
        except KmsError as error:
            if error.code is not Code.KEY_MISSING:
                raise
            return key.id, KeyState.DESTROYED
        return key.id, KeyState.DEACTIVATED

    def _refuse(self, ceremony: Ceremony, principal: Principal, number: int, error: KmsError) -> None:
        event = self._build_event(
            ceremony, principal.actor, "ceremony.refuse", f"refused: {error.code}", f"step {number}"
        )
        with self._store.transaction() as tx:
            tx.audit.append(event)

    def _build_event(self, ceremony: Ceremony, actor: str, action: str, result: str, detail: str = "") -> AuditEvent:
        marked = "REHEARSAL " if ceremony.rehearsal else ""
        method = ceremony.kcv_method
        return AuditEvent(
            id=self._identifiers.new(),
            at=self._clock.now(),
            actor=actor,
            action=action,
            subject=f"ceremony {ceremony.id}",
            result=result,
            kcv=build_kcv_text(method, [ceremony.kcv]) if ceremony.kcv and method is not None else "",
            detail=f"{marked}{ceremony.script_name}, key {ceremony.key_name} {detail}".strip(),
            reason=ceremony.because,
        )


def _check_not_component(step: Step) -> None:
    if step.do in COMPONENT_STEPS:
        raise KmsError(Code.CEREMONY_STATE, "A component is entered in a process of its own (`kms ceremony enter`).")


def build_view(tx: Transaction, ceremony: Ceremony) -> CeremonyView:
    """Put a ceremony together with its script and steps. Raises `ceremony.script-changed` for an altered row."""
    loaded = parse_script(ceremony.script_name, ceremony.script)
    if not hmac.compare_digest(loaded.digest, ceremony.digest):
        raise KmsError(Code.CEREMONY_CHANGED, "The stored script is not the one that was approved: abort the ceremony.")
    steps = tuple(tx.ceremonies.list_steps(ceremony.id))
    running = ceremony.state is CeremonyState.RUNNING
    step = get_next_step(ceremony, loaded.script) if running else None
    return CeremonyView(
        ceremony=ceremony,
        script=loaded.script,
        words=build_words(ceremony.digest),
        steps=steps,
        components=tuple(tx.ceremonies.list_components(ceremony.id)),
        next_step=step,
        missing=count_missing(step, ceremony.position + 1, steps) if step is not None else 0,
    )


def check_expected(key_type: KeyType, kcv: bytes, *, lab_mode: bool) -> None:
    """Raise unless this may be the check value of an imported key, as people compare it: `input.invalid`, `key.*`."""
    if not kcv:
        raise KmsError(Code.INPUT_INVALID, "The check value is missing that the key's maker announced.")
    method = find_kcv_method(key_type, kcv)
    check_kcv_form(key_type, method, kcv)
    if not lab_mode:
        check_not_test_key(kcv, method)
