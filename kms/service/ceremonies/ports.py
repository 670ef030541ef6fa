"""What ceremonies ask of the HSM and of single-use processes."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from kms.card.keys import KcvMethod, KeyPort, KeyType, MasterRef
from kms.service.ports import HsmStatus, NewMaster


class LastingUse(StrEnum):
    """What a ceremony's key is made for."""

    MASTER = "master"  # derives
    BACKING_UP = "backing up"  # wraps backups, in the platform's HSM
    OPENING = "opening backups"  # unwraps them, in the recovery HSM


@dataclass(frozen=True)
class SealedKey:
    """A key wrapped to a ceremony's key pair (RSA-OAEP, 384 bytes), and its check value for people."""

    wrapped: bytes = field(repr=False)
    key_type: KeyType
    kcv_method: KcvMethod
    kcv: bytes


class CeremonyKeys(Protocol):
    """A token's part in ceremonies. Raises `hsm.*`, `key.*`."""

    def make_pair(self, object_id: bytes, label: str) -> bytes:
        """Make a ceremony's key pair; its public half (DER). The same id again gives the pair that is there."""
        ...

    def remove_pair(self, object_id: bytes) -> None:
        """Destroy a ceremony's key pair, and so all that is wrapped to it. Harmless again."""
        ...

    def generate(self, public_key_der: bytes, pair_id: bytes) -> SealedKey:
        """Generate an AES-256 key that exists wrapped to the pair alone."""
        ...

    def combine(
        self,
        public_key_der: bytes,
        pair_id: bytes,
        key_type: KeyType,
        wrapped: Sequence[bytes],
        expected: tuple[KcvMethod, bytes] | None,
    ) -> SealedKey:
        """XOR wrapped components into a key that exists wrapped to the pair alone.

        Called in single-use processes only: it reads the components for that moment. Raises `key.kcv-mismatch` unless
        the key has the expected check value, `input.invalid` for a 3DES key that is single DES.
        """
        ...

    def create(self, sealed: SealedKey, pair_id: bytes, object_id: bytes, label: str, *, use: LastingUse) -> NewMaster:
        """Make the lasting key, which does what its use says and nothing else.

        The same `object_id` again gives the key that is there, if its check value agrees.
        """
        ...

    def back_up(self, sealed: SealedKey, pair_id: bytes, backup_key: MasterRef) -> bytes:
        """The key wrapped under a backup key (AES key wrap, RFC 3394): 8 bytes longer than the key."""
        ...

    def reseal(self, sealed: SealedKey, pair_id: bytes, other_public_der: bytes) -> bytes:
        """The key wrapped to another token's transport key (RSA-OAEP)."""
        ...

    def prove(
        self, backup: bytes, backup_key: MasterRef, key_type: KeyType, method: KcvMethod, expected: bytes
    ) -> None:
        """Unwrap a backup as a session object and compare its check value. Raises `key.kcv-mismatch`."""
        ...


class CeremonyVault(Protocol):
    """What of a token's vault ceremonies use besides `ceremony_keys`."""

    @property
    def ceremony_keys(self) -> CeremonyKeys: ...
    def status(self) -> HsmStatus: ...
    def open_scope(self) -> AbstractContextManager[KeyPort]: ...


class Combiner(Protocol):
    """Runs the one step that reads components, in a process of its own that ends."""

    def combine(self, ceremony_id: str) -> SealedKey:
        """Combine the ceremony's components. Raises as `CeremonyKeys.combine`."""
        ...
