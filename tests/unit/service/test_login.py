"""Logging in: what is right opens, everything else is refused, counted and recorded."""

import json
from collections.abc import Callable

import pytest

from kms.domain.people import CredentialKind, Role
from kms.errors import Code, KmsError
from tests.fakes.login_scene import ORIGIN, PASSWORD, LoginScene
from tests.fakes.security_key import SoftwareSecurityKey, encode

DIGEST = bytes(range(32))
WRONG = {"totp": "000000"}


@pytest.fixture
def scene() -> LoginScene:
    return LoginScene().start()


def refused(code: Code) -> "pytest.RaisesExc[KmsError]":
    return pytest.raises(KmsError, match=f"^{code}")


def fail_password(scene: LoginScene, times: int = 1, login: str = "bob") -> None:
    for _ in range(times):
        with refused(Code.LOGIN_REFUSED):
            scene.logins.begin(login, "not the password")


def test_a_password_and_a_one_time_code_open_a_login(scene: LoginScene) -> None:
    opened = scene.logins.login("bob", PASSWORD, scene.show_code("bob"), source="10.0.0.7")
    principal = scene.logins.authenticate(opened.secret)
    assert principal.name == "Bob Officer"
    assert principal.roles == {Role.SECURITY_OFFICER, Role.KEY_CUSTODIAN}
    assert principal.second_factor is CredentialKind.TOTP
    assert "10.0.0.7" in scene.list_events("login.open")[-1].detail


def test_a_password_and_a_security_key_open_a_login(scene: LoginScene) -> None:
    step = scene.logins.begin("alice", PASSWORD)
    assert step.factors == {CredentialKind.WEBAUTHN}
    opened = scene.logins.finish(step.secret, scene.touch_key("alice", step.options))
    assert opened.principal.second_factor is CredentialKind.WEBAUTHN
    assert scene.logins.authenticate(opened.secret) == opened.principal


def test_a_wrong_password_an_unknown_login_and_a_disabled_person_are_told_the_same(scene: LoginScene) -> None:
    scene.people.disable("bob", actor="person Alice Officer")
    texts = set()
    for login, password in (("alice", "wrong wrong wrong"), ("nobody", PASSWORD), ("bob", PASSWORD), ("", "")):
        before = scene.passwords.checked
        with refused(Code.LOGIN_REFUSED) as error:
            scene.logins.begin(login, password)
        texts.add(str(error.value))
        assert scene.passwords.checked == before + 1  # the same work for all
    assert len(texts) == 1
    reasons = [event.detail for event in scene.list_events("login.refuse")]
    assert reasons == ["wrong password", "unknown login", "account not active", "unknown login"]


def test_the_password_alone_opens_nothing(scene: LoginScene) -> None:
    step = scene.logins.begin("bob", PASSWORD)
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(step.secret)


def test_a_code_is_taken_once(scene: LoginScene) -> None:
    code = scene.show_code("bob")
    scene.logins.login("bob", PASSWORD, code)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.login("bob", PASSWORD, code)


def test_a_code_of_an_earlier_step_is_refused_once_a_later_one_was_taken(scene: LoginScene) -> None:
    early = scene.show_code("bob")
    scene.clock.pass_(seconds=30)
    scene.logins.login("bob", PASSWORD, scene.show_code("bob"))
    with refused(Code.LOGIN_REFUSED):
        scene.logins.login("bob", PASSWORD, early)


def test_a_step_is_completed_once_and_soon(scene: LoginScene) -> None:
    step = scene.logins.begin("bob", PASSWORD)
    scene.logins.finish(step.secret, scene.show_code("bob"))
    scene.clock.pass_(seconds=30)
    with refused(Code.LOGIN_NEEDED):
        scene.logins.finish(step.secret, scene.show_code("bob"))
    late = scene.logins.begin("bob", PASSWORD)
    scene.clock.pass_(minutes=5)
    with refused(Code.LOGIN_NEEDED):
        scene.logins.finish(late.secret, scene.show_code("bob"))


def test_a_mistyped_code_may_be_mended(scene: LoginScene) -> None:
    step = scene.logins.begin("bob", PASSWORD)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.finish(step.secret, WRONG)
    assert scene.logins.finish(step.secret, scene.show_code("bob")).principal.name == "Bob Officer"


@pytest.mark.parametrize(
    "proof",
    [{}, {"totp": 123456}, {"totp": "12345"}, {"totp": "\u0661\u0662\u0663\u0664\u0665\u0666"}, {"password": "x"}],
)
def test_what_is_no_second_factor_is_refused(scene: LoginScene, proof: dict[str, object]) -> None:
    step = scene.logins.begin("bob", PASSWORD)
    with refused(Code.INPUT_INVALID):
        scene.logins.finish(step.secret, proof)


def test_an_assertion_is_for_one_login(scene: LoginScene) -> None:
    step = scene.logins.begin("alice", PASSWORD)
    answer = scene.touch_key("alice", step.options)
    scene.logins.finish(step.secret, answer)
    other = scene.logins.begin("alice", PASSWORD)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.finish(other.secret, answer)


def spoil_origin(key: SoftwareSecurityKey) -> None:
    key.origin = "https://kms.example.evil:8445"


def spoil_frame(key: SoftwareSecurityKey) -> None:
    key.cross_origin = True


def spoil_verification(key: SoftwareSecurityKey) -> None:
    key.verifies = False


def spoil_counter(key: SoftwareSecurityKey) -> None:
    key.counter = 0


@pytest.mark.parametrize("spoil", [spoil_origin, spoil_frame, spoil_verification, spoil_counter])
def test_assertions_for_another_site_or_without_the_user_or_of_a_copy_are_refused(
    scene: LoginScene, spoil: Callable[[SoftwareSecurityKey], None]
) -> None:
    scene.log_in("alice")
    step = scene.logins.begin("alice", PASSWORD)
    spoil(scene.keys["alice"])
    with refused(Code.LOGIN_REFUSED):
        scene.logins.finish(step.secret, scene.touch_key("alice", step.options))


def test_an_assertion_for_another_domain_or_of_another_key_is_refused(scene: LoginScene) -> None:
    step = scene.logins.begin("alice", PASSWORD)
    assert step.options is not None
    with refused(Code.LOGIN_REFUSED):
        scene.logins.finish(step.secret, {"webauthn": scene.keys["alice"].get(step.options, rp_id="example")})
    with refused(Code.LOGIN_REFUSED):
        scene.logins.finish(step.secret, {"webauthn": SoftwareSecurityKey(ORIGIN).get(step.options)})
    with refused(Code.LOGIN_REFUSED):
        scene.logins.finish(step.secret, {"webauthn": {"id": encode(scene.keys["alice"].key_id), "response": 5}})


def test_a_key_that_does_not_count_may_be_used_again_and_again(scene: LoginScene) -> None:
    scene.people.reset_credentials("alice", actor="a")
    invited = scene.people.invite("alice", actor="a", inviter="adam")
    code = scene.enrol_key("alice", invited.secret, SoftwareSecurityKey(ORIGIN, counts=False))
    scene.people.confirm("alice", code, actor="b", confirmer="bob")
    assert scene.log_in("alice").principal.name == scene.log_in("alice").principal.name


def test_five_wrong_passwords_lock_the_account_for_a_while_and_raise_an_alarm(scene: LoginScene) -> None:
    fail_password(scene, 5)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.begin("bob", PASSWORD)
    with scene.store.reading() as reading:
        assert [(alarm.kind, alarm.subject) for alarm in reading.alarms.list_open()] == [
            ("account.locked", "account bob")
        ]
    assert len(scene.list_events("account.lock")) == 1
    scene.clock.pass_(minutes=15)
    assert scene.log_in("bob").principal.name == "Bob Officer"


def test_a_lock_that_is_over_leaves_five_attempts_again(scene: LoginScene) -> None:
    fail_password(scene, 5)
    scene.clock.pass_(minutes=15)
    fail_password(scene, 4)
    assert scene.log_in("bob").principal.name == "Bob Officer"


def test_a_completed_login_forgives_what_failed_before(scene: LoginScene) -> None:
    fail_password(scene, 4)
    scene.log_in("bob")
    fail_password(scene, 4)
    assert scene.log_in("bob").principal.name == "Bob Officer"


def test_whoever_knows_the_password_has_five_codes_not_five_each_time(scene: LoginScene) -> None:
    for _ in range(5):
        step = scene.logins.begin("bob", PASSWORD)
        with refused(Code.LOGIN_REFUSED):
            scene.logins.finish(step.secret, WRONG)
    with refused(Code.LOGIN_LOCKED):
        scene.logins.finish(step.secret, scene.show_code("bob"))
    with refused(Code.LOGIN_REFUSED):
        scene.logins.begin("bob", PASSWORD)


def test_an_hsm_that_is_away_is_nobodys_failed_attempt(scene: LoginScene) -> None:
    step = scene.logins.begin("bob", PASSWORD)
    keys, scene.vault.login_keys = scene.vault.login_keys, set()
    for _ in range(6):
        with refused(Code.KEY_ATTRIBUTES):
            scene.logins.finish(step.secret, scene.show_code("bob"))
    scene.vault.login_keys = keys
    assert scene.logins.finish(step.secret, scene.show_code("bob")).principal.name == "Bob Officer"


def test_a_login_ends_after_fifteen_idle_minutes(scene: LoginScene) -> None:
    opened = scene.log_in("bob")
    for _ in range(4):
        scene.clock.pass_(minutes=14)
        scene.logins.authenticate(opened.secret)
    scene.clock.pass_(minutes=15)
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)
    assert len(scene.list_events("login.expire")) == 1


def test_a_page_that_refreshes_itself_keeps_no_login_open(scene: LoginScene) -> None:
    opened = scene.log_in("bob")
    scene.clock.pass_(minutes=10)
    scene.logins.authenticate(opened.secret, touch=False)
    scene.clock.pass_(minutes=5)
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)


def test_a_login_ends_after_twelve_hours_however_busy(scene: LoginScene) -> None:
    opened = scene.log_in("bob")
    for _ in range(12 * 6 - 1):
        scene.clock.pass_(minutes=10)
        scene.logins.authenticate(opened.secret)
    scene.clock.pass_(minutes=10)
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)


def test_a_logout_ends_the_login_and_is_harmless_again(scene: LoginScene) -> None:
    opened = scene.log_in("bob")
    scene.logins.logout(opened.secret)
    scene.logins.logout(opened.secret)
    scene.logins.logout("never a secret")
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)
    assert len(scene.list_events("login.close")) == 1


def test_whoever_is_disabled_is_out_at_once_and_new_roles_hold_at_once(scene: LoginScene) -> None:
    opened = scene.log_in("bob")
    scene.people.change("bob", roles={Role.OPERATOR}, actor="a")
    assert scene.logins.authenticate(opened.secret).roles == {Role.OPERATOR}
    scene.people.disable("bob", actor="a")
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)
    scene.people.enable("bob", actor="a")
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)


def test_an_approval_is_an_assertion_over_the_digest(scene: LoginScene) -> None:
    principal = scene.log_in("alice").principal
    signature = scene.approve(principal, DIGEST, "alice")
    assert signature.factor is CredentialKind.WEBAUTHN
    evidence = json.loads(signature.evidence)
    assert evidence["rpId"] == "kms.example"
    assert evidence["origin"] == ORIGIN


def test_an_assertion_over_another_digest_is_no_approval(scene: LoginScene) -> None:
    principal = scene.log_in("alice").principal
    answer = scene.touch_key("alice", scene.logins.build_approval_options(principal, bytes(32)))
    with refused(Code.LOGIN_REFUSED):
        scene.logins.check_approval(principal, DIGEST, answer)
    assert scene.list_events("login.refuse")[-1].detail == "approval: wrong second factor"


def test_a_replayed_assertion_is_no_approval(scene: LoginScene) -> None:
    principal = scene.log_in("alice").principal
    answer = scene.touch_key("alice", scene.logins.build_approval_options(principal, DIGEST))
    scene.logins.check_approval(principal, DIGEST, answer)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.check_approval(principal, DIGEST, answer)


def test_somebody_elses_key_is_no_approval(scene: LoginScene) -> None:
    alice, bob = scene.log_in("alice").principal, scene.log_in("bob").principal
    answer = scene.touch_key("alice", scene.logins.build_approval_options(alice, DIGEST))
    with refused(Code.LOGIN_REFUSED):
        scene.logins.check_approval(bob, DIGEST, answer)


def test_a_code_approves_once_and_not_with_the_code_of_the_login(scene: LoginScene) -> None:
    principal = scene.log_in("bob").principal
    with refused(Code.LOGIN_REFUSED):
        scene.logins.check_approval(principal, DIGEST, scene.show_code("bob"))
    scene.clock.pass_(seconds=30)
    signature = scene.logins.check_approval(principal, DIGEST, scene.show_code("bob"))
    assert (signature.factor, signature.evidence) == (CredentialKind.TOTP, "totp")
    with refused(Code.LOGIN_REFUSED):
        scene.logins.check_approval(principal, DIGEST, scene.show_code("bob"))


def test_wrong_codes_for_approvals_lock_the_account_too(scene: LoginScene) -> None:
    principal = scene.log_in("bob").principal
    for _ in range(5):
        with refused(Code.LOGIN_REFUSED):
            scene.logins.check_approval(principal, DIGEST, WRONG)
    scene.clock.pass_(seconds=30)
    with refused(Code.LOGIN_LOCKED):
        scene.logins.check_approval(principal, DIGEST, scene.show_code("bob"))


def test_nothing_that_was_typed_or_given_stands_in_log_or_store(scene: LoginScene) -> None:
    opened = scene.log_in("bob")
    with refused(Code.LOGIN_REFUSED):
        scene.logins.begin("my password in the wrong field", PASSWORD)
    text = scene.list_all_events()
    with scene.store.reading() as reading:
        stored = repr(reading.login_sessions.list()) + repr(reading.credentials.list())
    for secret in (PASSWORD, opened.secret, "wrong field", *(app.secret.hex() for app in scene.apps.values())):
        assert secret not in text
        assert secret not in stored
    assert opened.secret not in repr(opened)


NEW = "nine green frogs in a pond"


def test_a_password_is_changed_with_the_present_one_and_a_second_factor_and_all_logins_end(scene: LoginScene) -> None:
    opened, other = scene.log_in("alice"), scene.log_in("alice")
    options = scene.logins.build_change_options(opened.principal)
    scene.logins.change_password(opened.principal, PASSWORD, NEW, scene.touch_key("alice", options))
    for secret in (opened.secret, other.secret):
        with refused(Code.LOGIN_NEEDED):
            scene.logins.authenticate(secret)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.begin("alice", PASSWORD)
    assert scene.logins.begin("alice", NEW).factors == {CredentialKind.WEBAUTHN}
    assert len(scene.list_events("account.change-password")) == 1


def test_a_password_is_not_changed_without_both_nor_to_a_weak_one(scene: LoginScene) -> None:
    principal = scene.log_in("bob").principal
    scene.clock.pass_(minutes=1)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.change_password(principal, "not the password", NEW, scene.show_code("bob"))
    with refused(Code.LOGIN_REFUSED):
        scene.logins.change_password(principal, PASSWORD, NEW, WRONG)
    with refused(Code.INPUT_INVALID):
        scene.logins.change_password(principal, PASSWORD, "short", scene.show_code("bob"))
    assert scene.log_in("bob").principal.name == principal.name


def test_a_change_takes_no_assertion_for_another_challenge(scene: LoginScene) -> None:
    principal = scene.log_in("alice").principal
    unasked = {"webauthn": scene.keys["alice"].get({"challenge": "", "rpId": "kms.example"})}
    with refused(Code.LOGIN_REFUSED):
        scene.logins.change_password(principal, PASSWORD, NEW, unasked)
    asked = scene.touch_key("alice", scene.logins.build_change_options(principal))
    scene.logins.build_change_options(principal)
    with refused(Code.LOGIN_REFUSED):
        scene.logins.change_password(principal, PASSWORD, NEW, asked)
