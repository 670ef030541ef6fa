"""Reading command APDUs."""

import pytest

from terminal.virtual_card.apdu import CommandApdu, ResponseApdu, parse_command
from terminal.virtual_card.status import CardError


@pytest.mark.parametrize(
    ("raw", "data", "le"),
    [
        ("80CA00E0", "", None),
        ("80CA00E000", "", 256),
        ("80CA00E014", "", 20),
        ("80F28002024F00", "4F00", None),
        ("80F28002024F0000", "4F00", 256),
        ("80F28002024F0010", "4F00", 16),
        ("80CA00E00000", "", 256),
    ],
)
def test_the_four_cases(raw: str, data: str, le: int | None) -> None:
    command = parse_command(bytes.fromhex(raw))
    assert (command.data.hex().upper(), command.le) == (data, le)


@pytest.mark.parametrize(
    "raw", ["", "80", "80CA00", "80F28002034F00", "80F28002024F000000", "80F28002000002" + "4F00", "80F280020200"]
)
def test_lengths_that_do_not_agree_are_6700(raw: str) -> None:
    with pytest.raises(CardError) as caught:
        parse_command(bytes.fromhex(raw))
    assert caught.value.sw == 0x6700


def test_data_do_not_show_in_a_repr() -> None:
    assert "4f" not in repr(CommandApdu(0x80, 0xD8, 0, 0, bytes.fromhex("4F4F"))).lower()
    assert "4f" not in repr(ResponseApdu(bytes.fromhex("4F4F"), 0x9000)).lower()
