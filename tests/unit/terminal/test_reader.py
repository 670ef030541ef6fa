"""Readers and cards through PC/SC, on a stand-in for pyscard."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from smartcard import scard

from terminal.errors import TerminalCode, TerminalError
from terminal.reader import Readers, ReaderStatus
from tests.fakes.pcsc import FakePcsc, FakeReader

ATR = bytes.fromhex("3B800181")


@contextmanager
def open_readers(pcsc: FakePcsc, timeout: float = 5) -> Iterator[Readers]:
    readers = Readers(timeout, pcsc)
    try:
        yield readers
    finally:
        pcsc.release.set()
        readers.close()


@contextmanager
def refused(code: TerminalCode) -> Iterator[None]:
    with pytest.raises(TerminalError) as caught:
        yield
    assert caught.value.code is code
    assert caught.value.problem
    assert caught.value.remedy


def test_readers_and_cards_are_listed() -> None:
    pcsc = FakePcsc({"Left": FakeReader(), "Right": FakeReader(ATR)})
    with open_readers(pcsc) as readers:
        assert readers.list_readers() == (ReaderStatus("Left", False, b""), ReaderStatus("Right", True, ATR))
        assert readers.find_card("") == "Right"
        assert readers.find_card("left") is None
    assert pcsc.threads == {"pcsc"}
    assert pcsc.calls[-1][0] == "SCardReleaseContext"


def test_no_reader_at_all() -> None:
    with open_readers(FakePcsc()) as readers:
        assert readers.list_readers() == ()
        with refused(TerminalCode.READER_NONE):
            readers.find_card("")


def test_no_reader_of_that_name() -> None:
    with open_readers(FakePcsc({"Left": FakeReader(ATR)})) as readers, refused(TerminalCode.READER_NONE):
        readers.find_card("Right")


def test_pcscd_not_running_and_then_running() -> None:
    pcsc = FakePcsc({"Left": FakeReader(ATR)}, {"SCardEstablishContext": [scard.SCARD_E_NO_SERVICE]})
    with open_readers(pcsc) as readers:
        with refused(TerminalCode.PCSC_DOWN):
            readers.list_readers()
        assert readers.find_card("") == "Left"


def test_pcscd_stopped_in_between_is_asked_anew() -> None:
    pcsc = FakePcsc(
        {"Left": FakeReader(ATR)}, {"SCardListReaders": [scard.SCARD_S_SUCCESS, scard.SCARD_E_SERVICE_STOPPED]}
    )
    with open_readers(pcsc) as readers:
        readers.list_readers()
        with refused(TerminalCode.PCSC_DOWN):
            readers.list_readers()
        readers.list_readers()
    assert [name for name, _ in pcsc.calls].count("SCardEstablishContext") == 2


def test_negative_return_codes_mean_the_same() -> None:
    pcsc = FakePcsc({"Left": FakeReader(ATR)}, {"SCardListReaders": [scard.SCARD_E_NO_SERVICE - 2**32]})
    with open_readers(pcsc) as readers, refused(TerminalCode.PCSC_DOWN):
        readers.list_readers()


def test_waiting_for_a_card_ends_when_none_comes() -> None:
    with open_readers(FakePcsc({"Left": FakeReader()})) as readers, refused(TerminalCode.CARD_NONE):
        readers.wait_for_card("", 0)


def test_a_card_that_comes_later_is_found_and_its_removal_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = FakeReader()

    def change(_: float) -> None:
        reader.atr = b"" if reader.atr else ATR

    monkeypatch.setattr("terminal.reader.time.sleep", change)
    with open_readers(FakePcsc({"Left": reader})) as readers:
        assert readers.wait_for_card("", None) == "Left"
        readers.wait_for_removal("Left")
    assert reader.atr == b""


def test_a_card_is_taken_exclusively_and_reset_when_let_go() -> None:
    pcsc = FakePcsc({"Left": FakeReader(ATR)})
    with open_readers(pcsc) as readers:
        card = readers.connect("Left")
        assert (card.atr, card.protocol) == (ATR, "T=1")
        assert card.transmit(bytes.fromhex("00A4040000")) == b"\x90\x00"
        card.reset()
        card.disconnect()
    calls = dict(pcsc.calls)
    assert calls["SCardConnect"][2] == scard.SCARD_SHARE_EXCLUSIVE
    assert calls["SCardTransmit"] == ("Left", scard.SCARD_PCI_T1, [0x00, 0xA4, 0x04, 0x00, 0x00])
    assert calls["SCardReconnect"][3] == scard.SCARD_RESET_CARD
    assert calls["SCardDisconnect"][1] == scard.SCARD_RESET_CARD


def test_t0_fetches_the_answer() -> None:
    def answer(tpdu: bytes) -> bytes:
        return b"\x01\x02\x90\x00" if tpdu[1] == 0xC0 else b"\x61\x02"

    pcsc = FakePcsc({"Left": FakeReader(ATR, scard.SCARD_PROTOCOL_T0, answer)})
    with open_readers(pcsc) as readers:
        card = readers.connect("Left")
        assert card.protocol == "T=0"
        assert card.transmit(bytes.fromhex("80500000020102" + "00")) == b"\x01\x02\x90\x00"
    sent = [arguments[2] for name, arguments in pcsc.calls if name == "SCardTransmit"]
    assert sent == [[0x80, 0x50, 0, 0, 2, 1, 2], [0x00, 0xC0, 0, 0, 2]]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (scard.SCARD_W_REMOVED_CARD, TerminalCode.CARD_GONE),
        (scard.SCARD_W_RESET_CARD, TerminalCode.CARD_GONE),
        (scard.SCARD_E_NO_SMARTCARD, TerminalCode.CARD_GONE),
        (scard.SCARD_E_NOT_TRANSACTED, TerminalCode.CARD_GONE),
        (scard.SCARD_E_READER_UNAVAILABLE, TerminalCode.READER_GONE),
        (scard.SCARD_E_NO_SERVICE, TerminalCode.PCSC_DOWN),
        (scard.SCARD_F_INTERNAL_ERROR, TerminalCode.READER_FAILED),
    ],
)
def test_trouble_while_talking_is_named(code: int, meaning: TerminalCode) -> None:
    pcsc = FakePcsc({"Left": FakeReader(ATR)}, {"SCardTransmit": [code], "SCardDisconnect": [code]})
    with open_readers(pcsc) as readers:
        card = readers.connect("Left")
        with refused(meaning):
            card.transmit(bytes.fromhex("00A4040000"))
        card.disconnect()


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (scard.SCARD_E_SHARING_VIOLATION, TerminalCode.READER_BUSY),
        (scard.SCARD_E_NO_SMARTCARD, TerminalCode.CARD_NONE),
        (scard.SCARD_W_UNRESPONSIVE_CARD, TerminalCode.CARD_MUTE),
        (scard.SCARD_W_UNPOWERED_CARD, TerminalCode.CARD_GONE),
        (scard.SCARD_E_UNKNOWN_READER, TerminalCode.READER_GONE),
    ],
)
def test_trouble_while_connecting_is_named(code: int, meaning: TerminalCode) -> None:
    pcsc = FakePcsc({"Left": FakeReader(ATR)}, {"SCardConnect": [code]})
    with open_readers(pcsc) as readers, refused(meaning):
        readers.connect("Left")


def test_a_reader_that_never_answers_does_not_hold_the_terminal() -> None:
    pcsc = FakePcsc({"Left": FakeReader(ATR)}, blocked={"SCardConnect"})
    with open_readers(pcsc, timeout=0.1) as readers:
        with refused(TerminalCode.READER_STUCK):
            readers.connect("Left")
        with refused(TerminalCode.READER_STUCK):
            readers.list_readers()
        readers.close()
