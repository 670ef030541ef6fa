"""The card's connection to a reader, against a reader made of a plain socket."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from terminal.virtual_card import VirtualCard, VpcdConnection, VpcdError, build_factory_state
from terminal.virtual_card.state_file import save_state
from terminal.virtual_card.tear import parse_tear_at, parse_tear_during
from terminal.virtual_card.vpcd import AWAY_SECONDS
from tests.fakes.vpcd_reader import VpcdReader
from tests.unit.terminal.virtual_card.host import FACTORY_KEYS, NEW_KEYS, Host

GET_COUNTER = bytes.fromhex("80CA00C100")


@pytest.fixture
def reader() -> Iterator[VpcdReader]:
    reader = VpcdReader()
    yield reader
    reader.close()


@pytest.fixture
def card() -> VirtualCard:
    return VirtualCard(build_factory_state())


def attach(connection: VpcdConnection, reader: VpcdReader) -> bytes:
    attaching = Thread(target=connection.attach)
    attaching.start()
    atr = reader.take_card()
    attaching.join()
    return atr


def test_a_card_answers_its_atr_and_commands_and_leaves(reader: VpcdReader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port)
    assert attach(connection, reader).hex() == "3b800181"
    assert reader.transmit(GET_COUNTER).hex() == "c10200009000"
    connection.detach()
    assert connection.wait_gone(0)
    assert reader.receive() == b""


@pytest.mark.parametrize("control", [b"\x00", b"\x01", b"\x02"])
def test_power_and_reset_end_the_session_and_are_not_answered(
    reader: VpcdReader, card: VirtualCard, control: bytes
) -> None:
    connection = VpcdConnection(card, reader.port)
    attach(connection, reader)
    host = Host(reader).open(0x01)
    reader.send(control)
    assert reader.transmit(b"\x04").hex() == "3b800181"
    assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "6985"
    connection.pull_out()


@pytest.mark.parametrize(
    ("text", "keys"),
    [("PUT-KEY:before", FACTORY_KEYS), ("PUT-KEY:after", NEW_KEYS), ("PUT-KEY", NEW_KEYS)],
)
def test_a_tear_loses_the_answer_once_and_leaves_the_old_keys_or_the_new(
    reader: VpcdReader, card: VirtualCard, text: str, keys: tuple[bytes, bytes, bytes]
) -> None:
    connection = VpcdConnection(card, reader.port, tear=parse_tear_during(text))
    attach(connection, reader)
    assert Host(reader).open(0x01).put_keys(0x01, 0x01) == (b"", "")
    assert connection.wait_gone(5)
    assert connection.was_torn
    attach(connection, reader)
    assert Host(reader, keys).open(0x01).put_keys(0x01, 0x01)[1] == "9000"
    assert not connection.was_torn
    connection.pull_out()


def test_a_tear_at_a_number_counts_commands_only(reader: VpcdReader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port, tear=parse_tear_at("2"))
    attach(connection, reader)
    assert reader.transmit(GET_COUNTER)[-2:].hex() == "9000"
    reader.transmit(b"\x04")
    assert reader.transmit(GET_COUNTER) == b""
    assert connection.apdu_count == 2


def test_the_card_stays_away_long_enough_for_the_reader_to_notice(reader: VpcdReader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port)
    attach(connection, reader)
    left = time.monotonic()
    connection.pull_out()
    assert time.monotonic() - left >= AWAY_SECONDS
    attach(connection, reader)
    assert reader.transmit(GET_COUNTER)[-2:].hex() == "9000"
    connection.detach()


def test_a_card_that_cannot_keep_its_memory_does_not_answer(reader: VpcdReader, tmp_path: Path) -> None:
    path = tmp_path / "gone" / "card.json"
    card = VirtualCard(build_factory_state(), on_commit=lambda state: save_state(path, state))
    connection = VpcdConnection(card, reader.port)
    attach(connection, reader)
    host = Host(reader)
    assert host.initialize() == "9000"
    assert host.authenticate() == ""
    assert connection.wait_gone(5)
    assert connection.failure is not None
    connection.pull_out()


def test_without_a_reader_the_message_says_what_to_do(reader: VpcdReader, card: VirtualCard) -> None:
    reader.close()
    with pytest.raises(VpcdError, match="start pcscd"):
        VpcdConnection(card, reader.port).attach()


def test_one_card_is_in_one_reader_once_and_notices_when_the_reader_goes(reader: VpcdReader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port)
    attach(connection, reader)
    with pytest.raises(VpcdError, match="already"):
        connection.attach()
    reader.close()
    assert connection.wait_gone(5)
    connection.pull_out()
