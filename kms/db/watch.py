"""Watching the database from beside the requests, so that readiness is a look at a clock and never a wait.

Rules: one daemon thread in each process asks for the schema's revision now and then. `check` reads what it found: an
answer that is too old counts as none, so a database that hangs is away like one that refuses.
"""

import threading
import time
from collections.abc import Callable

from kms.errors import Code, KmsError

ASK_EVERY_S = 1.0
MAX_ANSWER_AGE_S = 4.0  # readiness goes red within 5 s


class DatabaseWatch:
    """`ask`: one question to the database, raising a `KmsError` when it is not as it should be."""

    def __init__(
        self, ask: Callable[[], None], *, every_s: float = ASK_EVERY_S, max_age_s: float = MAX_ANSWER_AGE_S
    ) -> None:
        self._ask = ask
        self._every_s = every_s
        self._max_age_s = max_age_s
        self._answered_at: float | None = None
        self._fault: KmsError | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; does not wait for a question that hangs."""
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=self._every_s)

    def check(self) -> None:
        """Raise what the last question met, or `database.unavailable` when none was answered lately. Never waits."""
        fault, answered_at = self._fault, self._answered_at
        if fault is not None:
            raise KmsError(fault.code, fault.detail)
        if answered_at is None:
            raise KmsError(Code.DATABASE_UNAVAILABLE, "The database was not asked yet.")
        if time.monotonic() - answered_at > self._max_age_s:
            raise KmsError(Code.DATABASE_UNAVAILABLE, "The database did not answer lately.")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._ask()
            except KmsError as error:
                self._fault = error
            else:
                self._answered_at, self._fault = time.monotonic(), None
            self._stopping.wait(self._every_s)
