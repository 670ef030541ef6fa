"""BER-TLV, read strictly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminal.virtual_card.status import CardError
from terminal.virtual_card.tlv import build_length, build_tlv, parse_tlvs, read_length


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0x4F, 0xC9, 0x9F70, 0x9F7F, 0xE3]), st.binary(max_size=300)), max_size=4))
def test_what_is_built_is_read_back(objects: list[tuple[int, bytes]]) -> None:
    assert parse_tlvs(b"".join(build_tlv(tag, value) for tag, value in objects)) == objects


@pytest.mark.parametrize(("length", "form"), [(0, "00"), (127, "7f"), (128, "8180"), (255, "81ff"), (256, "820100")])
def test_length_forms(length: int, form: str) -> None:
    assert build_length(length).hex() == form
    assert read_length(bytes.fromhex(form), 0) == (length, len(form) // 2)


@pytest.mark.parametrize("data", ["4F", "4F01", "9F", "9F70", "9F7001", "4F80", "4F8400000000", "4F82", "9F81010100"])
def test_what_does_not_end_where_it_says_is_refused(data: str) -> None:
    with pytest.raises(CardError) as caught:
        parse_tlvs(bytes.fromhex(data))
    assert caught.value.sw == 0x6A80


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        objects = parse_tlvs(data)
    except CardError:
        return
    assert sum(len(value) + 2 for _tag, value in objects) <= len(data)
