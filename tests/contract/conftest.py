"""Fresh tokens for the contract tests: every test that asks for one runs on each make."""

from collections.abc import Callable, Iterator

import pytest

from kms.card.keys import KeyType, MasterRef
from kms.errors import Code, KmsError
from kms.hsm.gateway import Gateway
from kms.hsm.vault import TokenVault, open_vault
from kms.service.ports import NewMaster
from tests.contract.tokens import MAKES, FreshToken, TokenFactory, TokenMake


@pytest.fixture(scope="session")
def factories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TokenMake], TokenFactory]:
    """One factory for each make in a run."""
    made: dict[str, TokenFactory] = {}

    def get(make: TokenMake) -> TokenFactory:
        if not make.library.exists():
            pytest.skip(f"{make.name} is not installed: {make.install}")
        if make.name not in made:
            made[make.name] = TokenFactory(make, tmp_path_factory.mktemp(make.name))
        return made[make.name]

    return get


@pytest.fixture(scope="module", params=list(MAKES))
def make_token(
    request: pytest.FixtureRequest, factories: Callable[[TokenMake], TokenFactory]
) -> Callable[[], FreshToken]:
    """Make a token of one make, with a label of its own."""
    return factories(MAKES[request.param])


@pytest.fixture
def token(make_token: Callable[[], FreshToken]) -> FreshToken:
    return make_token()


@pytest.fixture
def vault(token: FreshToken) -> Iterator[TokenVault]:
    opened = open_vault(token.settings)
    yield opened
    opened.close()


@pytest.fixture
def gateway(token: FreshToken) -> Iterator[Gateway]:
    opened = Gateway(token.settings)
    yield opened
    opened.close()


def refused(code: Code) -> "pytest.RaisesExc[KmsError]":
    """Expect a `KmsError` of this code."""
    return pytest.raises(KmsError, match=f"^{code}: ")


def refer(made: NewMaster, key_type: KeyType = KeyType.AES256) -> MasterRef:
    """The reference to a master that was just made."""
    return MasterRef(made.object_id, key_type, made.kcv, made.kcv_method)
