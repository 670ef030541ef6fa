"""A vault in software that makes master keys as the HSM does, and can be cut off before or after it made one."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from kms.card.keys import KcvMethod, KeyType
from kms.errors import Code, KmsError
from kms.service.ports import HsmStatus, NewMaster
from tests.fakes.software_keys import SoftwareKeys, check_value, open_software_scope


class CutOffError(Exception):
    """The process died here."""


class MasterVault:
    """`objects`: key values by object id. `cut_off`: "before" or "after" making the next key. `made`: how many."""

    def __init__(self) -> None:
        self.objects: dict[bytes, bytes] = {}
        self.labels: dict[bytes, str] = {}
        self.cut_off = ""
        self.made = 0

    @contextmanager
    def open_scope(self) -> Iterator[SoftwareKeys]:
        with open_software_scope(self.objects) as keys:
            yield keys

    def random(self, length: int) -> bytes:
        return secrets.token_bytes(length)

    def check(self) -> None:
        """Always there."""

    def watch(self, on_hang: Callable[[], None] | None = None) -> None:
        """Never hangs."""

    def close(self) -> None:
        """Nothing is open."""

    def status(self) -> HsmStatus:
        answered_at: datetime | None = None
        return HsmStatus("issuer", "maker", "model", "serial", "1.0", ("A", "B"), (), "native", answered_at, "tried")

    def generate_master(self, object_id: bytes, label: str) -> NewMaster:
        return self._make(object_id, label, KeyType.AES256, lambda: secrets.token_bytes(32))

    def check_components(
        self, key_type: KeyType, components: Sequence[bytearray], expected_kcv: bytes, kcv_method: KcvMethod
    ) -> None:
        if any(len(component) != key_type.length for component in components) or not components:
            raise KmsError(Code.INPUT_INVALID, "components of a wrong number or length")
        if check_value(combine(components), key_type, kcv_method) != expected_kcv:
            raise KmsError(Code.KEY_KCV_MISMATCH, "another check value")

    def import_master(
        self,
        object_id: bytes,
        label: str,
        *,
        key_type: KeyType,
        components: Sequence[bytearray],
        expected_kcv: bytes,
        kcv_method: KcvMethod,
    ) -> NewMaster:
        self.check_components(key_type, components, expected_kcv, kcv_method)
        return self._make(object_id, label, key_type, lambda: combine(components))

    def _make(self, object_id: bytes, label: str, key_type: KeyType, build: Callable[[], bytes]) -> NewMaster:
        when, self.cut_off = self.cut_off, ""
        if when == "before":
            raise CutOffError
        if object_id not in self.objects:
            self.objects[object_id] = build()
            self.labels[object_id] = label
            self.made += 1
        if when == "after":
            raise CutOffError
        method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
        kcv = check_value(self.objects[object_id], key_type, method)
        return NewMaster(object_id, kcv, (("CKA_SENSITIVE", "true"),), method)


def combine(components: Sequence[bytearray]) -> bytes:
    total = bytes(len(components[0]))
    for component in components:
        total = bytes(a ^ b for a, b in zip(total, component, strict=True))
    return total
