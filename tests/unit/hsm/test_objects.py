from pkcs11 import Key
from pkcs11.types import DecryptMixin, UnwrapMixin, WrapMixin

from kms.hsm.objects import is_dangerous


class Wrapping(WrapMixin, Key):
    """An object with CKA_WRAP."""


class WrappingAndDecrypting(DecryptMixin, Wrapping):
    """The same with CKA_DECRYPT."""


class WrappingAndUnwrapping(UnwrapMixin, Wrapping):
    """The same with CKA_UNWRAP."""


class Decrypting(DecryptMixin, Key):
    """An object with CKA_DECRYPT alone."""


def test_what_wraps_and_opens_what_it_wrapped_is_dangerous() -> None:
    assert is_dangerous(WrappingAndDecrypting())
    assert is_dangerous(WrappingAndUnwrapping())


def test_what_does_one_of_both_is_not() -> None:
    assert not is_dangerous(Wrapping())
    assert not is_dangerous(Decrypting())
