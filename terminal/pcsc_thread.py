"""A thread of its own for calls that may block for ever, with time-outs of ours.

Rules: one call at a time, in order. A call that does not come back in time leaves its thread to its fate (a daemon: it
ends with the process) and every later call is refused: the reader must be looked at. The waiting side stays open to
Ctrl-C.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from terminal.errors import TerminalCode, TerminalError

T = TypeVar("T")
_Job = Callable[[], None]


class CallThread:
    """Runs calls on one daemon thread. `timeout`: seconds a call may take."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._stuck = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="pcsc", daemon=True).start()

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the thread and return its result, or raise what it raised.

        Raises `reader.stuck` when it does not end in time, and for every call after that.
        """
        if self._stuck:
            raise _stuck()
        outcome: Future[T] = Future()

        def job() -> None:
            try:
                outcome.set_result(function())
            except BaseException as error:  # noqa: BLE001 -- handed to the caller, whatever it is
                outcome.set_exception(error)

        self._jobs.put(job)
        try:
            return outcome.result(self._timeout)
        except FutureTimeoutError:
            if outcome.done():
                raise
            self._stuck = True
            raise _stuck() from None

    def close(self) -> None:
        """Let the thread end after the calls already given."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _stuck() -> TerminalError:
    return TerminalError(
        TerminalCode.READER_STUCK,
        "The reader does not answer.",
        "Unplug it and plug it in again (or restart pcscd), then start kms-terminal again.",
    )
