"""The vault without a token (tests/contract/test_token_vault.py has the rest)."""

import pytest

from kms.card.keys import KcvMethod, KeyType
from kms.errors import Code, KmsError
from kms.hsm.settings import HsmSettings
from kms.hsm.vault import open_vault

ABSENT = HsmSettings("/nonexistent/library.so", "label", "pin")


def test_opening_a_vault_or_a_scope_touches_no_library() -> None:
    vault = open_vault(ABSENT)
    with vault.open_scope():
        pass
    vault.close()


def test_components_are_overwritten_even_when_the_hsm_is_away() -> None:
    component = bytearray(b"\x55" * 16)
    with pytest.raises(KmsError) as failure:
        open_vault(ABSENT).import_master(
            bytes(16),
            "vendor",
            key_type=KeyType.DES2,
            components=[component],
            expected_kcv=bytes(3),
            kcv_method=KcvMethod.DES_ZERO,
        )
    assert failure.value.code is Code.HSM_UNAVAILABLE
    assert component == bytearray(16)


def test_readiness_of_an_absent_hsm_is_red() -> None:
    vault = open_vault(ABSENT)
    with pytest.raises(KmsError) as failure:
        vault.check()
    assert failure.value.code is Code.HSM_UNAVAILABLE
    vault.close()
