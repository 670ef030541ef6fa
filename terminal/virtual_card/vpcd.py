"""The card's way into a PC/SC reader: a TCP client of vsmartcard's vpcd driver. The only sockets of this package.

Each message has a 2-byte big-endian length. A payload of one byte is a control code of the reader, anything longer a
command APDU. The reader asks for the ATR all the time. The driver's timing rules are kept here, so that callers need
not know them: acknowledge at once, stay a moment after the host ended, stay away a moment before the next card.
"""

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.state_file import StateFileError
from terminal.virtual_card.tear import Moment, Tear
from terminal.virtual_card.transmission import TransmissionProtocol

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 35963
DEFAULT_ATR: Final = {
    TransmissionProtocol.T0: bytes.fromhex("3B00"),
    TransmissionProtocol.T1: bytes.fromhex("3B800181"),
}
POWER_OFF: Final = 0
POWER_ON: Final = 1
RESET: Final = 2
SEND_ATR: Final = 4
# pcscd polls its readers every 0.4 s; a card that comes and goes within one poll wedges the slot.
QUIET_SECONDS: Final = 0.5
AWAY_SECONDS: Final = 0.6
GREETING_SECONDS: Final = 5.0
SLOT_TAKEN: Final = "the virtual reader does not answer: another card is in this slot, or pcscd hangs"


class VpcdError(Exception):
    """The reader cannot be reached or does not take the card; the text says what to do."""


class VpcdConnection:
    """One card in one reader slot. A thread of its own serves the reader between `attach` and the end.

    The connection ends by `detach`, by `pull_out`, by a tear, or because the reader went away; `wait_gone` waits for
    that. It can be attached again; a tear happens once.
    """

    def __init__(
        self,
        card: VirtualCard,
        port: int = DEFAULT_PORT,
        *,
        host: str = DEFAULT_HOST,
        atr: bytes | None = None,
        tear: Tear | None = None,
    ) -> None:
        self._card = card
        self._address = (host, port)
        self._atr = atr or DEFAULT_ATR[card.protocol]
        self._tear = tear
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._greeted = threading.Event()
        self._gone = threading.Event()
        self._gone.set()
        self._last_apdu = 0.0
        self._left = 0.0
        self.apdu_count = 0
        self.was_torn = False
        self.failure: StateFileError | None = None

    def attach(self) -> None:
        """Put the card in; return when the reader noticed it. Raise VpcdError."""
        if not self._gone.is_set():
            raise VpcdError("the card is in the reader already")
        time.sleep(max(0.0, self._left + AWAY_SECONDS - time.monotonic()))
        try:
            connection = socket.create_connection(self._address, timeout=GREETING_SECONDS)
        except TimeoutError as error:
            raise VpcdError(SLOT_TAKEN) from error
        except OSError as error:
            host, port = self._address
            raise VpcdError(
                f"no virtual reader at {host}:{port} ({error.strerror or error}): "
                "start pcscd, with the package vsmartcard-vpcd installed"
            ) from error
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self.apdu_count = 0
        self.was_torn = False
        self._greeted.clear()
        self._gone.clear()
        self._card.reset()
        self._thread = threading.Thread(target=self._run, args=(connection,), name="virtual-card", daemon=True)
        self._thread.start()
        if not self._greeted.wait(GREETING_SECONDS):
            self.pull_out()
            raise VpcdError(SLOT_TAKEN)

    def detach(self) -> None:
        """Take the card out as a user would: when the host has been quiet for a moment."""
        while not self._gone.is_set() and (rest := self._last_apdu + QUIET_SECONDS - time.monotonic()) > 0:
            self._gone.wait(rest)
        self.pull_out()

    def pull_out(self) -> None:
        """Take the card out now, whatever goes on; return when the reader may take the next card."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the reader may have closed first
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join()
        self._socket = self._thread = None
        time.sleep(max(0.0, self._left + AWAY_SECONDS - time.monotonic()))

    def wait_gone(self, timeout: float | None = None) -> bool:
        """Wait until the card is no longer in the reader; return whether that is so."""
        return self._gone.wait(timeout)

    def __enter__(self) -> Self:
        self.attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _run(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # a reader that goes away is how most visits end
                while (message := _receive(connection)) is not None:
                    self._greeted.set()
                    answer = self._serve(message)
                    if self.was_torn:
                        return
                    if answer is not None:
                        connection.sendall(len(answer).to_bytes(2, "big") + answer)
        except StateFileError as error:
            # Without its memory the card must not answer as if it had kept the change.
            self.failure = error
        finally:
            self._left = time.monotonic()
            self._gone.set()

    def _serve(self, message: bytes) -> bytes | None:
        """Return the answer to one message, None where the reader expects none."""
        if len(message) > 1:
            return self._serve_apdu(message)
        if message in {bytes([POWER_OFF]), bytes([POWER_ON]), bytes([RESET])}:
            self._card.reset()
        return self._atr if message == bytes([SEND_ATR]) else None

    def _serve_apdu(self, command: bytes) -> bytes | None:
        self.apdu_count += 1
        tear = self._tear
        if tear is not None and tear.is_due(self.apdu_count, command):
            self._tear = None
            self.was_torn = True
            if tear.moment is Moment.AFTER:
                self._card.transmit(command)
            return None
        answer = self._card.transmit(command)
        self._last_apdu = time.monotonic()
        return answer


def _receive(connection: socket.socket) -> bytes | None:
    """Return the next message, None when the reader closed the connection."""
    header = _receive_exactly(connection, 2)
    if header is None:
        return None
    return _receive_exactly(connection, int.from_bytes(header, "big"))


def _receive_exactly(connection: socket.socket, length: int) -> bytes | None:
    data = b""
    while len(data) < length:
        # Linux drops the option again after a while: without it each APDU costs 40 ms of delayed acknowledgement.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = connection.recv(length - len(data))
        if not part:
            return None
        data += part
    return data
