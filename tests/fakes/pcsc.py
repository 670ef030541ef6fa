"""Stands in for pyscard's `scard` module: readers, cards and their faults, without a PC/SC service.

Rules: the same shapes as pyscard 2.3.1 gives: lists led by a return code, APDUs as lists of integers.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from smartcard import scard


@dataclass
class FakeReader:
    """A reader. `atr`: of its card, empty for none; `protocol`: what the card speaks; `answer`: the card."""

    atr: bytes = b""
    protocol: int = scard.SCARD_PROTOCOL_T1
    answer: Callable[[bytes], bytes] = lambda command: b"\x90\x00"  # noqa: ARG005 -- one answer for all


@dataclass
class FakePcsc:
    """`faults`: return code per function name, taken in turn; `blocked`: functions that never come back."""

    readers: dict[str, FakeReader] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    release: threading.Event = field(default_factory=threading.Event)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- pyscard ships no types
        return getattr(scard, name)  # constants

    def _enter(self, name: str, *arguments: object) -> int:
        self.calls.append((name, arguments))
        self.threads.add(threading.current_thread().name)
        if name in self.blocked:
            self.release.wait(10)
        faults = self.faults.get(name)
        return faults.pop(0) if faults else int(scard.SCARD_S_SUCCESS)

    def SCardEstablishContext(self, scope: int) -> list[Any]:  # noqa: N802 -- PC/SC's name
        return [self._enter("SCardEstablishContext", scope), "context"]

    def SCardReleaseContext(self, context: object) -> int:  # noqa: N802 -- PC/SC's name
        return self._enter("SCardReleaseContext", context)

    def SCardListReaders(self, context: object, groups: list[str]) -> list[Any]:  # noqa: N802 -- PC/SC's name
        code = self._enter("SCardListReaders", context, groups)
        if code == scard.SCARD_S_SUCCESS and not self.readers:
            return [scard.SCARD_E_NO_READERS_AVAILABLE, []]
        return [code, list(self.readers)]

    def SCardGetStatusChange(self, context: object, timeout: int, states: list[Any]) -> list[Any]:  # noqa: N802 -- PC/SC's name
        code = self._enter("SCardGetStatusChange", context, timeout, states)
        found = []
        for name, _ in states:
            atr = self.readers[name].atr
            state = scard.SCARD_STATE_PRESENT if atr else scard.SCARD_STATE_EMPTY
            found.append((name, state, list(atr)))
        return [code, found]

    def SCardConnect(self, context: object, reader: str, share: int, protocols: int) -> list[Any]:  # noqa: N802 -- PC/SC's name
        code = self._enter("SCardConnect", context, reader, share, protocols)
        return [code, reader, self.readers[reader].protocol]

    def SCardStatus(self, handle: str) -> list[Any]:  # noqa: N802 -- PC/SC's name
        return [self._enter("SCardStatus", handle), handle, 0, 0, list(self.readers[handle].atr)]

    def SCardTransmit(self, handle: str, pci: int, command: list[int]) -> list[Any]:  # noqa: N802 -- PC/SC's name
        code = self._enter("SCardTransmit", handle, pci, command)
        return [code, list(self.readers[handle].answer(bytes(command))) if code == scard.SCARD_S_SUCCESS else []]

    def SCardReconnect(self, handle: str, share: int, protocols: int, initialization: int) -> list[Any]:  # noqa: N802 -- PC/SC's name
        return [self._enter("SCardReconnect", handle, share, protocols, initialization), protocols]

    def SCardDisconnect(self, handle: str, disposition: int) -> int:  # noqa: N802 -- PC/SC's name
        return self._enter("SCardDisconnect", handle, disposition)
