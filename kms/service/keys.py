"""Making master keys: the record first, then the key in the HSM, then the record made active.

Rules: the row stands as PRE_ACTIVATION with its object id before the HSM is asked, so a run that was cut off anywhere
is taken up again by the same command: the HSM gives back the key of that object id instead of making a second one. No
transaction is open during an HSM call. A wrong component or check value is found out before anything is written. A new
generation is made only when asked for by name; older ones stay usable for the cards that hold keys derived from them,
until the last of these is replaced and somebody deactivates them. A master issues new key sets until its end
(`expires_at`); what it issued before has ends of its own.
Every step leaves an audit event in its transaction.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from kms.card.keys import KcvMethod, KeyType, MasterRef
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.compromises import MasterUse
from kms.domain.keys import KeyState, MasterKey, MasterKind
from kms.domain.known_keys import check_not_test_key
from kms.errors import Code, KmsError
from kms.service.campaigns import find_master
from kms.service.ports import Clock, Identifiers, NewMaster, Store, Transaction, Vault

MAX_NAME = 32  # characters: with the generation it makes the key's label in the HSM
KCV_LENGTHS = {KcvMethod.DES_ZERO: 3, KcvMethod.AES_GP: 3, KcvMethod.AES_CMAC: 5}
ALL = 10_000


@dataclass(frozen=True)
class MasterPresence:
    """A master key's record, and what the HSM says of it: `found`, or the code and text of what is wrong."""

    key: MasterKey
    presence: str


class KeyService:
    """The use cases of master keys. `lab_mode`: publicly known keys may be imported.

    `outside_ceremonies`: masters may be made and imported here; a production site does both in ceremonies alone, where
    two officers, custodians and a proved backup are part of it.
    `valid_for`: how long a generated master issues new key sets, unless it is made with an end of its own.
    """

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        clock: Clock,
        identifiers: Identifiers,
        lab_mode: bool = False,
        outside_ceremonies: bool = True,
        valid_for: timedelta = timedelta(days=365),
    ) -> None:
        self._valid_for = valid_for
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers
        self._lab_mode = lab_mode
        self._outside_ceremonies = outside_ceremonies

    def generate_master(
        self,
        kind: MasterKind,
        name: str,
        *,
        actor: str,
        new_generation: bool = False,
        valid_for: timedelta | None = None,
    ) -> MasterKey:
        """Generate an AES-256 master in the HSM, or finish one whose making was cut off.

        `valid_for`: how long it issues new key sets, None: as is configured.
        Raises `input.conflict` when the name has an active key and no new generation was asked for, `hsm.*`, `key.*`.
        """
        self._check_outside_ceremonies()
        if kind is MasterKind.PEER_KEK:
            raise KmsError(Code.INPUT_INVALID, "a peer's KEK is made by an exchange with it (`kms keys exchange`)")
        if kind is MasterKind.BACKUP:
            raise KmsError(Code.INPUT_INVALID, "the backup key is made in a ceremony (`kms ceremony`)")
        if kind is MasterKind.LOGIN:
            raise KmsError(Code.INPUT_INVALID, "the login key is made when the first people are (`kms officers init`)")
        if kind is MasterKind.VENDOR:
            raise KmsError(Code.INPUT_INVALID, "vendor keys are the manufacturer's: import them (`kms keys import`)")
        planned = self._plan(kind, name, KeyType.AES256, actor, new_generation=new_generation)
        made = self._vault.generate_master(planned.object_id, build_label(planned))
        return self._activate(planned, made, "master-key.generate", actor, valid_for or self._valid_for)

    def import_master(
        self,
        name: str,
        *,
        key_type: KeyType,
        components: Sequence[bytearray],
        expected_kcv: bytes,
        actor: str,
        kcv_method: KcvMethod | None = None,
        new_generation: bool = False,
        valid_for: timedelta | None = None,
    ) -> MasterKey:
        """Import a vendor master from its components, which are overwritten with zeros whatever happens.

        `valid_for`: how long cards are taken over from it, None: without end.
        `kcv_method` None: by key type and length of the check value (3DES zero; AES: 3 bytes GlobalPlatform, 5 CMAC).
        Raises `key.test-value`, `key.kcv-mismatch`, `input.invalid`, `input.conflict`, `hsm.*`; nothing is kept then.
        """
        try:
            self._check_outside_ceremonies()
            method = kcv_method or find_kcv_method(key_type, expected_kcv)
            check_kcv_form(key_type, method, expected_kcv)
            if not self._lab_mode:
                check_not_test_key(expected_kcv, method)
            check_name(name)
            self._vault.check_components(key_type, components, expected_kcv, method)
            planned = self._plan(MasterKind.VENDOR, name, key_type, actor, new_generation=new_generation)
            made = self._vault.import_master(
                planned.object_id,
                build_label(planned),
                key_type=key_type,
                components=components,
                expected_kcv=expected_kcv,
                kcv_method=method,
            )
        finally:
            for component in components:
                component[:] = bytes(len(component))
        return self._activate(planned, made, "master-key.import", actor, valid_for)

    def _check_outside_ceremonies(self) -> None:
        if not self._outside_ceremonies:
            raise KmsError(Code.KEY_STATE, "on a production site master keys come from ceremonies: `kms ceremony`")

    def list(self, *, limit: int = 100, offset: int = 0) -> Sequence[MasterKey]:
        """Master keys on record, oldest first."""
        with self._store.transaction() as transaction:
            return transaction.master_keys.list(limit=limit, offset=offset)

    def get(self, name: str, generation: int | None = None) -> MasterKey:
        """A generation of a name, None: the newest. Raises `input.not-found`."""
        with self._store.transaction() as transaction:
            return find_master(transaction, name, generation)

    def find_use(self, key: MasterKey) -> MasterUse:
        """What hangs on a master key."""
        with self._store.transaction() as transaction:
            return transaction.compromises.find_use(key.id)

    def deactivate(self, name: str, generation: int, *, actor: str, why: str = "") -> MasterKey:
        """End the use of a generation that nothing hangs on any more; once more changes nothing.

        The key stays in the HSM, which destroys no master. Raises `input.not-found`; `key.state` while key sets are
        derived from it, or for one that is not ACTIVE.
        """
        with self._store.transaction() as transaction:
            key = find_master(transaction, name, generation)
            if key.state is KeyState.DEACTIVATED:
                return key
            if key.state is not KeyState.ACTIVE:
                raise KmsError(Code.KEY_STATE, f"the key is {key.state}: only an ACTIVE one is deactivated")
            use = transaction.compromises.find_use(key.id)
            if use.live:
                raise KmsError(
                    Code.KEY_STATE,
                    f"{use.live} key sets on cards are derived from it: replace them first"
                    " (`kms campaigns create --reason master-rotation`)",
                )
            deactivated = replace(key, state=KeyState.DEACTIVATED)
            transaction.master_keys.save(deactivated)
            transaction.audit.append(self._build_event(deactivated, "master-key.deactivate", actor, why))
        return deactivated

    def list_presence(self) -> Sequence[MasterPresence]:
        """Every master key on record, each looked up in the HSM with its attributes and check value."""
        return [MasterPresence(key, self._find_out_presence(key)) for key in self.list(limit=ALL)]

    def _find_out_presence(self, key: MasterKey) -> str:
        if not key.kcv:
            return "not made yet"
        try:
            with self._vault.open_scope() as keys:
                keys.get_master(MasterRef(key.object_id, key.key_type, key.kcv, key.kcv_method))
        except KmsError as error:
            return f"{error.code}: {error.detail}"
        return "found"

    def _plan(self, kind: MasterKind, name: str, key_type: KeyType, actor: str, *, new_generation: bool) -> MasterKey:
        check_name(name)
        with self._store.transaction() as transaction:
            _check_one_name(transaction, kind, name)
            newest = transaction.master_keys.find_by_name(name)
            if newest is not None and newest.kind is not kind:
                raise KmsError(Code.CONFLICT, f"the name {name!r} belongs to a {newest.kind} key; choose another")
            if newest is not None and transaction.ceremonies.find_for_key(newest.id) and not newest.kcv:
                raise KmsError(Code.CONFLICT, f"a ceremony is making the key {name!r}: finish or abort that")
            if newest is not None and newest.state is KeyState.PRE_ACTIVATION:
                return self._resume(transaction, newest, key_type)
            if newest is not None and not new_generation:
                raise KmsError(
                    Code.CONFLICT,
                    f"the key {name!r} exists already (generation {newest.generation}, {newest.state});"
                    " ask for a new generation if that is what you want",
                )
            key_id = self._identifiers.new()
            planned = MasterKey(
                id=key_id,
                name=name,
                kind=kind,
                generation=newest.generation + 1 if newest is not None else 1,
                key_type=key_type,
                object_id=uuid.UUID(key_id).bytes,
                kcv=b"",
                kcv_method=KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO,
                state=KeyState.PRE_ACTIVATION,
                created_at=self._clock.now(),
            )
            transaction.master_keys.add(planned)
            transaction.audit.append(self._build_event(planned, "master-key.plan", actor))
        return planned

    def _resume(self, transaction: Transaction, planned: MasterKey, key_type: KeyType) -> MasterKey:
        if planned.key_type is key_type:
            return planned
        # What was cut off may have left a key of the old type under the old object id: this one gets an id of its own.
        method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
        object_id = uuid.UUID(self._identifiers.new()).bytes
        changed = replace(planned, key_type=key_type, kcv_method=method, object_id=object_id)
        transaction.master_keys.save(changed)
        return changed

    def _activate(
        self, planned: MasterKey, made: NewMaster, action: str, actor: str, valid_for: timedelta | None
    ) -> MasterKey:
        now = self._clock.now()
        active = replace(
            planned,
            kcv=made.kcv,
            kcv_method=made.kcv_method,
            state=KeyState.ACTIVE,
            activated_at=now,
            expires_at=now + valid_for if valid_for is not None else None,
        )
        attributes = " ".join(f"{name}={value}" for name, value in made.attributes)
        with self._store.transaction() as transaction:
            stored = transaction.master_keys.get(planned.id)
            if stored.state is not KeyState.PRE_ACTIVATION or stored.object_id != planned.object_id:
                raise KmsError(
                    Code.CONFLICT, f"another run has made the key {planned.name!r} meanwhile: `kms keys list`"
                )
            transaction.master_keys.save(active)
            transaction.audit.append(self._build_event(active, action, actor, attributes))
        return active

    def _build_event(self, key: MasterKey, action: str, actor: str, detail: str = "") -> AuditEvent:
        return AuditEvent(
            id=self._identifiers.new(),
            at=self._clock.now(),
            actor=actor,
            action=action,
            subject=f"master-key {key.id}",
            result="done",
            kcv=build_kcv_text(key.kcv_method, [key.kcv]) if key.kcv else "",
            detail=f"{key.name} generation {key.generation} ({key.kind}, {key.key_type}) {detail}".strip(),
        )


def _check_one_name(transaction: Transaction, kind: MasterKind, name: str) -> None:
    """Raise `input.conflict` where a kind that derives our own keys has its master under another name already.

    New key sets follow from the highest generation of their kind, so a second name's first one would never be used.
    """
    active = transaction.master_keys.find_active(kind) if kind is not MasterKind.VENDOR else None
    if active is not None and active.name != name:
        raise KmsError(
            Code.CONFLICT,
            f"the {kind} master is named {active.name!r}: ask for a new generation of it if that is what you want",
        )


def build_label(key: MasterKey) -> str:
    """The label of the key in the HSM, for people with other tools; nothing is ever looked up by it."""
    return f"{key.name}-{key.generation}"


def check_name(name: str) -> None:
    """Raise `input.invalid` unless the name has 1 to 32 lower-case letters, digits and hyphens."""
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    if not 1 <= len(name) <= MAX_NAME or not set(name) <= allowed:
        raise KmsError(
            Code.INPUT_INVALID, f"a master key's name has 1 to {MAX_NAME} lower-case letters, digits and hyphens"
        )


def find_kcv_method(key_type: KeyType, kcv: bytes) -> KcvMethod:
    """The usual method of a check value of this length for this type."""
    if not key_type.is_aes:
        return KcvMethod.DES_ZERO
    return KcvMethod.AES_CMAC if len(kcv) == KCV_LENGTHS[KcvMethod.AES_CMAC] else KcvMethod.AES_GP


def check_kcv_form(key_type: KeyType, method: KcvMethod, kcv: bytes) -> None:
    """Raise `input.invalid` unless the check value has its method's length and the method is the key type's."""
    if key_type.is_aes is (method is KcvMethod.DES_ZERO):
        raise KmsError(Code.INPUT_INVALID, f"a key of type {key_type} has no check value by {method}")
    if len(kcv) != KCV_LENGTHS[method]:
        raise KmsError(Code.INPUT_INVALID, f"a check value by {method} has {KCV_LENGTHS[method]} bytes, not {len(kcv)}")
