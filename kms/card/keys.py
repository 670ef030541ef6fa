"""Keys as the card core sees them: references, opaque handles, and the port through which they are used.

Rules: no key value ever passes through this package. A handle means something only to the adapter that made it and
only inside the scope (`KeyPort` instance) that made it; adapters destroy all session objects when the scope ends. The
protocols (SCP02, diversification, SP 800-108) are composed once, here in the core, out of these primitives.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol


class KeyType(StrEnum):
    """Algorithm and length of a key."""

    DES2 = "DES2"  # two-key triple DES, 16 bytes
    DES3 = "DES3"  # three-key triple DES, 24 bytes
    AES128 = "AES128"
    AES192 = "AES192"
    AES256 = "AES256"

    @property
    def length(self) -> int:
        """Key length in bytes."""
        return {"DES2": 16, "DES3": 24, "AES128": 16, "AES192": 24, "AES256": 32}[self.value]

    @property
    def is_aes(self) -> bool:
        """Whether the algorithm is AES (block of 16 bytes), else triple DES (8 bytes)."""
        return self.value.startswith("AES")


class KeyRole(StrEnum):
    """The three keys of a secure channel key set, by key identifier (KID) 1, 2, 3."""

    ENC = "ENC"
    MAC = "MAC"
    DEK = "DEK"

    @property
    def kid(self) -> int:
        """Key identifier: ENC 1, MAC 2, DEK 3 (GP Card Specification 2.3.1 section 7.5, convention)."""
        return {"ENC": 1, "MAC": 2, "DEK": 3}[self.value]


class KeyUse(StrEnum):
    """The one purpose of a derived session object; the adapter fixes its PKCS#11 attributes from it."""

    DERIVE = "derive"  # parent of further derivations (static ENC and MAC, static DEK of SCP02)
    ENCRYPT = "encrypt"  # encrypts, or is the DES part of a MAC (S-ENC, single-DES ICV key)
    MAC = "mac"  # AES-CMAC only (SCP03 S-MAC, S-RMAC, and static ENC for the card challenge)
    WRAP = "wrap"  # wraps key material for PUT KEY and STORE DATA (SCP02 session DEK, SCP03 static DEK)
    PAYLOAD = "payload"  # is itself wrapped into a command; encrypts one block for its KCV


class CipherMode(StrEnum):
    """Block cipher modes, without padding: data is a whole number of blocks."""

    ECB = "ECB"
    CBC = "CBC"


class KcvMethod(StrEnum):
    """How a key check value is computed; always stored and shown beside it."""

    DES_ZERO = "3des-ecb-zero"  # leftmost 3 bytes of 3DES-ECB(key, 00 x 8) (GP 2.3.1 B.5)
    AES_GP = "aes-ecb-one"  # leftmost 3 bytes of AES-ECB(key, 01 x 16) (GP 2.3.1 B.6; Amendment D)
    AES_CMAC = "aes-cmac-zero"  # leftmost 5 bytes of AES-CMAC(key, 00 x 16) (ANSI X9.24-1), for people


class Diversification(StrEnum):
    """How a card's static keys follow from a vendor master key and the key diversification data (kdd)."""

    NONE = "none"  # the master key itself is each of the card's three keys (its master handle is used as is)
    VISA2 = "visa2"
    EMV_CPS_1_1 = "emv-cps-1.1"
    KDF3 = "kdf3"


@dataclass(frozen=True)
class MasterRef:
    """Names one master key in the HSM: `object_id` is its CKA_ID; the KCV must agree or the key is not used."""

    object_id: bytes
    key_type: KeyType
    kcv: bytes
    kcv_method: KcvMethod


@dataclass(frozen=True)
class VendorKeys:
    """Static keys that follow from a vendor master by a diversification scheme. `kdd`: 10 bytes."""

    master: MasterRef
    scheme: Diversification
    kdd: bytes
    kind: Literal["vendor"] = "vendor"


class DerivationPurpose(StrEnum):
    """What a derived key set is for; part of the derivation context, so purposes never share keys."""

    ISD = "isd"
    SSD_INITIAL = "ssd-initial"
    SSD = "ssd"


@dataclass(frozen=True)
class DerivedKeys:
    """Static keys derived by SP 800-108 (DESIGN section 4; docs/key-derivation.md).

    `platform`: this installation's fixed name. `card_identity` and `aid`: as enrolled, 1-32 and 5-16 bytes.
    `generation`: 0 for the first; never used twice for one card, AID and purpose.
    """

    master: MasterRef
    platform: str
    purpose: DerivationPurpose
    card_identity: bytes
    aid: bytes
    generation: int
    kind: Literal["derived"] = "derived"


@dataclass(frozen=True)
class WrappedKeys:
    """Static keys that a peer's HSM wrapped for ours: ENC, MAC, DEK by AES key wrap (RFC 3394) under `kek`."""

    kek: MasterRef
    wrapped: tuple[bytes, bytes, bytes] = field(repr=False)
    kind: Literal["wrapped"] = "wrapped"


KeySource = VendorKeys | DerivedKeys | WrappedKeys


@dataclass(frozen=True)
class KeySetRef:
    """A secure channel key set (ENC, MAC, DEK) on a card: its key version number, key type, and how it is derived."""

    kvn: int
    key_type: KeyType
    source: KeySource


class KeyHandle(Protocol):
    """An opaque key in the HSM, valid within the scope that made it. Its repr shows no key value."""

    @property
    def key_type(self) -> KeyType:
        """Algorithm and length."""
        ...


class KeyPort(Protocol):
    """The primitive key operations the core composes its protocols from. All may raise `KmsError` (`hsm.*`, `key.*`).

    An instance is one scope: `with vault.open_scope() as keys:`; leaving it destroys every session object it made.
    """

    def get_master(self, ref: MasterRef) -> KeyHandle:
        """Find a master key or peer KEK by object id and check its type and KCV (of a KEK: by `AES_CMAC` alone).

        Raises `key.missing`, `key.ambiguous`, `key.attributes`, `key.kcv-mismatch`.
        """
        ...

    def derive_des(self, parent: KeyHandle, mode: CipherMode, data: bytes, key_type: KeyType, use: KeyUse) -> KeyHandle:
        """Make the key whose value is 3DES(parent, data), by ECB or by CBC with IV zero (`CKM_DES3_*_ENCRYPT_DATA`).

        `data` is as long as the new key: 16 bytes for DES2, 24 for DES3. The token may fix the parity bits.
        """
        ...

    def derive_cmac(self, parent: KeyHandle, messages: tuple[bytes, ...], key_type: KeyType, use: KeyUse) -> KeyHandle:
        """Make the key whose value is the leftmost bytes of AES-CMAC(parent, m1) | AES-CMAC(parent, m2) | ...

        `messages`: each a whole number of 16-byte blocks; one message per 16 bytes of key, rounded up. This is SP
        800-108 in counter mode with PRF AES-CMAC.
        """
        ...

    def encrypt(self, key: KeyHandle, mode: CipherMode, data: bytes, iv: bytes | None = None) -> bytes:
        """Encrypt whole blocks with 3DES or AES. `iv`: one block for CBC (None: zeros), None for ECB."""
        ...

    def decrypt(self, key: KeyHandle, mode: CipherMode, data: bytes, iv: bytes | None = None) -> bytes:
        """Decrypt whole blocks (SCP03 R-ENCRYPTION). Never offered on a key that wraps."""
        ...

    def cmac(self, key: KeyHandle, data: bytes) -> bytes:
        """AES-CMAC (NIST SP 800-38B), 16 bytes."""
        ...

    def wrap(self, wrapping: KeyHandle, key: KeyHandle, mode: CipherMode) -> bytes:
        """Encrypt a PAYLOAD key's value, of any type, under a WRAP key.

        A triple DES WRAP key (SCP02) wraps by ECB: every key is whole blocks of 8 bytes. An AES one (SCP03) wraps by
        CBC with IV zero: a 24-byte key (DES3, AES192) has 8 arbitrary bytes after it, and 32 come out.
        """
        ...

    def unwrap(self, kek: KeyHandle, wrapped: bytes, key_type: KeyType, use: KeyUse) -> KeyHandle:
        """Make a session key from what `wrap_for_peer` of another HSM gave (AES key wrap, RFC 3394).

        `kek`: a master of the unwrapping side. `wrapped`: 8 bytes longer than a `key_type` key. `use`: any but PAYLOAD:
        what was handed over never leaves this HSM again. Raises `key.unwrap-refused` when the wrapped bytes are not
        whole or not for this KEK. Which key it is, only its check value says (`kms.card.hand_over_keys`).
        """
        ...

    def wrap_for_peer(self, kek: KeyHandle, key: KeyHandle) -> bytes:
        """Wrap a PAYLOAD key by AES key wrap (RFC 3394): 8 bytes longer than the key.

        `kek`: a master of the wrapping side. The parity bits of a triple DES key are as the token keeps them.
        """
        ...
