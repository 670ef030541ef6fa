"""Watching the token from beside the workers' calls: a sign of life now and then, and an end to calls that hang.

Rules: two threads, since the one that asks for a sign of life may itself hang. Both are daemons: a hanging call shall
not keep a process from ending. What happens on a hang is the caller's choice (a server's worker ends itself: no Python
code can take a call back from a C library).
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from kms.errors import KmsError
from kms.hsm.gateway import Gateway


class Watch:
    """The two threads of one process."""

    def __init__(self, gateway: Gateway, on_hang: Callable[[], None] | None) -> None:
        self._gateway = gateway
        self._on_hang = on_hang
        self._stopping = threading.Event()
        self._threads = (
            threading.Thread(target=self._ask, name="hsm-sign-of-life", daemon=True),
            threading.Thread(target=self._look, name="hsm-hang-watch", daemon=True),
        )

    def start(self) -> None:
        """Start watching; the first sign of life opens the token."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop watching; does not wait for a call that hangs."""
        self._stopping.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=self._gateway.settings.heartbeat_s)

    def _ask(self) -> None:
        while not self._stopping.is_set():
            with suppress(KmsError):  # the gateway keeps the reason, and Vault.check tells it
                self._gateway.ask_sign_of_life()
            self._stopping.wait(self._gateway.settings.heartbeat_s)

    def _look(self) -> None:
        limit = self._gateway.settings.call_timeout_s
        while not self._stopping.wait(min(0.5, limit / 4)):
            if self._gateway.get_call_age() > limit and self._on_hang is not None:
                self._on_hang()
                return
