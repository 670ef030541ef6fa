"""What is refused before a token is asked (tests/contract/test_token_key_exchange.py has the rest)."""

from typing import cast

import pytest

from kms.errors import Code, KmsError
from kms.hsm.connection import Connection
from kms.hsm.keks import generate_kek, unwrap_kek

NO_TOKEN = cast("Connection", None)


def test_an_object_id_has_16_bytes() -> None:
    with pytest.raises(KmsError) as failure:
        generate_kek(NO_TOKEN, b"short", "bank-1", b"")
    assert failure.value.code is Code.INPUT_INVALID
    with pytest.raises(KmsError) as failure:
        unwrap_kek(
            NO_TOKEN, b"short", "issuer-1", transport_object_id=bytes(16), wrapped=b"", expected_kcv=bytes(5), now=0.0
        )
    assert failure.value.code is Code.INPUT_INVALID


def test_a_transport_key_is_looked_at_before_a_kek_is_made() -> None:
    with pytest.raises(KmsError) as failure:
        generate_kek(NO_TOKEN, bytes(16), "bank-1", b"no key")
    assert failure.value.code is Code.INPUT_INVALID
