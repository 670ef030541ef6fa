import pytest

from kms.card.commands import build_delete_key, build_delete_object
from kms.errors import Code, KmsError


@pytest.mark.parametrize(
    ("kvn", "kid", "encoded"),
    [
        (0x20, None, "80E4000003D2012000"),
        (0xFF, None, "80E4000003D201FF00"),
        (None, 0x01, "80E4000003D0010100"),
        (0x30, 0x02, "80E4000006D00102D2013000"),
    ],
)
def test_keys_are_deleted_by_version_identifier_or_both(kvn: int | None, kid: int | None, encoded: str) -> None:
    assert build_delete_key(kvn, kid).to_bytes().hex().upper() == encoded


@pytest.mark.parametrize(("kvn", "kid"), [(None, None), (0x00, None), (0x80, None), (0x20, 0x80), (0x20, -1)])
def test_a_deletion_that_names_no_key_is_refused(kvn: int | None, kid: int | None) -> None:
    with pytest.raises(KmsError) as refused:
        build_delete_key(kvn, kid)
    assert refused.value.code is Code.APDU_INVALID


def test_card_content_is_deleted_alone_or_with_what_was_made_from_it() -> None:
    aid = bytes.fromhex("A000000151000001")

    assert build_delete_object(aid).to_bytes().hex().upper() == "80E400000A4F08A00000015100000100"
    assert build_delete_object(aid, related=True).p2 == 0x80
    with pytest.raises(KmsError):
        build_delete_object(b"")
