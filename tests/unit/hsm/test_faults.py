import pytest
from pkcs11 import exceptions

from kms.errors import Code
from kms.hsm.faults import build_refusal, build_unavailable, is_lost


@pytest.mark.parametrize(
    "error",
    [
        exceptions.DeviceRemoved(),
        exceptions.GeneralError(),
        exceptions.ObjectHandleInvalid(),
        exceptions.SessionHandleInvalid(),
        exceptions.UserNotLoggedIn(),
        exceptions.PKCS11Error("Unmapped error code 0x80000101"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_token_and_session_mean_a_new_connection(error: exceptions.PKCS11Error) -> None:
    assert is_lost(error)


@pytest.mark.parametrize(
    "error",
    [exceptions.MechanismInvalid(), exceptions.AttributeReadOnly(), exceptions.PinIncorrect()],
    ids=lambda error: type(error).__name__,
)
def test_refused_operations_leave_the_connection_as_it_is(error: exceptions.PKCS11Error) -> None:
    assert not is_lost(error)


def test_errors_say_what_to_do_and_repeat_no_data() -> None:
    refusal = build_refusal(exceptions.DataInvalid("0123456789ABCDEF"))
    assert refusal.code is Code.HSM_MECHANISM
    assert "DataInvalid" in refusal.detail
    assert "0123456789ABCDEF" not in str(refusal)
    unavailable = build_unavailable("DeviceRemoved")
    assert unavailable.code is Code.HSM_UNAVAILABLE
    assert "try again" in unavailable.detail
