"""The UICC face: MF and EF.DIR."""

from terminal.virtual_card import VirtualCard
from tests.unit.terminal.virtual_card.host import sw_of


def send(card: VirtualCard, command: str) -> str:
    return card.transmit(bytes.fromhex(command)).hex().upper()


def test_the_mf_answers_its_control_parameters(card: VirtualCard) -> None:
    assert send(card, "00A40004023F0000") == "620B8202782183023F008A01059000"
    assert send(card, "00A4000400") == "620B8202782183023F008A01059000"


def test_the_directory_names_the_isd(card: VirtualCard) -> None:
    assert send(card, "00A40004022F0000") == "62128205422100200183022F008A0105800200209000"
    assert send(card, "00B2010420") == "610A4F08A000000151000000".ljust(64, "F") + "9000"
    assert send(card, "00B2020420") == "6A83"
    assert send(card, "00B2010220") == "6A86"


def test_records_need_the_directory_selected(card: VirtualCard) -> None:
    assert send(card, "00B2010420") == "6985"
    send(card, "00A40004023F0000")
    assert send(card, "00B2010420") == "6985"


def test_other_files_are_not_there(card: VirtualCard) -> None:
    assert sw_of(card.transmit(bytes.fromhex("00A40004022FE200"))) == "6A82"
    assert sw_of(card.transmit(bytes.fromhex("00A40004032FE20000"))) == "6700"
    assert sw_of(card.transmit(bytes.fromhex("A0A40000023F00"))) == "6E00"
