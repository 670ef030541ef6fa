import pytest

from kms.console.attempts import MAX_ADDRESSES, AttemptLimiter
from kms.errors import Code, KmsError


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def check_refused(limiter: AttemptLimiter, address: str) -> None:
    with pytest.raises(KmsError) as error:
        limiter.check(address)
    assert error.value.code is Code.LOGIN_LOCKED


def test_one_address_may_try_so_often_in_a_minute() -> None:
    seconds = Seconds()
    limiter = AttemptLimiter(seconds, attempts=3)
    for _ in range(3):
        limiter.check("192.0.2.1")
    check_refused(limiter, "192.0.2.1")
    limiter.check("192.0.2.2")
    seconds.now = 59.9
    check_refused(limiter, "192.0.2.1")
    seconds.now = 60
    limiter.check("192.0.2.1")


def test_addresses_do_not_fill_the_memory() -> None:
    limiter = AttemptLimiter(Seconds())
    for number in range(MAX_ADDRESSES + 5):
        limiter.check(f"2001:db8::{number:x}")
    assert len(limiter._seen) <= MAX_ADDRESSES  # noqa: SLF001 - what it holds is what is tested
