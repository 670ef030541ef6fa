"""The card's connection to a reader, against a reader made of a plain socket."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from terminal.virtual_card import VirtualCard, VpcdConnection, VpcdError, build_factory_state
from terminal.virtual_card.state_file import save_state
from terminal.virtual_card.tear import parse_tear_at, parse_tear_during
from terminal.virtual_card.vpcd import AWAY_SECONDS
from tests.unit.terminal.virtual_card.host import Host, apdu

GET_COUNTER = bytes.fromhex("80CA00C100")


class Reader:
    """What vpcd does: accepts a card, asks for its ATR, sends what it is told."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._card: socket.socket | None = None

    def attach(self, connection: VpcdConnection) -> bytes:
        if self._card is not None:
            self._card.close()
        attaching = Thread(target=connection.attach)
        attaching.start()
        self._card, _address = self._server.accept()
        self._card.settimeout(5)
        atr = self.exchange(b"\x04")
        attaching.join()
        return atr

    def exchange(self, payload: bytes) -> bytes:
        self.send(payload)
        return self.receive()

    def send(self, payload: bytes) -> None:
        assert self._card is not None
        self._card.sendall(len(payload).to_bytes(2, "big") + payload)

    def receive(self) -> bytes:
        """Return one answer, nothing when the card is gone."""
        assert self._card is not None
        header = self._card.recv(2)
        return self._card.recv(int.from_bytes(header, "big")) if header else b""

    def close(self) -> None:
        if self._card is not None:
            self._card.close()
        self._server.close()


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture
def card() -> VirtualCard:
    return VirtualCard(build_factory_state())


def test_a_card_answers_its_atr_and_commands_and_leaves(reader: Reader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port)
    assert reader.attach(connection).hex() == "3b800181"
    assert reader.exchange(GET_COUNTER).hex() == "c10200009000"
    connection.detach()
    assert connection.wait_gone(0)
    assert reader.receive() == b""


def test_power_and_reset_end_the_session_and_are_not_answered(reader: Reader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port)
    reader.attach(connection)
    for control in (b"\x00", b"\x01", b"\x02"):
        host = Host(card).open(0x01)
        reader.send(control)
        assert reader.exchange(b"\x04").hex() == "3b800181"
        assert host.sw(0xF2, 0x80, 0x02, b"\x4f\x00") == "6985"
    connection.pull_out()


@pytest.mark.parametrize(("text", "counter"), [("PUT-KEY:before", 1), ("PUT-KEY:after", 0), ("PUT-KEY", 0)])
def test_a_tear_loses_the_answer_once_and_the_card_comes_back(
    reader: Reader, card: VirtualCard, text: str, counter: int
) -> None:
    connection = VpcdConnection(card, reader.port, tear=parse_tear_during(text))
    reader.attach(connection)
    host = Host(card).open(0x01)
    fields = b"".join(host.key_field(key) for key in host.keys)
    assert reader.exchange(host.wrap(0xD8, 0x01, 0x81, b"\x01" + fields)) == b""
    assert connection.wait_gone(5)
    assert connection.was_torn
    assert card.state.isd.key_sets[0].sequence_counter == counter
    reader.attach(connection)
    host.open(0x01)
    assert reader.exchange(host.wrap(0xD8, 0x01, 0x81, b"\x01" + fields))[-2:].hex() in {"9000", "6982"}
    assert not connection.was_torn
    connection.pull_out()


def test_a_tear_at_a_number_counts_commands_only(reader: Reader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port, tear=parse_tear_at("2"))
    reader.attach(connection)
    assert reader.exchange(GET_COUNTER)[-2:].hex() == "9000"
    reader.exchange(b"\x04")
    assert reader.exchange(GET_COUNTER) == b""
    assert connection.apdu_count == 2


def test_the_card_stays_away_long_enough_for_the_reader_to_notice(reader: Reader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port)
    reader.attach(connection)
    left = time.monotonic()
    connection.pull_out()
    assert time.monotonic() - left >= AWAY_SECONDS
    reader.attach(connection)
    assert reader.exchange(GET_COUNTER)[-2:].hex() == "9000"
    connection.detach()


def test_a_card_that_cannot_keep_its_memory_does_not_answer(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "gone" / "card.json"
    card = VirtualCard(build_factory_state(), on_commit=lambda state: save_state(path, state))
    connection = VpcdConnection(card, reader.port)
    reader.attach(connection)
    fresh = Host(VirtualCard(build_factory_state()))
    fresh.initialize()
    reader.exchange(apdu(0x80, 0x50, 0, 0, bytes.fromhex("0102030405060708")))
    fresh.authenticate()
    header = bytes.fromhex("8482010010")
    recorded: list[bytes] = []
    twin = VirtualCard(build_factory_state())
    original = twin.transmit
    twin.transmit = lambda command: recorded.append(command) or original(command)  # type: ignore[method-assign, func-returns-value] # records what a host sends
    Host(twin).open(0x01)
    assert recorded[-1].startswith(header)
    assert reader.exchange(recorded[-1]) == b""
    assert connection.wait_gone(5)
    assert connection.failure is not None
    connection.pull_out()


def test_without_a_reader_the_message_says_what_to_do(card: VirtualCard, reader: Reader) -> None:
    reader.close()
    with pytest.raises(VpcdError, match="start pcscd"):
        VpcdConnection(card, reader.port).attach()


def test_one_card_is_in_one_reader_once(reader: Reader, card: VirtualCard) -> None:
    connection = VpcdConnection(card, reader.port)
    reader.attach(connection)
    with pytest.raises(VpcdError, match="already"):
        connection.attach()
    reader.close()
    assert connection.wait_gone(5)
    connection.pull_out()
