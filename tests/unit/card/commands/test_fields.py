import pytest

from kms.card.commands.fields import build_lv, check_aid, check_kid, check_kvn
from kms.errors import Code, KmsError


@pytest.mark.parametrize("length", [5, 16])
def test_an_aid_has_5_to_16_bytes(length: int) -> None:
    check_aid(bytes(length), "module")


@pytest.mark.parametrize("length", [0, 4, 17])
def test_another_length_is_refused_by_the_aids_name(length: int) -> None:
    with pytest.raises(KmsError, match=f"the module AID has {length} bytes") as refused:
        check_aid(bytes(length), "module")
    assert refused.value.code is Code.APDU_INVALID


def test_key_numbers_stay_in_their_ranges() -> None:
    for kvn in (0x01, 0x7F):
        check_kvn(kvn)
    for kid in (0x00, 0x7F):
        check_kid(kid)
    for kvn in (-1, 0x00, 0x80, 0xFF):
        with pytest.raises(KmsError, match="outside 01-7F"):
            check_kvn(kvn)
    for kid in (-1, 0x80):
        with pytest.raises(KmsError, match="outside 00-7F"):
            check_kid(kid)


@pytest.mark.parametrize(("length", "prefix"), [(0, "00"), (5, "05"), (128, "8180")])
def test_a_field_is_preceded_by_its_length(length: int, prefix: str) -> None:
    assert build_lv(bytes(length)) == bytes.fromhex(prefix) + bytes(length)
