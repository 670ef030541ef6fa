import hashlib
import json
from types import SimpleNamespace
from typing import cast

import pytest
from click.testing import CliRunner, Result

from kms.bootstrap import Platform
from kms.cli.context import Invocation
from kms.cli.hsm import hsm_group
from kms.config import PlatformMode
from kms.domain.keys import MasterKey, MasterKind, PlatformKeyPurpose
from kms.errors import Code
from kms.hsm.self_check import Need, SelfCheck, Step
from kms.hsm.wrapping import WrapStrategy
from kms.service.keys import KeyService
from kms.service.platform_keys import PlatformKeyService
from kms.service.token_check import TokenCheck
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


class Abilities(MasterVault):
    """A vault that says what it can do."""

    def __init__(self, found: SelfCheck) -> None:
        super().__init__()
        self.found = found

    def check_abilities(self) -> SelfCheck:
        return self.found


def run_check(found: SelfCheck, *options: str, mode: PlatformMode = PlatformMode.LAB) -> Result:
    made = Invocation()
    config = SimpleNamespace(peers=(), platform=SimpleNamespace(mode=mode))
    made.platform = cast("Platform", SimpleNamespace(vault=Abilities(found), config=config))
    return CliRunner().invoke(hsm_group, ["check", *options], obj=made)


LEAKS = Step("CKA_EXTRACTABLE=false", "a key cannot be wrapped", Need.PRODUCTION, "not enforced")


def test_a_token_that_does_all_that_is_needed_is_usable() -> None:
    found = SelfCheck((Step("AES_CMAC", "MACs", Need.ALWAYS, ""), LEAKS), WrapStrategy.NATIVE, WrapStrategy.NATIVE)
    done = run_check(found, "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["usable"], told["missing"]) == (0, True, [])
    assert [step["result"] for step in told["steps"]] == ["works", "not enforced"]


@pytest.mark.parametrize(
    ("found", "mode", "named"),
    [
        (
            SelfCheck((Step("AES_CMAC", "MACs", Need.ALWAYS, "MechanismInvalid"),), *[WrapStrategy.NATIVE] * 2),
            PlatformMode.LAB,
            "AES_CMAC",
        ),
        (SelfCheck((), WrapStrategy.REFUSED, WrapStrategy.NATIVE), PlatformMode.LAB, "under 3DES keys"),
        (SelfCheck((LEAKS,), *[WrapStrategy.NATIVE] * 2), PlatformMode.PRODUCTION, "CKA_EXTRACTABLE"),
    ],
    ids=["mechanism", "strategy", "leaks in production"],
)
def test_a_token_that_lacks_something_ends_with_an_error_and_says_what(
    found: SelfCheck, mode: PlatformMode, named: str
) -> None:
    done = run_check(found, mode=mode)
    assert done.exit_code == 1
    assert named in done.stdout


def test_objects_are_shown_with_what_is_wrong_and_what_nobody_knows(keys: KeyService, vault: MasterVault) -> None:
    master = keys.generate_master(MasterKind.ISD, "isd", actor="cli:officer")
    store = MemoryStore()
    with store.transaction() as tx:
        tx.master_keys.add(master)
    made = Invocation()
    check = TokenCheck(store=store, vault=vault, clock=TickingClock(), identifiers=CountingIdentifiers())
    made.platform = cast("Platform", SimpleNamespace(token_check=check))
    assert CliRunner().invoke(hsm_group, ["objects"], obj=made).exit_code == 0
    vault.generate_signing_key(b"P" * 16, "whose")
    del vault.objects[master.object_id]
    done = CliRunner().invoke(hsm_group, ["objects", "--json"], obj=made)
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert told["expected"][0]["result"].startswith(Code.KEY_MISSING)
    assert [item["label"] for item in told["unexpected"]] == ["whose"]
