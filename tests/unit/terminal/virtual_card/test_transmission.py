"""T=0: data wait for GET RESPONSE; 61xx and 6Cxx."""

import pytest

from terminal.virtual_card import VirtualCard, build_factory_state
from terminal.virtual_card.transmission import TransmissionProtocol

SELECT_ANSWER = "6F108408A000000151000000A5049F6501FF"


@pytest.fixture
def card() -> VirtualCard:
    return VirtualCard(build_factory_state(), protocol=TransmissionProtocol.T0)


def send(card: VirtualCard, command: str) -> str:
    return card.transmit(bytes.fromhex(command)).hex().upper()


@pytest.mark.parametrize(
    "select", ["00A4040000", "00A40400", "00A4040008A000000151000000", "00A4040008A00000015100000000"]
)
@pytest.mark.parametrize("cla", ["00", "80", "84", "A0"])
def test_data_wait_for_get_response_whatever_its_class(card: VirtualCard, select: str, cla: str) -> None:
    assert send(card, select) == "6112"
    assert send(card, cla + "C0000012") == SELECT_ANSWER + "9000"
    assert send(card, cla + "C0000012") == "6985"


def test_data_may_be_fetched_in_parts(card: VirtualCard) -> None:
    assert send(card, "00A4040000") == "6112"
    assert send(card, "00C0000010") == SELECT_ANSWER[:32] + "6102"
    assert send(card, "00C0000000") == SELECT_ANSWER[32:] + "9000"


def test_asking_for_too_much_is_told(card: VirtualCard) -> None:
    assert send(card, "00A4040000") == "6112"
    assert send(card, "00C0000020") == "6C12"
    assert send(card, "00C0000012") == SELECT_ANSWER + "9000"


def test_another_command_drops_what_waits(card: VirtualCard) -> None:
    assert send(card, "00A4040000") == "6112"
    assert send(card, "80CA00C104") == "C10200009000"
    assert send(card, "00C0000012") == "6985"


@pytest.mark.parametrize("reset", [True, False])
def test_reset_and_malformed_commands_drop_what_waits(card: VirtualCard, reset: bool) -> None:
    assert send(card, "00A4040000") == "6112"
    if reset:
        card.reset()
    else:
        assert send(card, "00A4") == "6700"
    assert send(card, "00C0000012") == "6985"


@pytest.mark.parametrize("le", ["02", "06"])
def test_a_wrong_expected_length_is_answered_with_the_right_one(card: VirtualCard, le: str) -> None:
    assert send(card, "80CA00C1" + le) == "6C04"


def test_an_expected_length_of_256_takes_what_there_is(card: VirtualCard) -> None:
    assert send(card, "80CA00C100") == "C10200009000"


def test_the_status_word_comes_with_the_data(card: VirtualCard) -> None:
    assert send(card, "80500000080102030405060708") == "611C"
    assert send(card, "80C000001C").endswith("9000")


def test_with_t1_there_is_no_get_response() -> None:
    card = VirtualCard(build_factory_state())
    assert send(card, "00C0000012") == "6D00"
