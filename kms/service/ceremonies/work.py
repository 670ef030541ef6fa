"""What a step does beside being recorded: the HSM's part, and what becomes of the ceremony.

Rules: nothing here commits anything but the write-ahead of a master's row; a step that was cut off is done again, and
gives the same or begins anew. What a rehearsal does stays in the rehearsal token and in the ceremony's own rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kms.card.keys import MasterRef
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.ceremonies import Ceremony, StepInput
from kms.domain.ceremony_scripts import CHANGING, MAKING, CeremonyKind, Script, Step, StepKind
from kms.domain.key_exchange import compute_fingerprint, format_fingerprint, parse_answer, parse_offer
from kms.domain.keys import KeyState, MasterKey, MasterKind
from kms.errors import Code, KmsError
from kms.service.campaigns import find_master
from kms.service.ceremonies.key_states import KeyStates
from kms.service.ceremonies.ports import CeremonyVault, Combiner, LastingUse, SealedKey
from kms.service.exchange import ExchangeService
from kms.service.ports import Clock, Identifiers, NewMaster, Store, Transaction

REHEARSED = {"rehearsal": "nothing was changed"}


@dataclass(frozen=True)
class Outcome:
    """What a step came to. `ceremony`, `master`: as they are to be stored. `result`: for the record."""

    ceremony: Ceremony
    result: Mapping[str, object] = field(default_factory=dict)
    master: MasterKey | None = None


class StepWork:
    """Does steps. `vault`: the platform's HSM; `rehearsal`: a scratch token; `recovery`: where backups are proved."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        vault: CeremonyVault,
        rehearsal: CeremonyVault | None,
        recovery: CeremonyVault | None,
        combiner: Combiner,
        states: KeyStates,
        exchange: ExchangeService,
        valid_for: timedelta,
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._vault = vault
        self._rehearsal = rehearsal
        self._recovery = recovery
        self._combiner = combiner
        self._states = states
        self._exchange = exchange
        self._valid_for = valid_for

    def get_vault(self, ceremony: Ceremony) -> CeremonyVault:
        """The token that a ceremony works on. Raises `config.invalid` for a rehearsal where no token is set for it."""
        if not ceremony.rehearsal:
            return self._vault
        if self._rehearsal is None:
            raise KmsError(Code.CONFIG_INVALID, "No token for rehearsals is configured ([ceremonies.rehearsal_hsm]).")
        return self._rehearsal

    def do(self, ceremony: Ceremony, script: Script, step: Step, actor: str) -> Outcome:
        """Do a step for its last person. Raises `hsm.*`, `key.*`, `exchange.*`, `ceremony.*`."""
        hsm = {StepKind.AGREE: self._begin, StepKind.GENERATE: self._generate, StepKind.COMBINE: self._combine}
        backups = {StepKind.BACK_UP: self._back_up, StepKind.PROVE_BACKUP: self._prove}
        if work := (hsm | backups).get(step.do):
            return work(ceremony)
        if step.do is StepKind.ACTIVATE:
            return self._activate(ceremony, script, actor)
        result: Mapping[str, object] = {}  # people's own: notes, confirmations, waivers
        if step.do is StepKind.CHECK_USE:
            result = self._states.describe_use(ceremony.key_name, ceremony.generation)
        elif step.do in {StepKind.CHANGE, StepKind.EXCHANGE}:
            result = REHEARSED
            if not ceremony.rehearsal:
                exchanging = step.do is StepKind.EXCHANGE
                result = self._do_exchange(ceremony, actor) if exchanging else self._states.change(ceremony, actor)
        return Outcome(ceremony, result)

    def check_given(self, ceremony: Ceremony, step: Step, given: StepInput) -> None:
        """Raise unless what a person enters is what the step asks for: `key.kcv-mismatch`, `exchange.*`."""
        if step.do is StepKind.CONFIRM_KCV and given.kcv != ceremony.kcv:
            raise KmsError(
                Code.KEY_KCV_MISMATCH, "That is not the key's check value: compare again, and abort if it stays so."
            )
        if step.do is StepKind.COMPARE and given.fingerprint != compute_file_fingerprint(ceremony):
            raise KmsError(
                Code.EXCHANGE_FINGERPRINT,
                "That is not the file's fingerprint: hear it again, and abort if it stays so.",
            )

    def _begin(self, ceremony: Ceremony) -> Outcome:
        vault = self.get_vault(ceremony)
        status = vault.status()
        token = {
            "token_label": status.token_label,
            "token_manufacturer": status.manufacturer,
            "token_model": status.model,
            "token_serial": status.serial,
            "token_firmware": status.firmware,
        }
        if ceremony.kind not in MAKING:
            return Outcome(ceremony, token)
        label = build_label(ceremony, "ceremony", 0)
        public = vault.ceremony_keys.make_pair(ceremony.pair_id, label)
        return Outcome(replace(ceremony, pair_public=public, cleared=False), token)

    def _generate(self, ceremony: Ceremony) -> Outcome:
        keys = self.get_vault(ceremony).ceremony_keys
        return self._seal(ceremony, keys.generate(ceremony.pair_public, ceremony.pair_id))

    def _combine(self, ceremony: Ceremony) -> Outcome:
        return self._seal(ceremony, self._combiner.combine(ceremony.id))

    def _seal(self, ceremony: Ceremony, sealed: SealedKey) -> Outcome:
        made = replace(
            ceremony,
            sealed=sealed.wrapped,
            key_type=sealed.key_type,
            kcv=sealed.kcv,
            kcv_method=sealed.kcv_method,
        )
        return Outcome(made, {"kcv": sealed.kcv.hex().upper(), "kcv_method": str(sealed.kcv_method)})

    def _back_up(self, ceremony: Ceremony) -> Outcome:
        if ceremony.rehearsal:
            return Outcome(ceremony, REHEARSED)
        key = self._get_backup_key()
        sealed = get_sealed(ceremony)
        backup = self._vault.ceremony_keys.back_up(sealed, ceremony.pair_id, build_ref(key))
        return Outcome(
            replace(ceremony, backup=backup),
            {
                "backup": backup.hex().upper(),
                "method": "AES key wrap (RFC 3394)",
                "backup_key": f"{key.name} generation {key.generation}",
                "backup_key_kcv": key.kcv.hex().upper(),
                "backup_key_kcv_method": str(key.kcv_method),
            },
        )

    def _prove(self, ceremony: Ceremony) -> Outcome:
        if ceremony.rehearsal:
            return Outcome(ceremony, REHEARSED)
        recovery, sealed = self._get_recovery(), get_sealed(ceremony)
        ref = build_ref(self._get_backup_key())
        recovery.ceremony_keys.prove(ceremony.backup, ref, sealed.key_type, sealed.kcv_method, sealed.kcv)
        status = recovery.status()
        return Outcome(
            ceremony,
            {
                "opened_in": f"{status.token_label}, {status.model}, serial {status.serial}",
                "kcv": sealed.kcv.hex().upper(),
            },
        )

    def _get_backup_key(self) -> MasterKey:
        with self._store.reading() as reading:
            key = reading.master_keys.find_active(MasterKind.BACKUP)
        if key is None:
            raise KmsError(Code.KEY_MISSING, "There is no backup key yet: hold the ceremony make-backup-key first.")
        return key

    def _get_recovery(self) -> CeremonyVault:
        if self._recovery is None:
            raise KmsError(
                Code.CONFIG_INVALID, "No second token is configured to prove backups in ([ceremonies.recovery_hsm])."
            )
        return self._recovery

    def _activate(self, ceremony: Ceremony, script: Script, actor: str) -> Outcome:
        """Make the lasting key. Its row stands as PRE_ACTIVATION before the HSM is asked."""
        vault, sealed = self.get_vault(ceremony), get_sealed(ceremony)
        if ceremony.rehearsal:
            made = vault.ceremony_keys.create(
                sealed,
                ceremony.pair_id,
                ceremony.object_id,
                build_label(ceremony, ceremony.key_name, 1),
                use=LastingUse.MASTER,
            )
            return Outcome(ceremony, build_key_result(made, build_label(ceremony, ceremony.key_name, 1)))
        ceremony, planned = self._plan(ceremony, script, actor)
        use = LastingUse.MASTER
        if planned.kind is MasterKind.BACKUP:
            use = LastingUse.BACKING_UP
            self._carry_over(ceremony, sealed, planned)
        label = build_label(ceremony, planned.name, planned.generation)
        made = vault.ceremony_keys.create(sealed, ceremony.pair_id, ceremony.object_id, label, use=use)
        now = self._clock.now()
        active = replace(
            planned,
            kcv=made.kcv,
            kcv_method=made.kcv_method,
            state=KeyState.ACTIVE,
            activated_at=now,
            expires_at=self._find_end(planned.kind, ceremony.valid_days),
        )
        return Outcome(ceremony, build_key_result(made, label), active)

    def _find_end(self, kind: MasterKind, valid_days: int | None) -> datetime | None:
        if valid_days is not None:
            return self._clock.now() + timedelta(days=valid_days)
        return self._clock.now() + self._valid_for if kind not in {MasterKind.VENDOR, MasterKind.BACKUP} else None

    def _carry_over(self, ceremony: Ceremony, sealed: SealedKey, planned: MasterKey) -> None:
        """The recovery HSM gets the same key, to open backups with; its ceremony pair there lives for this call."""
        recovery = self._get_recovery()
        public = recovery.ceremony_keys.make_pair(ceremony.pair_id, build_label(ceremony, "ceremony", 0))
        wrapped = self._vault.ceremony_keys.reseal(sealed, ceremony.pair_id, public)
        label = build_label(ceremony, planned.name, planned.generation)
        there = replace(sealed, wrapped=wrapped)
        recovery.ceremony_keys.create(there, ceremony.pair_id, ceremony.object_id, label, use=LastingUse.OPENING)
        recovery.ceremony_keys.remove_pair(ceremony.pair_id)

    def _plan(self, ceremony: Ceremony, script: Script, actor: str) -> tuple[Ceremony, MasterKey]:
        if script.key is None:
            raise KmsError(Code.CEREMONY_STATE, "This ceremony makes no key.")
        with self._store.transaction() as tx:
            if ceremony.key_id is not None:
                return ceremony, tx.master_keys.get(ceremony.key_id)
            sealed = get_sealed(ceremony)
            newest = check_name_free(tx, script.key.kind, ceremony.key_name)
            key = MasterKey(
                id=self._identifiers.new(),
                name=ceremony.key_name,
                kind=script.key.kind,
                generation=newest.generation + 1 if newest is not None else 1,
                key_type=sealed.key_type,
                object_id=ceremony.object_id,
                kcv=b"",
                kcv_method=sealed.kcv_method,
                state=KeyState.PRE_ACTIVATION,
                created_at=self._clock.now(),
            )
            tx.master_keys.add(key)
            tx.ceremonies.save(replace(ceremony, key_id=key.id))
            event = AuditEvent(
                id=self._identifiers.new(),
                at=self._clock.now(),
                actor=actor,
                action="master-key.plan",
                subject=f"master-key {key.id}",
                result="done",
                kcv=build_kcv_text(sealed.kcv_method, [sealed.kcv]),
                detail=f"{key.name} generation {key.generation} ({key.kind}, {key.key_type}), ceremony {ceremony.id}",
            )
            tx.audit.append(event)
        return replace(ceremony, key_id=key.id, version=ceremony.version + 1), key

    def _do_exchange(self, ceremony: Ceremony, actor: str) -> Mapping[str, object]:
        peer = ceremony.key_name
        if ceremony.kind is CeremonyKind.OFFER_KEK:
            made = self._exchange.offer(peer, actor=actor)
            return {"file": made.text, "fingerprint": format_fingerprint(made.fingerprint)}
        compared = compute_file_fingerprint(ceremony)
        if ceremony.kind is CeremonyKind.ANSWER_KEK:
            made = self._exchange.answer(peer, ceremony.peer_file, compared, actor=actor, renew=True)
            kek = made.kek
            shown: dict[str, object] = {"file": made.text, "fingerprint": format_fingerprint(made.fingerprint)}
        else:
            kek, shown = self._exchange.accept(peer, ceremony.peer_file, compared, actor=actor), {}
        if kek is not None:
            shown |= {"key": f"{kek.name} generation {kek.generation}", "kcv": kek.kcv.hex().upper()}
            shown["kcv_method"] = str(kek.kcv_method)
        return shown


def compute_file_fingerprint(ceremony: Ceremony) -> bytes:
    """The fingerprint of the peer's file. Raises `exchange.refused` for a file that is none."""
    if ceremony.kind is CeremonyKind.ANSWER_KEK:
        return compute_fingerprint(parse_offer(ceremony.peer_file))
    return compute_fingerprint(parse_answer(ceremony.peer_file))


def check_name_free(tx: Transaction, kind: MasterKind, name: str) -> MasterKey | None:
    """The newest key of this name. Raises `input.conflict` where a key of this kind cannot have the name now."""
    newest = tx.master_keys.find_by_name(name)
    if newest is not None and newest.kind is not kind:
        raise KmsError(Code.CONFLICT, f"The name {name!r} belongs to a {newest.kind} key; choose another.")
    if newest is not None and newest.state is KeyState.PRE_ACTIVATION:
        raise KmsError(Code.CONFLICT, f"A key {name!r} is being made already: finish or abort that first.")
    active = tx.master_keys.find_active(kind) if kind is not MasterKind.VENDOR else None
    if active is not None and active.name != name:
        raise KmsError(Code.CONFLICT, f"The {kind} key is named {active.name!r}: make its next generation.")
    return newest


def get_sealed(ceremony: Ceremony) -> SealedKey:
    """The key that the ceremony has made so far. Raises `ceremony.state`."""
    if not ceremony.sealed or ceremony.key_type is None or ceremony.kcv_method is None:
        raise KmsError(Code.CEREMONY_STATE, "The ceremony has made no key yet.")
    return SealedKey(ceremony.sealed, ceremony.key_type, ceremony.kcv_method, ceremony.kcv)


def build_ref(key: MasterKey) -> MasterRef:
    """How the HSM finds a key."""
    return MasterRef(key.object_id, key.key_type, key.kcv, key.kcv_method)


def build_label(ceremony: Ceremony, name: str, generation: int) -> str:
    """A label for people with other tools; nothing is looked up by it."""
    label = f"{name}-{generation}" if generation else f"{name}-{ceremony.id}"
    return f"REHEARSAL-{label}" if ceremony.rehearsal else label


def build_key_result(made: NewMaster, label: str) -> Mapping[str, object]:
    """What to record of a key that was made."""
    return {
        "label": label,
        "object_id": made.object_id.hex().upper(),
        "kcv": made.kcv.hex().upper(),
        "kcv_method": str(made.kcv_method),
        "attributes": dict(made.attributes),
    }


def check_subject(tx: Transaction, ceremony: Ceremony, script: Script) -> None:
    """Raise unless what the ceremony is about is there, or free: `input.*`, before anybody begins."""
    if ceremony.kind in CHANGING:
        find_master(tx, ceremony.key_name, ceremony.generation)
    elif script.key is not None and not ceremony.rehearsal:
        check_name_free(tx, script.key.kind, ceremony.key_name)
