"""A small simulation of the HSM's key port in software: the same primitives, uses and scopes, with master keys given.

Rules: it knows the port's types and nothing of the protocols built on it. A key does only what its use allows, a closed
scope refuses, and every call is counted, since each costs time on a real token.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from kms.card.keys import (
    CipherMode,
    Diversification,
    KcvMethod,
    KeyHandle,
    KeySetRef,
    KeyType,
    KeyUse,
    MasterRef,
    VendorKeys,
)
from kms.errors import Code, KmsError

RECORDED_MASTER = bytes.fromhex("00112233445566778899AABBCCDDEEFF")


class KekSide(StrEnum):
    """What a peer KEK does on this side."""

    WRAPS = "wrap for a peer"
    UNWRAPS = "unwrap what a peer wrapped"


@dataclass(frozen=True)
class SoftwareKey:
    """A key of one scope. Masters may derive and nothing else; peer KEKs wrap or unwrap and nothing else."""

    key_type: KeyType
    use: KeyUse | KekSide
    value: bytes = field(repr=False)
    scope: "SoftwareKeys" = field(repr=False, compare=False)
    master: bool = False


class SoftwareKeys:
    """One scope of key operations over the given masters, by object id. `keks`: those of them that are peer KEKs."""

    def __init__(self, masters: Mapping[bytes, bytes], keks: Mapping[bytes, KekSide] | None = None) -> None:
        self._masters = masters
        self._keks = keks or {}
        self._closed = False
        self.calls: Counter[str] = Counter()

    def close(self) -> None:
        """End the scope: every handle it made is dead."""
        self._closed = True

    def get_master(self, ref: MasterRef) -> SoftwareKey:
        self._count("get_master")
        value = self._masters.get(ref.object_id)
        if value is None:
            raise KmsError(Code.KEY_MISSING, f"no master key {ref.object_id.hex()} in the token")
        if len(value) != ref.key_type.length:
            raise KmsError(Code.KEY_ATTRIBUTES, f"master key {ref.object_id.hex()} is not {ref.key_type}")
        if check_value(value, ref.key_type, ref.kcv_method) != ref.kcv:
            raise KmsError(Code.KEY_KCV_MISMATCH, f"master key {ref.object_id.hex()} has another check value")
        side = self._keks.get(ref.object_id)
        if side is None:
            return SoftwareKey(ref.key_type, KeyUse.DERIVE, value, self, master=True)
        if ref.kcv_method is not KcvMethod.AES_CMAC:
            raise KmsError(Code.KEY_KCV_MISMATCH, "a KEK has a check value by CMAC alone")
        return SoftwareKey(ref.key_type, side, value, self)

    def derive_des(
        self, parent: KeyHandle, mode: CipherMode, data: bytes, key_type: KeyType, use: KeyUse
    ) -> SoftwareKey:
        self._count("derive_des")
        key = self._own(parent, KeyUse.DERIVE)
        if key.key_type.is_aes or key_type.is_aes:
            raise refused("derive_des is triple DES to triple DES")
        if len(data) != key_type.length:
            raise refused(f"{len(data)} bytes of data cannot make a {key_type} key")
        return SoftwareKey(key_type, use, run(key, mode, data, None, encrypt=True), self)

    def derive_cmac(
        self, parent: KeyHandle, messages: tuple[bytes, ...], key_type: KeyType, use: KeyUse
    ) -> SoftwareKey:
        self._count("derive_cmac")
        key = self._own(parent, KeyUse.DERIVE)
        if not key.key_type.is_aes:
            raise refused("derive_cmac needs an AES parent")
        if len(messages) != (key_type.length + 15) // 16 or any(not m or len(m) % 16 for m in messages):
            raise refused(f"{len(messages)} messages of whole blocks cannot make a {key_type} key")
        if key.master and any(len(message) != 16 for message in messages):
            # A token would have to read out chaining values, each of which is a key the master could derive.
            raise refused("a master derives from messages of one block alone")
        value = b"".join(aes_cmac(key.value, message) for message in messages)
        return SoftwareKey(key_type, use, value[: key_type.length], self)

    def encrypt(self, key: KeyHandle, mode: CipherMode, data: bytes, iv: bytes | None = None) -> bytes:
        self._count("encrypt")
        own = self._own(key, KeyUse.ENCRYPT, KeyUse.PAYLOAD)
        if own.use is KeyUse.PAYLOAD and (mode is not CipherMode.ECB or len(data) != block_size(own.key_type)):
            raise refused("a payload key encrypts one block by ECB, for its check value")
        return run(own, mode, data, iv, encrypt=True)

    def decrypt(self, key: KeyHandle, mode: CipherMode, data: bytes, iv: bytes | None = None) -> bytes:
        self._count("decrypt")
        return run(self._own(key, KeyUse.ENCRYPT), mode, data, iv, encrypt=False)

    def cmac(self, key: KeyHandle, data: bytes) -> bytes:
        self._count("cmac")
        own = self._own(key, KeyUse.MAC)
        if not own.key_type.is_aes:
            raise refused("AES-CMAC needs an AES key")
        return aes_cmac(own.value, data)

    def wrap(self, wrapping: KeyHandle, key: KeyHandle, mode: CipherMode) -> bytes:
        self._count("wrap")
        payload, by = self._own(key, KeyUse.PAYLOAD), self._own(wrapping, KeyUse.WRAP)
        right_mode = CipherMode.CBC if by.key_type.is_aes else CipherMode.ECB
        if mode is not right_mode:
            raise refused("keys are wrapped by 3DES-ECB or AES-CBC")
        value = payload.value + bytes(-len(payload.value) % block_size(by.key_type))
        return run(by, mode, value, None, encrypt=True)

    def wrap_for_peer(self, kek: KeyHandle, key: KeyHandle) -> bytes:
        self._count("wrap_for_peer")
        by, payload = self._own(kek, KekSide.WRAPS), self._own(key, KeyUse.PAYLOAD)
        return aes_key_wrap(by.value, payload.value)

    def unwrap(self, kek: KeyHandle, wrapped: bytes, key_type: KeyType, use: KeyUse) -> SoftwareKey:
        self._count("unwrap")
        by = self._own(kek, KekSide.UNWRAPS)
        if use is KeyUse.PAYLOAD:
            raise refused("what was handed over leaves no more")
        if len(wrapped) != key_type.length + 8:
            raise KmsError(Code.KEY_UNWRAP_REFUSED, "a wrapped key of another length")
        try:
            return SoftwareKey(key_type, use, aes_key_unwrap(by.value, wrapped), self)
        except InvalidUnwrap:
            raise KmsError(Code.KEY_UNWRAP_REFUSED, "a wrapped key that is not whole or not for this KEK") from None

    def load(self, value: bytes, key_type: KeyType, use: KeyUse) -> SoftwareKey:
        """Give a key with a known value, for recorded exchanges; no call of the port."""
        return SoftwareKey(key_type, use, value, self)

    def _count(self, call: str) -> None:
        if self._closed:
            raise KmsError(Code.HSM_UNAVAILABLE, "the key scope is closed: open a new one")
        self.calls[call] += 1

    def _own(self, key: KeyHandle, *uses: KeyUse | KekSide) -> SoftwareKey:
        if not isinstance(key, SoftwareKey) or key.scope is not self:
            raise refused("the handle belongs to another key scope")
        if key.use not in uses:
            raise refused(f"a key for {key.use} cannot be used for {' or '.join(uses)}")
        return key


class RecordedKeys(SoftwareKeys):
    """A scope for a recorded exchange: what is diversified from its master comes out as the recorded static keys.

    `static_keys`: by key identifier. `key_type`: theirs. `ref` names the key set to open channels with.
    """

    def __init__(
        self, static_keys: Mapping[int, bytes], kvn: int, kdd: bytes, key_type: KeyType = KeyType.DES2
    ) -> None:
        super().__init__({RECORDED_MASTER: RECORDED_MASTER})
        self._static_keys = static_keys
        scheme = Diversification.KDF3 if key_type.is_aes else Diversification.EMV_CPS_1_1
        master_type = KeyType.AES128 if key_type.is_aes else KeyType.DES2
        master = software_master(RECORDED_MASTER, RECORDED_MASTER, master_type)
        self.ref = KeySetRef(kvn, key_type, VendorKeys(master, scheme, kdd))

    def derive_des(
        self, parent: KeyHandle, mode: CipherMode, data: bytes, key_type: KeyType, use: KeyUse
    ) -> SoftwareKey:
        made = super().derive_des(parent, mode, data, key_type, use)
        if self._own(parent, KeyUse.DERIVE).value != RECORDED_MASTER:
            return made
        # Diversification data ends with the key identifier (EMV CPS 1.1).
        return self.load(self._static_keys[data[-1]], key_type, use)

    def derive_cmac(
        self, parent: KeyHandle, messages: tuple[bytes, ...], key_type: KeyType, use: KeyUse
    ) -> SoftwareKey:
        made = super().derive_cmac(parent, messages, key_type, use)
        if self._own(parent, KeyUse.DERIVE).value != RECORDED_MASTER:
            return made
        # The key identifier is the fifth byte of KDF3's blocks.
        return self.load(self._static_keys[messages[0][4]], key_type, use)


@contextmanager
def open_software_scope(
    masters: Mapping[bytes, bytes], keks: Mapping[bytes, KekSide] | None = None
) -> Iterator[SoftwareKeys]:
    """Open a scope that closes with the block, as the vault's does."""
    keys = SoftwareKeys(masters, keks)
    try:
        yield keys
    finally:
        keys.close()


def software_master(object_id: bytes, value: bytes, key_type: KeyType) -> MasterRef:
    """Name a master key that holds this value, with its GlobalPlatform check value."""
    method = KcvMethod.AES_GP if key_type.is_aes else KcvMethod.DES_ZERO
    return MasterRef(object_id, key_type, check_value(value, key_type, method), method)


def refused(text: str) -> KmsError:
    """Give the error with which a token answers a use that the key's attributes forbid."""
    return KmsError(Code.KEY_ATTRIBUTES, text)


def block_size(key_type: KeyType) -> int:
    return 16 if key_type.is_aes else 8


def triple_des(value: bytes) -> TripleDES:
    return TripleDES((value + value[:8])[:24])


def run(key: SoftwareKey, mode: CipherMode, data: bytes, iv: bytes | None, *, encrypt: bool) -> bytes:
    size = block_size(key.key_type)
    if not data or len(data) % size:
        raise refused(f"{len(data)} bytes are no whole blocks of {size}")
    if iv is not None and (mode is CipherMode.ECB or len(iv) != size):
        raise refused("an IV is one block and goes with CBC alone")
    algorithm = AES(key.value) if key.key_type.is_aes else triple_des(key.value)
    chosen = modes.ECB() if mode is CipherMode.ECB else modes.CBC(bytes(size) if iv is None else iv)  # noqa: S305 - GlobalPlatform's mode
    cipher = Cipher(algorithm, chosen)
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    return context.update(data) + context.finalize()


def aes_cmac(value: bytes, data: bytes) -> bytes:
    mac = CMAC(AES(value))
    mac.update(data)
    return mac.finalize()


def check_value(value: bytes, key_type: KeyType, method: KcvMethod) -> bytes:
    if method is KcvMethod.AES_CMAC:
        return aes_cmac(value, bytes(16))[:5]
    algorithm = AES(value) if key_type.is_aes else triple_des(value)
    block = b"\x01" * 16 if method is KcvMethod.AES_GP else bytes(8)
    context = Cipher(algorithm, modes.ECB()).encryptor()  # noqa: S305 - check values are defined by ECB
    return (context.update(block) + context.finalize())[:3]
