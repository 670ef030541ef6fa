"""A token's part in ceremonies, in software: what is wrapped to a pair can be opened while the pair is there."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

from kms.card.keys import KcvMethod, KeyType, MasterRef
from kms.domain.token_objects import ExpectedObject, ObjectReport, UnexpectedObject
from kms.errors import Code, KmsError
from kms.service.ceremonies.ports import LastingUse, SealedKey
from kms.service.ports import NewMaster
from tests.fakes.master_vault import OAEP, MasterVault, combine, dump_public
from tests.fakes.software_keys import check_value

_PAIRS = [rsa.generate_private_key(65537, 3072) for _ in range(2)]  # slow to make, and any will do


class SoftwareCeremonyKeys:
    """`crossing`: called before and after each operation."""

    def __init__(self, vault: "CeremonialVault", crossing: Callable[[], None]) -> None:
        self._vault = vault
        self._crossing = crossing

    def make_pair(self, object_id: bytes, label: str) -> bytes:
        self._crossing()
        self._vault.labels[object_id] = label
        pair = self._vault.ceremony_pairs.setdefault(object_id, _PAIRS[0])
        self._crossing()
        return dump_public(pair)

    def remove_pair(self, object_id: bytes) -> None:
        self._crossing()
        self._vault.ceremony_pairs.pop(object_id, None)
        self._crossing()

    def generate(self, public_key_der: bytes, pair_id: bytes) -> SealedKey:
        self._crossing()
        sealed = self._seal(secrets.token_bytes(32), KeyType.AES256, public_key_der)
        assert pair_id in self._vault.ceremony_pairs
        self._crossing()
        return sealed

    def combine(
        self,
        public_key_der: bytes,
        pair_id: bytes,
        key_type: KeyType,
        wrapped: Sequence[bytes],
        expected: tuple[KcvMethod, bytes] | None,
    ) -> SealedKey:
        self._crossing()
        value = combine([bytearray(self._open(pair_id, item)) for item in wrapped])
        if expected is not None and check_value(value, key_type, expected[0]) != expected[1]:
            raise KmsError(Code.KEY_KCV_MISMATCH, "another check value")
        self._crossing()
        return self._seal(value, key_type, public_key_der)

    def create(self, sealed: SealedKey, pair_id: bytes, object_id: bytes, label: str, *, use: LastingUse) -> NewMaster:
        self._crossing()
        if object_id not in self._vault.objects:
            self._vault.objects[object_id] = self._open(pair_id, sealed.wrapped)
            self._vault.labels[object_id] = label
            self._vault.uses[object_id] = use
        self._crossing()
        return NewMaster(object_id, sealed.kcv, (("CKA_EXTRACTABLE", "false"),), sealed.kcv_method)

    def back_up(self, sealed: SealedKey, pair_id: bytes, backup_key: MasterRef) -> bytes:
        assert self._vault.uses[backup_key.object_id] is LastingUse.BACKING_UP
        return aes_key_wrap(self._vault.objects[backup_key.object_id], self._open(pair_id, sealed.wrapped))

    def reseal(self, sealed: SealedKey, pair_id: bytes, other_public_der: bytes) -> bytes:
        return self._wrap(self._open(pair_id, sealed.wrapped), other_public_der)

    def prove(
        self, backup: bytes, backup_key: MasterRef, key_type: KeyType, method: KcvMethod, expected: bytes
    ) -> None:
        assert self._vault.uses[backup_key.object_id] is LastingUse.OPENING
        value = aes_key_unwrap(self._vault.objects[backup_key.object_id], backup)
        if check_value(value, key_type, method) != expected:
            raise KmsError(Code.KEY_KCV_MISMATCH, "another check value")

    def _seal(self, value: bytes, key_type: KeyType, public_key_der: bytes) -> SealedKey:
        method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
        return SealedKey(self._wrap(value, public_key_der), key_type, method, check_value(value, key_type, method))

    @staticmethod
    def _wrap(value: bytes, public_key_der: bytes) -> bytes:
        public = load_der_public_key(public_key_der)
        assert isinstance(public, rsa.RSAPublicKey)
        return public.encrypt(value, OAEP)

    def _open(self, pair_id: bytes, wrapped: bytes) -> bytes:
        pair = self._vault.ceremony_pairs.get(pair_id)
        if pair is None:
            raise KmsError(Code.KEY_MISSING, "the ceremony's key pair is gone")
        return pair.decrypt(wrapped, OAEP)


class CeremonialVault(MasterVault):
    """A vault for ceremonies. `crossing`: see `SoftwareCeremonyKeys`."""

    def __init__(self, crossing: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.ceremony_pairs: dict[bytes, rsa.RSAPrivateKey] = {}
        self.uses: dict[bytes, LastingUse] = {}
        self.crossing = crossing

    @property
    def ceremony_keys(self) -> SoftwareCeremonyKeys:
        return SoftwareCeremonyKeys(self, self.crossing)

    def check_objects(self, expected: Sequence[ExpectedObject]) -> ObjectReport:
        report = super().check_objects(expected)
        pairs = tuple(
            UnexpectedObject(item, self.labels[item], "private key", dangerous=False) for item in self.ceremony_pairs
        )
        return replace(report, unexpected=(*report.unexpected, *pairs))
