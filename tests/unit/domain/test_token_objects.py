from kms.domain.keys import PlatformKeyPurpose
from kms.domain.token_objects import ExpectedObject


def test_a_key_must_be_there_once_it_is_made() -> None:
    assert ExpectedObject("pair", bytes(16), pair=(PlatformKeyPurpose.SIGNING, b"public")).is_made
    assert not ExpectedObject("planned", bytes(16)).is_made
