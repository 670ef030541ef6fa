"""Smart-card readers through PC/SC: the only module that knows pyscard.

Rules: every PC/SC call runs on one thread with a time-out (`SCardConnect` may block for ever on a dead reader). Bytes
in, bytes out (pyscard has lists of integers). A card is taken exclusively, so that nobody speaks in between, and is
reset when let go, so that no channel stays open. PC/SC's codes become named errors; no APDU data is kept or logged.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from smartcard import scard

from terminal.errors import TerminalCode, TerminalError, card_gone
from terminal.exchange import transmit_whole
from terminal.pcsc_thread import CallThread

_POLL = 0.25  # seconds between looks for a card: pcscd itself looks every 0.4 s

# PC/SC's return codes by pyscard's names, what they mean here, what is wrong, what to do.
_ERRORS = (
    (
        ("SCARD_E_NO_SERVICE", "SCARD_E_SERVICE_STOPPED", "SCARD_E_INVALID_HANDLE", "SCARD_F_COMM_ERROR"),
        TerminalCode.PCSC_DOWN,
        "The PC/SC service does not run.",
        "Start pcscd (Debian: `systemctl start pcscd`, or `pcscd` as root).",
    ),
    (
        ("SCARD_E_UNKNOWN_READER", "SCARD_E_READER_UNAVAILABLE", "SCARD_E_NO_READERS_AVAILABLE"),
        TerminalCode.READER_GONE,
        "The reader was unplugged.",
        "Plug it in again and present the card again.",
    ),
    (
        ("SCARD_E_NO_SMARTCARD",),
        TerminalCode.CARD_NONE,
        "There is no card in the reader.",
        "Present a card.",
    ),
    (
        ("SCARD_W_REMOVED_CARD", "SCARD_W_RESET_CARD", "SCARD_W_UNPOWERED_CARD"),
        TerminalCode.CARD_GONE,
        card_gone().problem,
        card_gone().remedy,
    ),
    (
        ("SCARD_W_UNRESPONSIVE_CARD", "SCARD_W_UNSUPPORTED_CARD", "SCARD_E_PROTO_MISMATCH"),
        TerminalCode.CARD_MUTE,
        "The card does not answer.",
        "Take it out, look at its contacts and which way round it goes, and present it again.",
    ),
    (
        ("SCARD_E_SHARING_VIOLATION",),
        TerminalCode.READER_BUSY,
        "Another program is using the card.",
        "End that program, then present the card again.",
    ),
)


@dataclass(frozen=True)
class ReaderStatus:
    """A reader and whether a card is in it; `atr` is empty without one."""

    name: str
    card_present: bool
    atr: bytes


class Readers:
    """The PC/SC service. `timeout`: seconds for one call; `pcsc`: pyscard's `scard`, or what stands in for it."""

    def __init__(self, timeout: float = 30.0, pcsc: Any = scard) -> None:  # noqa: ANN401 -- pyscard ships no types
        self._pcsc = pcsc
        self._thread = CallThread(timeout)
        self._context: object | None = None

    def close(self) -> None:
        """Leave the PC/SC service."""
        if self._context is not None:
            context, self._context = self._context, None
            with suppress(TerminalError):  # a stuck reader must not keep the process
                self._thread.call(lambda: self._pcsc.SCardReleaseContext(context))
        self._thread.close()

    def list_readers(self) -> tuple[ReaderStatus, ...]:
        """List all readers, empty when none is plugged in; raises `reader.service-down`."""
        context = self._get_context()
        code, names = self._thread.call(lambda: self._pcsc.SCardListReaders(context, []))
        if _unsigned(code) == _unsigned(self._pcsc.SCARD_E_NO_READERS_AVAILABLE):
            return ()
        self._check(code)
        if not names:
            return ()
        states = [(name, self._pcsc.SCARD_STATE_UNAWARE) for name in names]
        code, states = self._thread.call(lambda: self._pcsc.SCardGetStatusChange(context, 0, states))
        self._check(code)
        present = self._pcsc.SCARD_STATE_PRESENT
        return tuple(ReaderStatus(name, bool(state & present), bytes(atr)) for name, state, atr in states)

    def find_card(self, name_part: str) -> str | None:
        """Return the first fitting reader that holds a card, None when all are empty; raises `reader.none`."""
        fitting = [reader for reader in self.list_readers() if name_part.lower() in reader.name.lower()]
        if not fitting:
            which = f' whose name holds "{name_part}"' if name_part else ""
            raise TerminalError(
                TerminalCode.READER_NONE,
                f"There is no reader{which}.",
                "Plug one in; `kms-terminal readers` lists what is there, reader.name in the configuration picks one.",
            )
        return next((reader.name for reader in fitting if reader.card_present), None)

    def wait_for_card(self, name_part: str, timeout: float | None) -> str:
        """Wait for a card, `timeout` seconds (None: for ever), and return its reader.

        Raises `card.none` when none came, `reader.*` when there is nothing to wait at.
        """
        found = self._wait(lambda: self.find_card(name_part), timeout)
        if found is None:
            raise TerminalError(
                TerminalCode.CARD_NONE,
                "There is no card in the reader.",
                "Present a card, the chip as the reader shows it, and start again.",
            )
        return found

    def wait_for_removal(self, reader_name: str) -> None:
        """Wait until the card has left the reader, or the reader its host; raises `reader.service-down`."""

        def find_empty() -> str | None:
            holding = [reader.name for reader in self.list_readers() if reader.card_present]
            return None if reader_name in holding else reader_name

        self._wait(find_empty, None)

    def connect(self, reader_name: str) -> "PcscCard":
        """Power the card in a reader and take it exclusively.

        Raises `card.none`, `card.mute`, `reader.busy`, `reader.stuck`, `reader.gone`.
        """
        pcsc, context = self._pcsc, self._get_context()
        protocols = pcsc.SCARD_PROTOCOL_T0 | pcsc.SCARD_PROTOCOL_T1
        code, handle, protocol = self._thread.call(
            lambda: pcsc.SCardConnect(context, reader_name, pcsc.SCARD_SHARE_EXCLUSIVE, protocols)
        )
        self._check(code)
        code, _, _, _, atr = self._thread.call(lambda: pcsc.SCardStatus(handle))
        self._check(code)
        return PcscCard(pcsc, self._thread, self._check, handle=handle, protocol=protocol, atr=bytes(atr))

    def _get_context(self) -> object:
        if self._context is None:
            code, context = self._thread.call(lambda: self._pcsc.SCardEstablishContext(self._pcsc.SCARD_SCOPE_SYSTEM))
            self._check(code)
            self._context = context
        return self._context

    def _wait(self, look: Callable[[], str | None], timeout: float | None) -> str | None:
        end = None if timeout is None else time.monotonic() + timeout
        while (found := look()) is None:
            if end is not None and time.monotonic() >= end:
                return None
            time.sleep(_POLL)
        return found

    def _check(self, code: int) -> None:
        """Raise the named error of a PC/SC return code unless it is success."""
        if code == self._pcsc.SCARD_S_SUCCESS:
            return
        error = self._find_error(code)
        if error.code is TerminalCode.PCSC_DOWN:
            self._context = None  # the service may have been started anew: its contexts are gone with it
        raise error

    def _find_error(self, code: int) -> TerminalError:
        for names, kind, problem, remedy in _ERRORS:
            if any(_unsigned(getattr(self._pcsc, name)) == _unsigned(code) for name in names):
                return TerminalError(kind, problem, remedy)
        return TerminalError(
            TerminalCode.READER_FAILED,
            f"The reader failed (PC/SC 0x{_unsigned(code):08X}: {self._pcsc.SCardGetErrorMessage(code)})",
            "Present the card again; if that stays so, unplug the reader and plug it in again.",
        )


class PcscCard:
    """A powered card in a reader, held exclusively; a `terminal.card.Card`. `atr`: its answer to reset."""

    def __init__(
        self,
        pcsc: Any,  # noqa: ANN401 -- pyscard ships no types
        thread: CallThread,
        check: Callable[[int], None],
        *,
        handle: object,
        protocol: int,
        atr: bytes,
    ) -> None:
        self._pcsc = pcsc
        self._thread = thread
        self._check = check
        self._handle = handle
        self._t0 = protocol == pcsc.SCARD_PROTOCOL_T0
        self.atr = atr

    @property
    def protocol(self) -> str:
        """The transmission protocol in use: `T=0` or `T=1`."""
        return "T=0" if self._t0 else "T=1"

    def transmit(self, command: bytes) -> bytes:
        """Send a command APDU, fetch its whole response; raises `card.gone`, `card.protocol-violation`, `reader.*`."""
        return transmit_whole(self._send, command, t0=self._t0)

    def reset(self) -> None:
        """Reset the card and keep it; raises as `transmit`."""
        pcsc = self._pcsc
        protocols = pcsc.SCARD_PROTOCOL_T0 if self._t0 else pcsc.SCARD_PROTOCOL_T1
        code, _ = self._thread.call(
            lambda: pcsc.SCardReconnect(self._handle, pcsc.SCARD_SHARE_EXCLUSIVE, protocols, pcsc.SCARD_RESET_CARD)
        )
        self._check(code)

    def disconnect(self) -> None:
        """Let the card go with a reset. That it, or its reader, is away already is no error."""
        pcsc = self._pcsc
        with suppress(TerminalError):  # stuck: the call that failed has said so
            self._thread.call(lambda: pcsc.SCardDisconnect(self._handle, pcsc.SCARD_RESET_CARD))

    def _send(self, tpdu: bytes) -> bytes:
        pcsc = self._pcsc
        pci = pcsc.SCARD_PCI_T0 if self._t0 else pcsc.SCARD_PCI_T1
        code, response = self._thread.call(lambda: pcsc.SCardTransmit(self._handle, pci, list(tpdu)))
        if _unsigned(code) in {_unsigned(pcsc.SCARD_E_NO_SMARTCARD), _unsigned(pcsc.SCARD_E_NOT_TRANSACTED)}:
            raise card_gone()
        self._check(code)
        return bytes(response)


def _unsigned(code: int) -> int:
    """PC/SC's codes come as signed or unsigned 32-bit numbers."""
    return code & 0xFFFFFFFF
