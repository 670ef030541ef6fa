"""The PKCS#11 operations of this product, each with its mechanism, template and parameter spelled out.

Rules: called inside `Gateway.connect` alone. A key without the right for an operation is refused here, before the token
is asked: python-pkcs11 gives an object a method only for a right that the token says it has.
"""

from pkcs11 import Attribute, Mechanism, SecretKey
from pkcs11.types import DecryptMixin, DeriveMixin, EncryptMixin, SignMixin, WrapMixin

from kms.card.keys import CipherMode, KeyType
from kms.errors import Code, KmsError
from kms.hsm.mechanisms import (
    TOKEN_TYPES,
    DerivationParameter,
    get_block_length,
    get_cipher,
    get_length_attributes,
)
from kms.hsm.templates import Template, check_capabilities
from kms.hsm.wrapping import WrapStrategy, check_allowed, erase


def derive(
    parent: SecretKey, parent_type: KeyType, mode: CipherMode, data: bytes, *, key_type: KeyType, template: Template
) -> SecretKey:
    """Make a session object whose value is the leftmost bytes of E(parent, data). Three calls with python-pkcs11."""
    if not isinstance(parent, DeriveMixin):
        raise _build_refusal("derive")
    parameter = DerivationParameter(parent_type, mode, data)
    secret = parent.derive_key(
        TOKEN_TYPES[key_type],
        key_type.length * 8,
        store=False,
        capabilities=template.capabilities,
        mechanism=parameter.mechanism,
        mechanism_param=parameter.value,
        template={**template.attributes, **get_length_attributes(key_type)},
    )
    check_capabilities(secret, template)
    # python-pkcs11 asks the token for the type at the key's first use: two calls for what was just said to it.
    secret.key_type = TOKEN_TYPES[key_type]
    return secret


def encrypt(secret: SecretKey, key_type: KeyType, mode: CipherMode, data: bytes, iv: bytes | None) -> bytes:
    """Encrypt whole blocks, without padding. Three calls."""
    if not isinstance(secret, EncryptMixin):
        raise _build_refusal("encrypt")
    result = secret.encrypt(data, mechanism=get_cipher(key_type, mode), mechanism_param=_get_iv(key_type, mode, iv))
    return _as_bytes(result, len(data))


def decrypt(secret: SecretKey, key_type: KeyType, mode: CipherMode, data: bytes, iv: bytes | None) -> bytes:
    """Decrypt whole blocks, without padding. Three calls."""
    if not isinstance(secret, DecryptMixin):
        raise _build_refusal("decrypt")
    result = secret.decrypt(data, mechanism=get_cipher(key_type, mode), mechanism_param=_get_iv(key_type, mode, iv))
    return _as_bytes(result, len(data))


def compute_cmac(secret: SecretKey, data: bytes) -> bytes:
    """AES-CMAC, 16 bytes. Three calls."""
    if not isinstance(secret, SignMixin):
        raise _build_refusal("MAC")
    return _as_bytes(secret.sign(data, mechanism=Mechanism.AES_CMAC), 16)


def wrap(
    wrapping: SecretKey,
    wrapping_type: KeyType,
    *,
    payload: SecretKey,
    length: int,
    mode: CipherMode,
    strategy: WrapStrategy,
) -> bytes:
    """Encrypt a payload key's value of `length` bytes under a wrapping key, by the strategy its template was made for.

    Native: two calls. Transient: five; between the first two and the others the value is in this process (docs/adr
    0022).
    """
    check_allowed(strategy)
    if strategy is WrapStrategy.NATIVE:
        if not isinstance(wrapping, WrapMixin):
            raise _build_refusal("wrap")
        wrapped = wrapping.wrap_key(
            payload,
            mechanism=get_cipher(wrapping_type, mode),
            mechanism_param=_get_iv(wrapping_type, mode, None),
        )
        return _as_bytes(wrapped, length)
    value: bytes = payload[Attribute.VALUE]
    try:
        if len(value) != length:
            raise KmsError(Code.KEY_ATTRIBUTES, "the HSM holds a payload key of another length than it was made with")
        return encrypt(wrapping, wrapping_type, mode, value, None)
    finally:
        erase(value)


def _get_iv(key_type: KeyType, mode: CipherMode, iv: bytes | None) -> bytes | None:
    if mode is CipherMode.ECB:
        return None
    return bytes(get_block_length(key_type)) if iv is None else iv


def _as_bytes(result: object, length: int) -> bytes:
    if not isinstance(result, bytes) or len(result) != length:
        raise KmsError(Code.HSM_MECHANISM, f"the HSM answered an operation with something else than {length} bytes")
    return result


def _build_refusal(operation: str) -> KmsError:
    return KmsError(Code.KEY_ATTRIBUTES, f"this key in the HSM may not {operation}")
