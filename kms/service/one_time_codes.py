"""The login key in the HSM, and the secrets of one-time codes that follow from it; the database holds none.

Rules: as with every key, the row stands before the HSM is asked, and the same call finishes what was cut off. A secret
is derived for the moment in which a code is compared or its owner is shown it. A credential names its login key, so a
successor would leave the codes of the one before valid.
"""

import uuid
from dataclasses import replace

from kms.card.keys import KcvMethod, KeyType, MasterRef
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.keys import KeyState, MasterKey, MasterKind
from kms.domain.second_factors import SECRET_LENGTH, build_secret_inputs
from kms.errors import Code, KmsError
from kms.service.ports import Clock, Identifiers, Store, Vault


class OneTimeCodes:
    """Secrets of one-time codes. `platform`: its name, which the key's name begins with."""

    def __init__(self, *, store: Store, vault: Vault, clock: Clock, identifiers: Identifiers, platform: str) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers
        self._name = f"{platform}-login"

    def ensure_key(self, *, actor: str) -> MasterKey:
        """The login key, made now if there is none. Raises `hsm.*`, `key.*`."""
        with self._store.transaction() as transaction:
            active = transaction.master_keys.find_active(MasterKind.LOGIN)
            if active is not None:
                return active
            planned = transaction.master_keys.find_by_name(self._name)
            if planned is None or planned.state is not KeyState.PRE_ACTIVATION:
                planned = self._plan(planned.generation + 1 if planned is not None else 1)
                transaction.master_keys.add(planned)
                transaction.audit.append(self._build_event("master-key.plan", planned, actor))
        made = self._vault.generate_login_key(planned.object_id, f"{planned.name}-{planned.generation}")
        active = replace(
            planned,
            state=KeyState.ACTIVE,
            kcv=made.kcv,
            kcv_method=made.kcv_method,
            activated_at=self._clock.now(),
        )
        with self._store.transaction() as transaction:
            transaction.master_keys.save(active)
            transaction.audit.append(self._build_event("master-key.generate", active, actor))
        return active

    def get_key_id(self) -> str:
        """The id of the login key that new secrets follow from. Raises `key.missing`."""
        with self._store.reading() as reading:
            key = reading.master_keys.find_active(MasterKind.LOGIN)
        if key is None:
            raise KmsError(Code.KEY_MISSING, "This platform has no login key yet: `kms officers init` makes it.")
        return key.id

    def derive_secret(self, key_id: str, credential_id: str) -> bytes:
        """The secret of a credential, 20 bytes. Raises `input.not-found`, `key.*`, `hsm.*`."""
        with self._store.reading() as reading:
            key = reading.master_keys.get(key_id)
        if key.state is not KeyState.ACTIVE:
            raise KmsError(Code.KEY_STATE, f"The login key of these one-time codes is {key.state}: reset the account.")
        ref = MasterRef(key.object_id, key.key_type, key.kcv, key.kcv_method)
        parts = [self._vault.mac(ref, message) for message in build_secret_inputs(credential_id)]
        return b"".join(parts)[:SECRET_LENGTH]

    def _plan(self, generation: int) -> MasterKey:
        key_id = self._identifiers.new()
        return MasterKey(
            id=key_id,
            name=self._name,
            kind=MasterKind.LOGIN,
            generation=generation,
            key_type=KeyType.AES256,
            object_id=uuid.UUID(key_id).bytes,
            kcv=b"",
            kcv_method=KcvMethod.AES_CMAC,
            state=KeyState.PRE_ACTIVATION,
            created_at=self._clock.now(),
        )

    def _build_event(self, what: str, key: MasterKey, actor: str) -> AuditEvent:
        kcv = build_kcv_text(key.kcv_method, [key.kcv] if key.kcv else [])
        return AuditEvent(
            self._identifiers.new(),
            self._clock.now(),
            actor,
            what,
            f"master-key {key.id}",
            "done",
            kcv,
            f"{key.name} generation {key.generation} ({key.kind})",
        )
