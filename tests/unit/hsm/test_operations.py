"""A key without the right for an operation is refused before the token is asked."""

from collections.abc import Callable

import pytest
from pkcs11 import Attribute, SecretKey

from kms.card.keys import CipherMode, KeyType
from kms.errors import Code, KmsError
from kms.hsm import operations
from kms.hsm.templates import READABLE
from kms.hsm.wrapping import WrapStrategy


class PowerlessKey(SecretKey):
    """What python-pkcs11 makes of an object without any right; its value can be read."""

    def __init__(self, value: bytes = b"") -> None:
        self.value = value

    def __getitem__(self, key: Attribute) -> bytes:
        assert key is Attribute.VALUE
        return self.value


AES, ECB = KeyType.AES128, CipherMode.ECB
Operation = Callable[[PowerlessKey], bytes | SecretKey]
OPERATIONS: dict[str, Operation] = {
    "derive": lambda key: operations.derive(key, AES, ECB, bytes(16), key_type=AES, template=READABLE),
    "encrypt": lambda key: operations.encrypt(key, AES, ECB, bytes(16), None),
    "decrypt": lambda key: operations.decrypt(key, AES, ECB, bytes(16), None),
    "MAC": lambda key: operations.compute_cmac(key, bytes(16)),
    "wrap": lambda key: operations.wrap(
        key, AES, payload=key, length=16, mode=CipherMode.CBC, strategy=WrapStrategy.NATIVE
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_key_without_the_right_is_refused(name: str) -> None:
    with pytest.raises(KmsError, match=f"may not {name}") as failure:
        OPERATIONS[name](PowerlessKey())
    assert failure.value.code is Code.KEY_ATTRIBUTES


@pytest.mark.parametrize("length", [16, 15], ids=["encryption fails", "wrong length"])
def test_a_value_that_was_read_is_overwritten_whatever_happens(length: int) -> None:
    payload = PowerlessKey(bytes(bytearray(range(1, length + 1))))
    with pytest.raises(KmsError):
        operations.wrap(
            PowerlessKey(), AES, payload=payload, length=16, mode=CipherMode.CBC, strategy=WrapStrategy.TRANSIENT
        )
    assert payload.value == bytes(length)


def test_nothing_is_read_where_it_is_not_allowed() -> None:
    payload = PowerlessKey(bytes(bytearray(range(1, 17))))
    with pytest.raises(KmsError) as failure:
        operations.wrap(
            PowerlessKey(), AES, payload=payload, length=16, mode=CipherMode.CBC, strategy=WrapStrategy.REFUSED
        )
    assert failure.value.code is Code.HSM_WRAP_REFUSED
    assert payload.value != bytes(16)
