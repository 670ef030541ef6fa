import pytest

from kms.errors import Code, KmsError
from kms.logins.passwords import Argon2Passwords

PASSWORD = "seven brown horses on a hill"


@pytest.fixture(scope="module")
def passwords() -> Argon2Passwords:
    return Argon2Passwords()


def test_a_password_is_hashed_by_argon2id_with_its_parameters_and_a_salt(passwords: Argon2Passwords) -> None:
    stored = passwords.hash(PASSWORD)
    assert stored.startswith(b"$argon2id$v=19$m=65536,t=3,p=4$")
    assert stored != passwords.hash(PASSWORD)
    passwords.check(stored, PASSWORD)


@pytest.mark.parametrize("password", ["", "seven brown horses on a hil", PASSWORD.upper()])
def test_another_password_is_refused(passwords: Argon2Passwords, password: str) -> None:
    stored = passwords.hash(PASSWORD)
    with pytest.raises(KmsError) as failure:
        passwords.check(stored, password)
    assert failure.value.code is Code.LOGIN_REFUSED


@pytest.mark.parametrize("stored", [None, b"", b"no hash", b"$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$"])
def test_without_a_hash_every_password_is_refused(passwords: Argon2Passwords, stored: bytes | None) -> None:
    with pytest.raises(KmsError) as failure:
        passwords.check(stored, PASSWORD)
    assert failure.value.code is Code.LOGIN_REFUSED
