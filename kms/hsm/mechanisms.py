"""The PKCS#11 mechanisms this product uses, and the parameters python-pkcs11 cannot build by itself.

Rules: a mechanism is always named at the call; python-pkcs11's defaults are never used (its DES wrap is ECB, its AES
encrypt is CBC-PAD). Parameters of the DES3 derivations are raw C structures that point at a buffer: the buffer must
outlive the call, so `DerivationParameter` holds both.
"""

import ctypes
import struct

from pkcs11 import Attribute, Mechanism
from pkcs11 import KeyType as TokenKeyType
from pkcs11.constants import DEFAULT

from kms.card.keys import CipherMode, KeyType
from kms.errors import Code, KmsError

# Needed once a platform exchanges keys with a peer.
PEER = (
    Mechanism.AES_KEY_WRAP,
    Mechanism.RSA_PKCS_KEY_PAIR_GEN,
    Mechanism.RSA_PKCS_OAEP,
    Mechanism.EC_KEY_PAIR_GEN,
    Mechanism.ECDSA,
)

TOKEN_TYPES = {
    KeyType.DES2: TokenKeyType.DES2,
    KeyType.DES3: TokenKeyType.DES3,
    KeyType.AES128: TokenKeyType.AES,
    KeyType.AES192: TokenKeyType.AES,
    KeyType.AES256: TokenKeyType.AES,
}


class DerivationParameter:
    """The parameter of a `*_ENCRYPT_DATA` derivation over `data` (PKCS#11 2.40 current mechanisms, section 2.16).

    CK_KEY_DERIVATION_STRING_DATA is a pointer and a length; CK_DES_CBC_ENCRYPT_DATA_PARAMS is the 8-byte IV, here
    zeros, and the same. Keep the object until the call has returned.
    """

    def __init__(self, parent_type: KeyType, mode: CipherMode, data: bytes) -> None:
        self.data = data
        if parent_type.is_aes:
            if mode is not CipherMode.ECB:
                raise KmsError(Code.HSM_MECHANISM, "keys are derived from an AES key by ECB alone")
            self.mechanism = Mechanism.AES_ECB_ENCRYPT_DATA
            self.value = data  # python-pkcs11 builds this one's structure, pointing into `data`
            return
        self._buffer = ctypes.create_string_buffer(data, len(data))
        pointer = struct.pack("PN", ctypes.addressof(self._buffer), len(data))
        if mode is CipherMode.ECB:
            self.mechanism, self.value = Mechanism.DES3_ECB_ENCRYPT_DATA, pointer
        else:
            self.mechanism, self.value = Mechanism.DES3_CBC_ENCRYPT_DATA, bytes(8) + pointer


def get_length_attributes(key_type: KeyType) -> dict[Attribute, object]:
    """What a template says of the key's length: DES types have one length and may not carry CKA_VALUE_LEN.

    python-pkcs11 always adds it; DEFAULT takes it out again.
    """
    return {} if key_type.is_aes else {Attribute.VALUE_LEN: DEFAULT}


def get_cipher(key_type: KeyType, mode: CipherMode) -> Mechanism:
    """The cipher mechanism, without padding, for a key type and mode."""
    if key_type.is_aes:
        return Mechanism.AES_ECB if mode is CipherMode.ECB else Mechanism.AES_CBC
    return Mechanism.DES3_ECB if mode is CipherMode.ECB else Mechanism.DES3_CBC


def get_block_length(key_type: KeyType) -> int:
    """Block length in bytes: AES 16, triple DES 8."""
    return 16 if key_type.is_aes else 8


def get_name(mechanism: object) -> str:
    """A listed mechanism's name, or its number in hexadecimal when python-pkcs11 does not know it."""
    if isinstance(mechanism, Mechanism):
        return mechanism.name
    return f"0x{mechanism:08X}" if isinstance(mechanism, int) else str(mechanism)
