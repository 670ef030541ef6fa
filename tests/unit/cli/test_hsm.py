import hashlib
import json
from types import SimpleNamespace
from typing import cast

import pytest
from click.testing import CliRunner

from kms.bootstrap import Platform
from kms.cli.context import Invocation
from kms.cli.hsm import hsm_group
from kms.domain.keys import MasterKey, MasterKind, PlatformKeyPurpose
from kms.errors import Code
from kms.service.keys import KeyService
from kms.service.platform_keys import PlatformKeyService
from tests.fakes.master_vault import MasterVault
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock


@pytest.fixture
def vault() -> MasterVault:
    return MasterVault()


@pytest.fixture
def keys(vault: MasterVault) -> KeyService:
    return KeyService(store=MemoryStore(), vault=vault, clock=TickingClock(), identifiers=CountingIdentifiers())


@pytest.fixture
def isd(keys: KeyService) -> MasterKey:
    return keys.generate_master(MasterKind.ISD, "isd", actor="cli:officer")


@pytest.fixture
def pairs(vault: MasterVault) -> PlatformKeyService:
    return PlatformKeyService(
        store=MemoryStore(), vault=vault, clock=TickingClock(), identifiers=CountingIdentifiers(), platform="issuer"
    )


@pytest.fixture
def invocation(vault: MasterVault, keys: KeyService, pairs: PlatformKeyService) -> Invocation:
    made = Invocation()
    made.platform = cast("Platform", SimpleNamespace(vault=vault, keys=keys, platform_keys=pairs))
    return made


def show(invocation: Invocation, *options: str) -> str:
    done = CliRunner().invoke(hsm_group, ["status", *options], obj=invocation)
    assert done.exit_code == 0
    return done.stdout


def test_status_tells_token_mechanisms_and_how_keys_are_wrapped_and_why(invocation: Invocation) -> None:
    status = json.loads(show(invocation, "--json"))
    assert (status["token_label"], status["wrap_strategy"], status["wrap_reason"]) == ("issuer", "native", "tried")
    assert (status["mechanisms"], status["missing_mechanisms"], status["keys"]) == (["A", "B"], [], [])


def test_status_shows_each_key_with_check_value_and_method_and_whether_the_token_has_it(
    invocation: Invocation, isd: MasterKey
) -> None:
    (key,) = json.loads(show(invocation, "--json"))["keys"]
    assert (key["kcv"], key["kcv_method"], key["state"]) == (isd.kcv.hex().upper(), "aes-cmac-zero", "ACTIVE")
    assert key["in_hsm"] == "found"


def test_a_key_that_is_gone_stands_out_for_people(invocation: Invocation, isd: MasterKey, vault: MasterVault) -> None:
    del vault.objects[isd.object_id]
    assert Code.KEY_MISSING in show(invocation)


def test_key_pairs_show_their_fingerprint_and_whether_the_token_has_them(
    invocation: Invocation, pairs: PlatformKeyService, vault: MasterVault
) -> None:
    assert "Platform keys: none." in show(invocation)
    made = pairs.ensure(PlatformKeyPurpose.SIGNING, actor="cli:officer")
    (pair,) = json.loads(show(invocation, "--json"))["platform_keys"]
    assert (pair["name"], pair["purpose"], pair["in_hsm"]) == ("issuer-signing", "signing", "found")
    assert pair["fingerprint"].replace(" ", "") == hashlib.sha256(made.public_key_der).hexdigest().upper()
    vault.pairs.clear()
    assert Code.KEY_MISSING in show(invocation)
