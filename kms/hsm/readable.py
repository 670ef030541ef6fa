"""The only place where something derived from a key becomes readable outside the token: check values and CMAC subkeys.

Rules: a derive-only key can neither encrypt nor MAC, so E(key, block) is had by deriving a generic secret from that
block, reading and destroying it. Of a master three blocks alone are ever read, none of which is a PRF input of a card
key (those begin with a counter from 1 and are mixed with K1):
- 00…: the CMAC subkey K1 follows from it (DESIGN section 4); for triple DES its first 3 bytes are the check value;
- 01…: its first 3 bytes are GlobalPlatform's AES check value (GP 2.3.1 section B.6);
- K1: its first 5 bytes are the CMAC check value for people (ANSI X9.24-1): AES-CMAC(key, 00…) = E(key, K1).
Of a card's own key, which lives for one visit, also the chaining values of a CMAC of several blocks. What is read is
checked for its length, cut to what is needed, and overwritten.
"""

from pkcs11 import Attribute, SecretKey
from pkcs11 import KeyType as TokenKeyType
from pkcs11.types import DeriveMixin

from kms.card.keys import CipherMode, KcvMethod, KeyType
from kms.errors import Code, KmsError
from kms.hsm.cmac import build_k1
from kms.hsm.mechanisms import DerivationParameter, get_block_length
from kms.hsm.templates import READABLE, check_capabilities
from kms.hsm.wrapping import erase

KCV_LENGTH = {KcvMethod.DES_ZERO: 3, KcvMethod.AES_GP: 3, KcvMethod.AES_CMAC: 5}


def read_check_value(secret: SecretKey, key_type: KeyType, method: KcvMethod) -> bytes:
    """A derive-only key's check value: 3 bytes, or 5 by CMAC.

    Raises `key.kcv-mismatch` when the method does not fit the key type.
    """
    if key_type.is_aes is (method is KcvMethod.DES_ZERO):
        raise KmsError(
            Code.KEY_KCV_MISMATCH,
            f"the check value method {method} does not fit a key of type {key_type}; name its own",
        )
    block = bytes(get_block_length(key_type))
    if method is KcvMethod.AES_GP:
        block = b"\x01" * 16
    elif method is KcvMethod.AES_CMAC:
        zero_block = read_zero_block(secret)
        block = build_k1(zero_block)
        erase(zero_block)
    value = _read(secret, key_type, block)
    check_value = value[: KCV_LENGTH[method]]
    erase(value)
    return check_value


def read_zero_block(secret: SecretKey) -> bytes:
    """E(key, 0) of an AES key, 16 bytes: the CMAC subkey K1 follows from it."""
    return _read(secret, KeyType.AES128, bytes(16))


def read_chain_blocks(secret: SecretKey, blocks: bytes) -> bytes:
    """E(key, block) of each block, of a card's AES key (never of a master): chaining values on the way to a CMAC."""
    return _read(secret, KeyType.AES128, blocks)


def _read(secret: SecretKey, key_type: KeyType, blocks: bytes) -> bytes:
    if not isinstance(secret, DeriveMixin):
        raise KmsError(Code.KEY_ATTRIBUTES, "a key that should derive has no CKA_DERIVE")
    parameter = DerivationParameter(key_type, CipherMode.ECB, blocks)
    readable = secret.derive_key(
        TokenKeyType.GENERIC_SECRET,
        len(blocks) * 8,
        store=False,
        capabilities=READABLE.capabilities,
        mechanism=parameter.mechanism,
        mechanism_param=parameter.value,
        template=dict(READABLE.attributes),
    )
    try:
        check_capabilities(readable, READABLE)
        value: bytes = readable[Attribute.VALUE]
    finally:
        readable.destroy()
    if len(value) != len(blocks):
        raise KmsError(Code.HSM_MECHANISM, f"the HSM derived {len(value)} bytes instead of {len(blocks)}")
    return value
