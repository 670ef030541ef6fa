"""This platform's key pairs: made once, signed with, and looked up in the HSM.

Rules: as with master keys, the row stands as PRE_ACTIVATION with its object id before the HSM is asked, and the same
command finishes what was cut off. Whether the right pair answers is known from its public half: each signature is
verified under the one on record before it leaves.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kms.domain.audit import AuditEvent
from kms.domain.keys import KeyState, PlatformKey, PlatformKeyPurpose
from kms.domain.signatures import check_signature, fingerprint
from kms.errors import Code, KmsError
from kms.service.ports import Clock, Identifiers, Store, Vault

ALL = 1000


@dataclass(frozen=True)
class KeyPairPresence:
    """A key pair's record, and what the HSM says of it: `found`, or the code and text of what is wrong."""

    key: PlatformKey
    presence: str


class PlatformKeyService:
    """The use cases of this platform's key pairs. `platform`: its name."""

    def __init__(self, *, store: Store, vault: Vault, clock: Clock, identifiers: Identifiers, platform: str) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers
        self._platform = platform

    def ensure(self, purpose: PlatformKeyPurpose, *, actor: str) -> PlatformKey:
        """The platform's pair for this purpose, made now if there is none. Raises `hsm.*`, `key.*`."""
        with self._store.transaction() as transaction:
            found = transaction.platform_keys.find_active(purpose)
            if found is not None:
                return found
            planned = transaction.platform_keys.find_planned(purpose)
            if planned is None:
                planned = self._plan(purpose)
                transaction.platform_keys.add(planned)
                transaction.audit.append(self._build_event(planned, "platform-key.plan", actor))
        if purpose is PlatformKeyPurpose.TRANSPORT:
            public = self._vault.generate_transport_key(planned.object_id, planned.name)
        else:
            public = self._vault.generate_signing_key(planned.object_id, planned.name)
        made = replace(planned, public_key_der=public, state=KeyState.ACTIVE)
        with self._store.transaction() as transaction:
            other = transaction.platform_keys.find_active(purpose)
            if other is not None:  # another run was faster; both took up the same pair, or this one's is never used
                return other
            transaction.platform_keys.save(made)
            transaction.audit.append(self._build_event(made, "platform-key.generate", actor))
        return made

    def make_successor(self, purpose: PlatformKeyPurpose, *, actor: str) -> PlatformKey:
        """The pair that is to take over from the active one: made, with its public half on record, not yet ACTIVE."""
        with self._store.transaction() as transaction:
            planned = transaction.platform_keys.find_planned(purpose)
            if planned is None:
                planned = self._plan(purpose)
                transaction.platform_keys.add(planned)
                transaction.audit.append(self._build_event(planned, "platform-key.plan", actor))
        made = replace(planned, public_key_der=self._vault.generate_signing_key(planned.object_id, planned.name))
        with self._store.transaction() as transaction:
            transaction.platform_keys.save(made)
            transaction.audit.append(self._build_event(made, "platform-key.generate", actor))
        return made

    def activate_successor(self, successor: PlatformKey, *, actor: str) -> PlatformKey:
        """Make a successor the platform's pair, and deactivate the one before it. Harmless again."""
        active = replace(successor, state=KeyState.ACTIVE)
        with self._store.transaction() as transaction:
            old = transaction.platform_keys.find_active(successor.purpose)
            if old is not None and old.id == successor.id:
                return old
            if old is not None:
                transaction.platform_keys.save(replace(old, state=KeyState.DEACTIVATED))
                transaction.audit.append(self._build_event(old, "platform-key.deactivate", actor))
            transaction.platform_keys.save(active)
            transaction.audit.append(self._build_event(active, "platform-key.activate", actor))
        return active

    def sign(self, data: bytes) -> bytes:
        """Sign by the platform's signing key: r | s, 64 bytes, verified under the public key on record.

        Raises `key.missing` without a signing key, `key.kcv-mismatch` when the HSM signed with another, `hsm.*`.
        """
        with self._store.transaction() as transaction:
            key = transaction.platform_keys.find_active(PlatformKeyPurpose.SIGNING)
        if key is None:
            raise KmsError(Code.KEY_MISSING, "this platform has no signing key yet: `kms keys exchange` makes it")
        return self.sign_with(key, data)

    def sign_with(self, key: PlatformKey, data: bytes) -> bytes:
        """Sign by one of this platform's signing keys. Raises as `sign`."""
        signature = self._vault.sign(key.object_id, data)
        try:
            check_signature(key.public_key_der, data, signature)
        except KmsError:
            raise KmsError(
                Code.KEY_KCV_MISMATCH, "the HSM signed with another key than the one on record; nothing was sent"
            ) from None
        return signature

    def list_presence(self) -> Sequence[KeyPairPresence]:
        """Every key pair on record, each looked up in the HSM with its attributes and public half."""
        with self._store.transaction() as transaction:
            keys = transaction.platform_keys.list(limit=ALL)
        return [KeyPairPresence(key, self._find_out_presence(key)) for key in keys]

    def _find_out_presence(self, key: PlatformKey) -> str:
        if not key.public_key_der:
            return "not made yet"
        try:
            self._vault.check_key_pair(key.object_id, key.purpose, key.public_key_der)
        except KmsError as error:
            return f"{error.code}: {error.detail}"
        return "found"

    def _plan(self, purpose: PlatformKeyPurpose) -> PlatformKey:
        key_id = self._identifiers.new()
        return PlatformKey(
            id=key_id,
            name=f"{self._platform}-{purpose}",
            purpose=purpose,
            object_id=uuid.UUID(key_id).bytes,
            public_key_der=b"",
            state=KeyState.PRE_ACTIVATION,
            created_at=self._clock.now(),
        )

    def _build_event(self, key: PlatformKey, action: str, actor: str) -> AuditEvent:
        shown = f" fingerprint {fingerprint(key.public_key_der)}" if key.public_key_der else ""
        return AuditEvent(
            id=self._identifiers.new(),
            at=self._clock.now(),
            actor=actor,
            action=action,
            subject=f"platform-key {key.id}",
            result="done",
            detail=f"{key.name} ({key.purpose}){shown}",
        )
