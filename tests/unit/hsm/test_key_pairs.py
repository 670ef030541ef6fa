"""What a pair's templates say (tests/contract/test_token_key_exchange.py shows what a token makes of them)."""

from typing import cast

import pytest
from pkcs11 import Attribute, MechanismFlag

from kms.domain.keys import PlatformKeyPurpose
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection
from kms.hsm.key_pairs import PAIRS, generate_key_pair


@pytest.mark.parametrize("purpose", list(PlatformKeyPurpose))
def test_a_private_half_stays_in_the_token_and_does_one_thing(purpose: PlatformKeyPurpose) -> None:
    private, public = PAIRS[purpose].private, PAIRS[purpose].public
    rights = {
        PlatformKeyPurpose.SIGNING: (MechanismFlag.SIGN, MechanismFlag.VERIFY),
        PlatformKeyPurpose.AUDIT: (MechanismFlag.SIGN, MechanismFlag.VERIFY),
        PlatformKeyPurpose.TRANSPORT: (MechanismFlag.UNWRAP, MechanismFlag.WRAP),
    }
    assert (private.capabilities, public.capabilities) == rights[purpose]
    true = {name for name, value in private.attributes.items() if value}
    assert true == {Attribute.TOKEN, Attribute.PRIVATE, Attribute.SENSITIVE}
    assert {name for name, value in public.attributes.items() if value} == {Attribute.TOKEN, Attribute.PRIVATE}


def test_an_object_id_has_16_bytes() -> None:
    with pytest.raises(KmsError) as failure:
        generate_key_pair(cast("Connection", None), b"short", "signing", PlatformKeyPurpose.SIGNING)
    assert failure.value.code is Code.INPUT_INVALID
