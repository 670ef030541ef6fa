"""The gateway without a token: what it says and how fast."""

import time

import pytest

from kms.errors import Code, KmsError
from kms.hsm.gateway import Gateway
from kms.hsm.settings import HsmSettings

ABSENT = HsmSettings("/nonexistent/library.so", "label", "1234-secret", first_retry_s=60.0, longest_retry_s=60.0)


def use(gateway: Gateway) -> None:
    with gateway.connect():
        pytest.fail("there is no token")


def test_a_library_that_is_not_there_is_named() -> None:
    with pytest.raises(KmsError, match=r"/nonexistent/library\.so") as failure:
        use(Gateway(ABSENT))
    assert failure.value.code is Code.HSM_UNAVAILABLE


def test_after_a_failure_calls_fail_at_once_with_the_same_reason() -> None:
    gateway = Gateway(ABSENT)
    start = time.monotonic()
    for _ in range(100):
        with pytest.raises(KmsError, match="library"):
            use(gateway)
    assert time.monotonic() - start < 1


def test_a_gateway_that_was_never_opened_is_not_ready() -> None:
    gateway = Gateway(ABSENT)
    with pytest.raises(KmsError, match="not opened yet") as failure:
        gateway.check()
    assert failure.value.code is Code.HSM_UNAVAILABLE
    assert gateway.get_call_age() == 0
    gateway.close()


def test_the_pin_is_in_no_repr() -> None:
    assert "1234-secret" not in repr(ABSENT) + repr(Gateway(ABSENT))
