"""Enrolment: an invitation is used once, in time, with what it offered last."""

import pytest

from kms.errors import Code, KmsError
from tests.fakes.login_scene import FIRST, ORIGIN, PASSWORD, LoginScene
from tests.fakes.security_key import SoftwareSecurityKey


@pytest.fixture
def scene() -> LoginScene:
    return LoginScene()


@pytest.fixture
def secret(scene: LoginScene) -> str:
    """Bob's invitation."""
    return scene.people.initialise(FIRST, actor="cli:root")[2].secret


def refused(code: Code) -> "pytest.RaisesExc[KmsError]":
    return pytest.raises(KmsError, match=f"^{code}")


def test_what_is_offered_is_for_apps_and_for_browsers(scene: LoginScene, secret: str) -> None:
    offered = scene.enrolment.begin(secret)
    assert (offered.name, offered.login) == ("Bob Officer", "bob")
    assert offered.totp.uri == f"otpauth://totp/test%3Abob?secret={offered.totp.text}&issuer=test"
    assert offered.options["rp"] == {"id": "kms.example", "name": "test"}
    assert offered.totp.text not in repr(offered)


def test_an_invitation_is_used_once(scene: LoginScene, secret: str) -> None:
    scene.enrol_app("bob", secret)
    with refused(Code.LOGIN_INVITATION):
        scene.enrolment.begin(secret)
    with refused(Code.LOGIN_INVITATION):
        scene.enrolment.finish(secret, PASSWORD, scene.show_code("bob"))


def test_an_invitation_ends_after_three_days(scene: LoginScene, secret: str) -> None:
    scene.clock.pass_(days=3)
    with refused(Code.LOGIN_INVITATION):
        scene.enrolment.begin(secret)


def test_an_unknown_invitation_is_refused(scene: LoginScene) -> None:
    with refused(Code.LOGIN_INVITATION):
        scene.enrolment.begin("guessed")


def test_nothing_is_taken_before_something_was_offered(scene: LoginScene, secret: str) -> None:
    with refused(Code.LOGIN_INVITATION):
        scene.enrolment.finish(secret, PASSWORD, {"totp": "123456"})


def test_what_an_earlier_page_offered_is_not_taken(scene: LoginScene, secret: str) -> None:
    key = SoftwareSecurityKey(ORIGIN)
    answer = key.create(scene.enrolment.begin(secret).options)
    scene.enrolment.begin(secret)
    with refused(Code.LOGIN_REFUSED):
        scene.enrolment.finish(secret, PASSWORD, {"webauthn": answer})


@pytest.mark.parametrize("password", ["short", "password12345", "bob", "bobofficer2026", "aaaaaaaaaaaaaaaa", "x" * 129])
def test_a_weak_password_may_be_mended(scene: LoginScene, secret: str, password: str) -> None:
    with refused(Code.INPUT_INVALID) as error:
        key = SoftwareSecurityKey(ORIGIN)
        answer = key.create(scene.enrolment.begin(secret).options)
        scene.enrolment.finish(secret, password, {"webauthn": answer})
    assert f"«{password}»" not in str(error.value)
    scene.enrol_app("bob", secret)


def test_a_wrong_code_is_refused_and_may_be_mended(scene: LoginScene, secret: str) -> None:
    scene.enrolment.begin(secret)
    with refused(Code.LOGIN_REFUSED):
        scene.enrolment.finish(secret, PASSWORD, {"totp": "000000"})
    scene.enrol_app("bob", secret)


def test_a_security_key_that_did_not_verify_its_user_or_stood_elsewhere_is_not_registered(
    scene: LoginScene, secret: str
) -> None:
    options = scene.enrolment.begin(secret).options
    careless, elsewhere = SoftwareSecurityKey(ORIGIN, verifies=False), SoftwareSecurityKey("https://evil.example")
    for answer in (
        careless.create(options),
        elsewhere.create(options),
        SoftwareSecurityKey(ORIGIN).create(options, rp_id="evil.example"),
        {"id": "", "response": {}},
    ):
        with refused(Code.LOGIN_REFUSED):
            scene.enrolment.finish(secret, PASSWORD, {"webauthn": answer})


def test_a_security_key_is_registered_for_one_account(scene: LoginScene) -> None:
    invited = scene.people.initialise(FIRST, actor="cli:root")
    key = SoftwareSecurityKey(ORIGIN)
    scene.enrol_key("alice", invited[1].secret, key)
    with refused(Code.CONFLICT):
        scene.enrol_key("bob", invited[2].secret, key)


def test_a_disabled_persons_invitation_is_refused(scene: LoginScene, secret: str) -> None:
    scene.people.disable("bob", actor="x")
    with refused(Code.LOGIN_INVITATION):
        scene.enrolment.begin(secret)


@pytest.mark.parametrize("label", ["x" * 65, "a\nb"])
def test_a_label_is_short_and_printable(scene: LoginScene, secret: str, label: str) -> None:
    scene.enrolment.begin(secret)
    with refused(Code.INPUT_INVALID):
        scene.enrolment.finish(secret, PASSWORD, {"totp": "000000"}, label=label)
