"""Keys that go from one HSM to another: AES key wrap (RFC 3394) under a KEK, and RSA-OAEP to a transport key.

Rules: called inside `Gateway.connect` alone. What comes from a peer may be anything: that the token cannot unwrap it is
a refusal of the bytes, never a lost connection. SoftHSM2 answers CKR_GENERAL_ERROR to it, which otherwise means that
the token is gone, so the token is asked for a sign of life before either is said. RSA-OAEP is with SHA-1 and
MGF1-SHA-1: the only one SoftHSM2 does (docs/adr/0025). What was unwrapped never leaves the token again.
"""

import struct

from pkcs11 import MGF, Attribute, Mechanism, ObjectClass, PrivateKey, PublicKey, SecretKey
from pkcs11 import KeyType as TokenKeyType
from pkcs11.exceptions import (
    ArgumentsBad,
    DataInvalid,
    DataLenRange,
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    FunctionFailed,
    GeneralError,
    TemplateInconsistent,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
)
from pkcs11.types import UnwrapMixin, WrapMixin

from kms.card.keys import KeyType
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection
from kms.hsm.mechanisms import TOKEN_TYPES
from kms.hsm.templates import Template, check_capabilities

_CKZ_DATA_SPECIFIED = 1
# CK_RSA_PKCS_OAEP_PARAMS (PKCS#11 2.40 mechanisms, section 2.1.8): hash, mask generation, source of the label, and an
# empty label: both sides check the key by its check value.
OAEP = struct.pack("NNNPN", Mechanism.SHA_1, MGF.SHA1, _CKZ_DATA_SPECIFIED, 0, 0)
WRAP_OVERHEAD = 8  # RFC 3394 section 2.2.1: one 64-bit block more than the key

_REFUSALS = (
    ArgumentsBad,
    DataInvalid,
    DataLenRange,
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    FunctionFailed,
    GeneralError,
    TemplateInconsistent,
    WrappedKeyInvalid,
    WrappedKeyLenRange,
)


def wrap_by_aes(kek: SecretKey, payload: SecretKey, length: int) -> bytes:
    """Wrap a key of `length` bytes, natively. Two calls."""
    if not isinstance(kek, WrapMixin):
        raise KmsError(Code.KEY_ATTRIBUTES, "this key in the HSM may not wrap")
    return _check_length(kek.wrap_key(payload, mechanism=Mechanism.AES_KEY_WRAP), length + WRAP_OVERHEAD)


def wrap_by_rsa(transport: PublicKey, payload: SecretKey, length: int) -> bytes:
    """Wrap a key to an RSA public key of `length` bytes. Two calls."""
    if not isinstance(transport, WrapMixin):
        raise KmsError(Code.KEY_ATTRIBUTES, "this public key in the HSM may not wrap")
    wrapped = transport.wrap_key(payload, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=OAEP)
    return _check_length(wrapped, length)


def unwrap_by_aes(
    connection: Connection, kek: SecretKey, wrapped: bytes, *, key_type: KeyType, template: Template
) -> SecretKey:
    """Make a session object of what a KEK wrapped. Three calls. Raises `key.unwrap-refused`."""
    if len(wrapped) != key_type.length + WRAP_OVERHEAD:
        # A token takes 40 bytes for a DES2 key and fails when it is used: the length is ours to check.
        raise _build_refusal()
    return unwrap(connection, kek, wrapped, key_type=key_type, template=template, mechanism=Mechanism.AES_KEY_WRAP)


def unwrap(
    connection: Connection,
    unwrapping: SecretKey | PrivateKey,
    wrapped: bytes,
    *,
    key_type: KeyType,
    template: Template,
    mechanism: Mechanism,
    object_id: bytes = b"",
    label: str = "",
) -> SecretKey:
    """Make a secret key of wrapped bytes by `mechanism`. Raises `key.unwrap-refused`, `key.attributes`."""
    if not isinstance(unwrapping, UnwrapMixin):
        raise KmsError(Code.KEY_ATTRIBUTES, "this key in the HSM may not unwrap")
    try:
        key = unwrapping.unwrap_key(
            ObjectClass.SECRET_KEY,
            TOKEN_TYPES[key_type],
            wrapped,
            id=object_id,
            label=label,
            mechanism=mechanism,
            mechanism_param=OAEP if mechanism is Mechanism.RSA_PKCS_OAEP else None,
            store=template.attributes[Attribute.TOKEN],
            capabilities=template.capabilities,
            template=dict(template.attributes),
        )
    except _REFUSALS as error:
        connection.check_alive()
        raise _build_refusal() from error
    if not isinstance(key, SecretKey):
        raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a secret key")
    check_capabilities(key, template)
    # As with derived keys: spares the two calls by which python-pkcs11 would ask for what was just said.
    key.key_type = TOKEN_TYPES[key_type]
    return key


def build_rsa_values(modulus: int, exponent: int) -> dict[Attribute, object]:
    """The attributes that make an RSA public key."""
    return {
        Attribute.CLASS: ObjectClass.PUBLIC_KEY,
        Attribute.KEY_TYPE: TokenKeyType.RSA,
        Attribute.MODULUS: modulus.to_bytes(-(-modulus.bit_length() // 8), "big"),
        Attribute.PUBLIC_EXPONENT: exponent.to_bytes(-(-exponent.bit_length() // 8), "big"),
    }


def _check_length(wrapped: object, length: int) -> bytes:
    if not isinstance(wrapped, bytes) or len(wrapped) != length:
        raise KmsError(Code.HSM_MECHANISM, f"the HSM wrapped a key into something else than {length} bytes")
    return wrapped


def _build_refusal() -> KmsError:
    return KmsError(
        Code.KEY_UNWRAP_REFUSED,
        "the HSM cannot unwrap the key: it was changed on the way, or wrapped for another HSM or under another KEK;"
        " ask its sender for it again",
    )
