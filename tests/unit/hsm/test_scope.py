"""What a scope refuses before it asks the token (tests/contract/test_key_port.py has the rest)."""

import pytest

from kms.card.keys import KcvMethod, KeyType, KeyUse, MasterRef
from kms.errors import Code, KmsError
from kms.hsm.gateway import Gateway
from kms.hsm.scope import TokenScope
from kms.hsm.settings import HsmSettings

REF = MasterRef(bytes(16), KeyType.AES256, bytes(5), KcvMethod.AES_CMAC)


class ForeignKey:
    """A handle of some other adapter."""

    key_type = KeyType.AES128


@pytest.fixture
def scope() -> TokenScope:
    return TokenScope(Gateway(HsmSettings("/nonexistent/library.so", "label", "pin")))


def test_a_foreign_handle_is_refused(scope: TokenScope) -> None:
    with pytest.raises(KmsError, match="another scope") as failure:
        scope.derive_cmac(ForeignKey(), (bytes(16),), KeyType.AES128, KeyUse.MAC)
    assert failure.value.code is Code.KEY_ATTRIBUTES


def test_a_closed_scope_does_nothing(scope: TokenScope) -> None:
    scope.close()
    with pytest.raises(KmsError, match="closed"):
        scope.get_master(REF)


def test_without_a_token_a_master_is_unavailable_not_missing(scope: TokenScope) -> None:
    with pytest.raises(KmsError) as failure:
        scope.get_master(REF)
    assert failure.value.code is Code.HSM_UNAVAILABLE
