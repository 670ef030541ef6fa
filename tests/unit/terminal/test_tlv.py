"""BER-TLV as far as a terminal needs it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminal.tlv import find_value, parse_tlvs


def test_tags_of_one_and_two_bytes_and_all_lengths() -> None:
    data = bytes.fromhex("4202AABB9F7F01CC45818001") + b"\x02" * 127 + bytes.fromhex("50820100") + b"\x03" * 256
    assert [(tag, len(value)) for tag, value in parse_tlvs(data)] == [(0x42, 2), (0x9F7F, 1), (0x45, 128), (0x50, 256)]


@pytest.mark.parametrize("text", ["42", "4205AABB", "9F", "9F7F", "9F8101", "4280", "428301000000", "4281", "428201"])
def test_cut_off_or_overlong_data_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cut off"):
        parse_tlvs(bytes.fromhex(text))


@given(st.binary(max_size=40))
def test_any_bytes_parse_or_are_a_value_error(data: bytes) -> None:
    try:
        items = parse_tlvs(data)
    except ValueError:
        return
    assert sum(len(value) for _, value in items) <= len(data)


def test_values_are_found_one_inside_the_other() -> None:
    fci = bytes.fromhex("6F0A8408A000000151000000")
    assert find_value(fci, 0x6F, 0x84) == bytes.fromhex("A000000151000000")
    assert find_value(fci, 0x6F, 0x50) is None
    assert find_value(fci[:-1], 0x6F, 0x84) is None
