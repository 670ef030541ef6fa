"""The virtual card in a real PC/SC stack: pcscd, vpcd and pyscard."""

import time
from collections.abc import Iterator

import pytest

from terminal.virtual_card import VirtualCard, VpcdConnection, VpcdError, build_factory_state
from terminal.virtual_card.transmission import TransmissionProtocol
from terminal.virtual_card.vpcd import DEFAULT_PORT

# The slots of the Debian package; another card may be in one of them.
READERS = {DEFAULT_PORT: "Virtual PCD 00 00", DEFAULT_PORT + 1: "Virtual PCD 00 01"}


@pytest.fixture
def reader_and_connection(request: pytest.FixtureRequest) -> Iterator[tuple[str, VpcdConnection]]:
    for port, name in READERS.items():
        connection = VpcdConnection(VirtualCard(build_factory_state(), protocol=request.param), port)
        try:
            connection.attach()
        except VpcdError:
            continue
        yield name, connection
        connection.detach()
        return
    pytest.skip("no free virtual reader: pcscd with vsmartcard-vpcd does not run, or its slots are taken")


def transmit(connection: object, command: str) -> str:
    data, sw1, sw2 = connection.transmit(list(bytes.fromhex(command)))  # type: ignore[attr-defined] # pyscard has no types
    return (bytes(data) + bytes([sw1, sw2])).hex().upper()


@pytest.mark.pcsc
@pytest.mark.parametrize("reader_and_connection", list(TransmissionProtocol), indirect=True)
def test_pyscard_selects_the_isd_and_begins_a_channel(reader_and_connection: tuple[str, VpcdConnection]) -> None:
    from smartcard.Exceptions import CardConnectionException, NoCardException  # noqa: PLC0415 - loads the PC/SC library
    from smartcard.System import readers  # noqa: PLC0415 - the same

    name, connection = reader_and_connection
    reader = next(item for item in readers() if item.name == name)
    pcsc = reader.createConnection()
    deadline = time.monotonic() + 5
    while True:
        try:
            pcsc.connect()
            break
        except (NoCardException, CardConnectionException):
            assert time.monotonic() < deadline, "the card did not show up in the reader"
            time.sleep(0.1)
    started = time.monotonic()
    answer = transmit(pcsc, "00A4040000")
    if answer.startswith("61"):
        answer = transmit(pcsc, f"00C00000{answer[2:]}")
    assert answer == "6F108408A000000151000000A5049F6501FF9000"
    answer = transmit(pcsc, "80500000080102030405060708")
    if answer.startswith("61"):
        answer = transmit(pcsc, f"00C00000{answer[2:]}")
    assert answer.startswith("00010203040506070809" + "0102" + "0000")
    assert answer.endswith("9000")
    assert time.monotonic() - started < 0.5
    pcsc.disconnect()
    assert connection.apdu_count >= 2
