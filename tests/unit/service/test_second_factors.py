"""What a proof may be; the accept and reject cases of each kind stand with logins and enrolment."""

import pytest

from kms.domain.people import CredentialKind
from kms.errors import Code, KmsError
from kms.logins.security_keys import WebAuthnKeys
from kms.service.second_factors import SecondFactors
from tests.fakes.login_scene import ORIGIN, PASSWORD, RP_ID, LoginScene
from tests.fakes.security_key import SoftwareSecurityKey


@pytest.fixture
def scene() -> LoginScene:
    return LoginScene().start()


def build_factors(scene: LoginScene) -> SecondFactors:
    keys = WebAuthnKeys(rp_id=RP_ID, rp_name="test", origin=ORIGIN)
    return SecondFactors(codes=scene.codes, security_keys=keys, platform="test")


def test_accounts_without_a_security_key_get_no_options(scene: LoginScene) -> None:
    assert scene.logins.begin("bob", PASSWORD).options is None
    assert scene.logins.begin("alice", PASSWORD).options is not None


def test_both_kinds_at_once_are_none(scene: LoginScene) -> None:
    bob = scene.people.get("bob").accounts[0].credentials
    both = {**scene.show_code("bob"), "webauthn": SoftwareSecurityKey(ORIGIN).get({"challenge": "", "rpId": RP_ID})}
    with pytest.raises(KmsError) as failure:
        build_factors(scene).check(bob, bytes(32), both, scene.clock.now())
    assert failure.value.code is Code.INPUT_INVALID


def test_checking_takes_nothing(scene: LoginScene) -> None:
    factors = build_factors(scene)
    bob = scene.people.get("bob").accounts[0].credentials
    proof = scene.show_code("bob")
    shown = factors.check(bob, bytes(32), proof, scene.clock.now())
    assert shown.credential.kind is CredentialKind.TOTP
    assert shown == factors.check(bob, bytes(32), proof, scene.clock.now())
    assert scene.logins.login("bob", PASSWORD, proof).principal.name == "Bob Officer"


def test_codes_of_an_account_that_has_none_are_refused(scene: LoginScene) -> None:
    alice = scene.people.get("alice").accounts[0].credentials
    with pytest.raises(KmsError) as failure:
        build_factors(scene).check(alice, bytes(32), scene.show_code("bob"), scene.clock.now())
    assert failure.value.code is Code.LOGIN_REFUSED
