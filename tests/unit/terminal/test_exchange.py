"""GET RESPONSE, wrong Le and T=0 at the reader."""

import pytest

from terminal.errors import TerminalCode, TerminalError
from terminal.exchange import transmit_whole


class Line:
    """A card on a wire that answers what it was given, in turn."""

    def __init__(self, *answers: str) -> None:
        self.answers = [bytes.fromhex(answer) for answer in answers]
        self.sent: list[str] = []

    def __call__(self, tpdu: bytes) -> bytes:
        self.sent.append(tpdu.hex().upper())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_an_answer_is_handed_on_as_it_is() -> None:
    line = Line("AABB6A88")
    assert transmit_whole(line, bytes.fromhex("80CA006600"), t0=False) == bytes.fromhex("AABB6A88")
    assert line.sent == ["80CA006600"]


def test_the_rest_of_an_answer_is_fetched() -> None:
    line = Line("6102", "AABB6101", "CC9000")
    assert transmit_whole(line, bytes.fromhex("80CA006600"), t0=False) == bytes.fromhex("AABBCC9000")
    assert line.sent[1:] == ["00C0000002", "00C0000001"]


def test_get_response_keeps_the_logical_channel_and_no_secure_messaging() -> None:
    line = Line("6102", "AABB9000")
    transmit_whole(line, bytes.fromhex("86F24000024F00"), t0=False)
    assert line.sent[1] == "02C0000002"


def test_a_wrong_le_is_put_right() -> None:
    line = Line("6C02", "AABB9000")
    assert transmit_whole(line, bytes.fromhex("80CA006600"), t0=False) == bytes.fromhex("AABB9000")
    assert line.sent == ["80CA006600", "80CA006602"]


def test_a_wrong_le_of_a_case_4_command_keeps_its_data() -> None:
    line = Line("6C02", "AABB9000")
    transmit_whole(line, bytes.fromhex("80500000021122" + "00"), t0=False)
    assert line.sent == ["8050000002112200", "8050000002112202"]


def test_a_wrong_le_of_get_response_is_put_right() -> None:
    line = Line("6100", "6C02", "AABB9000")
    assert transmit_whole(line, bytes.fromhex("80CA006600"), t0=True) == bytes.fromhex("AABB9000")
    assert line.sent[1:] == ["00C0000000", "00C0000002"]


def test_t0_has_no_le_in_case_4() -> None:
    line = Line("611C", "00" * 28 + "9000")
    transmit_whole(line, bytes.fromhex("8050000008" + "11" * 8 + "00"), t0=True)
    assert line.sent == ["8050000008" + "11" * 8, "00C000001C"]


@pytest.mark.parametrize("command", ["80F28002", "80CA006600", "84D8018102AABB"])
def test_t0_leaves_other_cases_alone(command: str) -> None:
    line = Line("9000")
    transmit_whole(line, bytes.fromhex(command), t0=True)
    assert line.sent == [command]


@pytest.mark.parametrize("answers", [("90",), ("6110", "61"), ("6105", "6105"), ("AA6105", "AA6101")])
def test_a_card_that_never_finishes_is_named(answers: tuple[str, ...]) -> None:
    with pytest.raises(TerminalError) as caught:
        transmit_whole(Line(*answers), bytes.fromhex("80CA006600"), t0=False)
    assert caught.value.code is TerminalCode.CARD_PROTOCOL


def test_a_second_wrong_le_is_the_answer() -> None:
    assert transmit_whole(Line("6C02"), bytes.fromhex("80CA006600"), t0=False) == bytes.fromhex("6C02")


@pytest.mark.parametrize("answers", [("",), ("6110", "")])
def test_no_answer_at_all_means_that_the_card_left(answers: tuple[str, ...]) -> None:
    with pytest.raises(TerminalError) as caught:
        transmit_whole(Line(*answers), bytes.fromhex("80CA006600"), t0=True)
    assert caught.value.code is TerminalCode.CARD_GONE
