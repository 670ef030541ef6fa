import pytest

from kms.domain.passwords import MAX_LENGTH, check_password, normalise_password
from kms.errors import Code, KmsError


@pytest.mark.parametrize(
    "password",
    ["seven brown horses", "Tr0ub4dor&3xyz", "drei kleine Löwen", "alice likes seven horses", "x1" * 6 + "abcd"],
)
def test_passwords_that_are_taken(password: str) -> None:
    check_password(password, login="alice", name="Alice Officer")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "elevenchars",
        "x" * (MAX_LENGTH + 1),
        "aaaaaaaaaaaaaaaa",
        "abababababab",
        "Password2026!",
        "PASSWORDPASSWORD",
        "qwertyuiop123",
        "correcthorsebatterystaple",
        "1q2w3e4r5t6y",
        "123456789012",
        "AliceOfficer2026",
        "alicealicealice",
    ],
)
def test_passwords_that_everybody_tries_first(password: str) -> None:
    with pytest.raises(KmsError) as failure:
        check_password(password, login="alice", name="Alice Officer")
    assert failure.value.code is Code.INPUT_INVALID
    assert not password or password not in str(failure.value)


def test_the_same_characters_are_the_same_password_on_every_keyboard() -> None:
    assert normalise_password("cafe\u0301 au lait") == normalise_password("caf\u00e9 au lait")


def test_a_password_that_is_too_long_is_never_the_same_as_one_that_is_not() -> None:
    longest = "ab" * (MAX_LENGTH // 2)
    assert normalise_password(longest) == longest
    assert normalise_password(longest + "c" * 10_000) != longest
