"""People and logins over the fake and the real store: what may happen once happens once; and one story on each."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kms.domain.people import (
    Account,
    AccountState,
    Credential,
    CredentialKind,
    Invitation,
    LoginSession,
    Person,
    PersonState,
    Role,
)
from kms.errors import Code, KmsError
from kms.service.ports import Store
from tests.fakes.login_scene import PASSWORD, LoginScene
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, build_id
from tests.fakes.stores import DATABASES, open_store_on

LATER = NOW + timedelta(minutes=1)
ROLES = frozenset({Role.SECURITY_OFFICER, Role.OPERATOR})
PERSON = Person(build_id(1), "Bob Officer", ROLES, PersonState.ACTIVE, NOW)
ACCOUNT = Account(build_id(2), PERSON.id, "bob", AccountState.ACTIVE, NOW, 3, LATER)
KEY = Credential(
    build_id(3), ACCOUNT.id, CredentialKind.WEBAUTHN, "blue", b"cose", PersonState.ACTIVE, NOW, 2**31 + 7, b"id", LATER
)
CODES = Credential(build_id(4), ACCOUNT.id, CredentialKind.TOTP, "", b"key", PersonState.ACTIVE, NOW)
SESSION = LoginSession(
    "a" * 64, ACCOUNT.id, PERSON.id, NOW, NOW, NOW, CredentialKind.WEBAUTHN, challenge=b"c" * 32, ended_at=None
)
HALF = replace(SESSION, id="b" * 64, second_factor=None)
INVITATION = Invitation("c" * 64, ACCOUNT.id, build_id(9), confirmed=False, created_at=NOW, expires_at=LATER)


@pytest.fixture(params=["memory", *DATABASES])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store_on(request.param, tmp_path) as real:
        yield real


@pytest.fixture
def store(empty: Store) -> Store:
    with empty.transaction() as transaction:
        transaction.people.add(PERSON)
        transaction.accounts.add(ACCOUNT)
        for credential in (KEY, CODES):
            transaction.credentials.add(credential)
        for session in (SESSION, HALF):
            transaction.login_sessions.add(session)
        transaction.invitations.add(INVITATION)
    return empty


def refused(code: Code) -> "pytest.RaisesExc[KmsError]":
    return pytest.raises(KmsError, match=f"^{code}")


def test_what_was_written_is_read(store: Store) -> None:
    with store.reading() as reading:
        assert reading.people.get(PERSON.id) == PERSON
        assert reading.accounts.find_by_login("bob") == ACCOUNT
        assert reading.accounts.find_by_login("alice") is None
        assert reading.accounts.list_for_person(PERSON.id) == [ACCOUNT]
        assert reading.credentials.list_for_account(ACCOUNT.id) == [KEY, CODES]
        assert reading.login_sessions.find(SESSION.id) == SESSION
        assert reading.login_sessions.get(HALF.id) == HALF
        assert reading.invitations.list_for_account(ACCOUNT.id) == [INVITATION]


def test_names_logins_and_security_keys_are_taken_once(store: Store) -> None:
    with refused(Code.CONFLICT), store.transaction() as transaction:
        transaction.people.add(replace(PERSON, id=build_id(10)))
    with refused(Code.CONFLICT), store.transaction() as transaction:
        transaction.accounts.add(replace(ACCOUNT, id=build_id(10)))
    with refused(Code.CONFLICT), store.transaction() as transaction:
        transaction.credentials.add(replace(KEY, id=build_id(10)))
    with store.transaction() as transaction:
        transaction.credentials.add(replace(CODES, id=build_id(10)))  # no security key: many


def test_a_credential_is_used_as_it_was_read(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.credentials.use(CODES, 7, LATER)
    with refused(Code.LOGIN_REFUSED), store.transaction() as transaction:
        transaction.credentials.use(CODES, 7, LATER)
    with store.reading() as reading:
        assert reading.credentials.get(CODES.id) == replace(CODES, used=7, last_used_at=LATER)


def test_disabled_credentials_are_neither_listed_nor_used(store: Store) -> None:
    with store.transaction() as transaction:
        assert transaction.credentials.disable_for_account(ACCOUNT.id) == 2
        assert transaction.credentials.disable_for_account(ACCOUNT.id) == 0
    with store.reading() as reading:
        assert list(reading.credentials.list_for_account(ACCOUNT.id)) == []
    with refused(Code.LOGIN_REFUSED), store.transaction() as transaction:
        transaction.credentials.use(CODES, 7, LATER)


def test_a_login_ends_once(store: Store) -> None:
    with store.transaction() as transaction:
        assert transaction.login_sessions.end(SESSION.id, LATER)
        assert not transaction.login_sessions.end(SESSION.id, LATER + timedelta(hours=1))
        assert not transaction.login_sessions.end("d" * 64, LATER)
        assert transaction.login_sessions.end_for_account(ACCOUNT.id, LATER) == 1
    with store.reading() as reading:
        assert reading.login_sessions.get(SESSION.id).ended_at == LATER


def test_logins_of_long_ago_are_deleted(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.login_sessions.add(replace(SESSION, id="e" * 64, opened_at=LATER))
        assert transaction.login_sessions.delete_older(LATER) == 2
    with store.reading() as reading:
        assert [item.id for item in reading.login_sessions.list()] == ["e" * 64]


def test_an_invitation_is_used_once_and_as_it_was_offered(store: Store) -> None:
    offered = replace(INVITATION, challenge=b"n" * 32, credential_id=build_id(20))
    with store.transaction() as transaction:
        transaction.invitations.save(offered)
    with refused(Code.LOGIN_INVITATION), store.transaction() as transaction:
        transaction.invitations.use(INVITATION, LATER)
    with store.transaction() as transaction:
        transaction.invitations.use(offered, LATER)
    with refused(Code.LOGIN_INVITATION), store.transaction() as transaction:
        transaction.invitations.use(offered, LATER)
    with store.transaction() as transaction:
        assert transaction.invitations.end_for_account(ACCOUNT.id, LATER) == 0


def test_invitations_of_an_account_are_ended_together(store: Store) -> None:
    with store.transaction() as transaction:
        assert transaction.invitations.end_for_account(ACCOUNT.id, LATER) == 1
    with store.reading() as reading:
        assert reading.invitations.get(INVITATION.id).used_at == LATER


def test_people_enrol_log_in_approve_and_are_locked_out(empty: Store) -> None:
    scene = LoginScene(empty).start()
    principal = scene.log_in("alice").principal
    assert scene.approve(principal, bytes(range(32)), "alice").factor is CredentialKind.WEBAUTHN
    opened = scene.log_in("bob")
    assert scene.logins.authenticate(opened.secret) == opened.principal
    for _ in range(5):
        with refused(Code.LOGIN_REFUSED):
            scene.logins.begin("bob", "not the password")
    with refused(Code.LOGIN_REFUSED):
        scene.logins.begin("bob", PASSWORD)
    scene.people.disable("bob", actor="person Alice Officer")
    with refused(Code.LOGIN_NEEDED):
        scene.logins.authenticate(opened.secret)
    assert len(scene.list_events("account.lock")) == 1


def test_many_attempts_at_once_are_no_more_than_one_after_the_other(empty: Store) -> None:
    scene = LoginScene(empty).start()
    before = scene.passwords.looked_at

    def attempt(_number: int) -> str:
        try:
            scene.logins.begin("bob", "not the password")
        except KmsError as error:
            return error.code
        return "opened"

    with ThreadPoolExecutor(8) as pool:
        codes = set(pool.map(attempt, range(40)))
    # PostgreSQL refuses the later of two that write at the same moment: that attempt was not looked at.
    assert codes <= {Code.LOGIN_REFUSED, Code.VISIT_CONFLICT, Code.DATABASE_UNAVAILABLE}
    assert scene.passwords.looked_at - before <= 5


def test_a_code_that_comes_twice_at_once_is_taken_once(empty: Store) -> None:
    scene = LoginScene(empty).start()
    steps = [scene.logins.begin("bob", PASSWORD).secret for _ in range(3)]
    proof = scene.show_code("bob")

    def finish(secret: str) -> bool:
        try:
            scene.logins.finish(secret, proof)
        except KmsError:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(finish, steps)) <= 1
    assert len(scene.list_events("login.open")) <= 1
