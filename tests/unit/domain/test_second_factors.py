from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from kms.domain.second_factors import build_secret_inputs, build_totp_secret, compute_code, find_step

SEED = b"12345678901234567890"  # RFC 6238 appendix B


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037"), (20000000000, "353130")],
)
def test_the_codes_of_rfc_6238(seconds: int, code: str) -> None:
    """Appendix B has eight digits; six are the last of them."""
    assert compute_code(SEED, seconds // 30) == code


def test_codes_are_those_of_another_implementation() -> None:
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    uri = build_totp_secret(SEED, issuer="issuer", login="bob").uri
    other = pyotp.parse_uri(uri)
    assert isinstance(other, pyotp.TOTP)
    for _ in range(50):
        at += timedelta(seconds=37)
        assert compute_code(SEED, int(at.timestamp()) // 30) == other.at(at)


def test_the_address_for_apps_names_platform_and_login() -> None:
    secret = build_totp_secret(SEED, issuer="my bank", login="bob")
    parts = urlsplit(secret.uri)
    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/my%20bank%3Abob")
    assert parse_qs(parts.query) == {"secret": [secret.text], "issuer": ["my bank"]}
    assert secret.text not in repr(secret)


@pytest.mark.parametrize(("late", "found"), [(-61, False), (-30, True), (0, True), (30, True), (61, False)])
def test_a_code_is_good_in_its_step_and_the_next_ones(late: int, *, found: bool) -> None:
    made = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
    step = int(made.timestamp()) // 30
    now = made + timedelta(seconds=late)
    assert (find_step(SEED, compute_code(SEED, step), now=now, used=0) == step) is found


def test_a_step_that_was_used_and_those_before_it_are_not_found() -> None:
    now = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
    step = int(now.timestamp()) // 30
    assert find_step(SEED, compute_code(SEED, step), now=now, used=step) is None
    assert find_step(SEED, compute_code(SEED, step - 1), now=now, used=step) is None
    assert find_step(SEED, compute_code(SEED, step + 1), now=now, used=step) == step + 1
    assert find_step(SEED, "", now=now, used=0) is None


def test_each_credential_has_messages_of_its_own() -> None:
    messages = {message for name in ("a", "b", "a1") for message in build_secret_inputs(name)}
    assert len(messages) == 6
    assert bytes(16) not in messages
