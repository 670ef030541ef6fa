"""What a PKCS#11 error means for us: connection lost, PIN refused, or an operation that this token does not do.

Rules: a lost connection is never repaired by repeating the call that noticed it: an old handle may name another object
by then. The caller starts its step again. Error texts name the PKCS#11 error and nothing else of the call.
"""

from pkcs11 import exceptions

from kms.errors import Code, KmsError

LOST = (
    exceptions.DeviceError,
    exceptions.DeviceMemory,
    exceptions.DeviceRemoved,
    exceptions.FunctionFailed,
    exceptions.GeneralError,
    exceptions.HostMemory,
    # A key that was there a moment ago is not: the token went away, and came back perhaps (SoftHSM2 answers this).
    exceptions.KeyHandleInvalid,
    exceptions.ObjectHandleInvalid,
    exceptions.OperationActive,  # a call was cut off half way; only a new session is clean
    exceptions.SessionClosed,
    exceptions.SessionHandleInvalid,
    exceptions.SlotIDInvalid,
    exceptions.TokenNotPresent,
    exceptions.TokenNotRecognised,
    exceptions.UserNotLoggedIn,
    exceptions.WrappingKeyHandleInvalid,
)

PIN_REFUSED = (
    exceptions.PinExpired,
    exceptions.PinIncorrect,
    exceptions.PinInvalid,
    exceptions.PinLenRange,
    exceptions.PinLocked,
    exceptions.UserPinNotInitialized,
)


class ConnectionLostError(Exception):
    """Raised inside the adapter when an answer shows that the token was away; its text says what was noticed."""


def is_lost(error: exceptions.PKCS11Error) -> bool:
    """Whether the connection must be opened anew.

    Codes that python-pkcs11 does not know arrive as the bare base class: "not initialised" and the vendors' own codes,
    which for a network HSM mean its network; both are taken as lost.
    """
    return isinstance(error, LOST) or type(error) is exceptions.PKCS11Error


def build_unavailable(reason: str) -> KmsError:
    """The error for a token that cannot be reached now."""
    return KmsError(Code.HSM_UNAVAILABLE, f"the HSM cannot be reached ({reason}); try again in a moment")


def build_refusal(error: exceptions.PKCS11Error) -> KmsError:
    """The error for an operation that the token refused although it is there."""
    return KmsError(
        Code.HSM_MECHANISM,
        f"the HSM refused an operation ({type(error).__name__}); `kms hsm status` shows what the token can do",
    )
