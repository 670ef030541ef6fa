"""How often somebody may try to log in from one address.

Rules: accounts lock by themselves after some failures (the database counts); this keeps one address from trying many
accounts, and from keeping the password hash busy. Each process counts for itself: it limits effort, and no rule hangs
on it.
"""

import threading
from collections import deque
from collections.abc import Callable

from kms.errors import Code, KmsError

MAX_ADDRESSES = 10_000


class AttemptLimiter:
    """At most `attempts` in `seconds` from one address. `monotonic`: seconds that never go back."""

    def __init__(self, monotonic: Callable[[], float], attempts: int = 30, seconds: float = 60.0) -> None:
        self._monotonic = monotonic
        self._attempts = attempts
        self._seconds = seconds
        self._lock = threading.Lock()
        self._seen: dict[str, deque[float]] = {}

    def check(self, address: str) -> None:
        """Count an attempt. Raises `login.locked` for one too many."""
        now = self._monotonic()
        with self._lock:
            if address not in self._seen and len(self._seen) >= MAX_ADDRESSES:
                self._forget(now)
            times = self._seen.setdefault(address, deque())
            while times and times[0] <= now - self._seconds:
                times.popleft()
            if len(times) >= self._attempts:
                raise KmsError(Code.LOGIN_LOCKED, "Too many attempts from this address: wait a minute.")
            times.append(now)

    def _forget(self, now: float) -> None:
        """Drop addresses that were quiet; all of them where none was: somebody floods, and memory is not theirs."""
        quiet = [address for address, times in self._seen.items() if times[-1] <= now - self._seconds]
        for address in quiet or list(self._seen):
            del self._seen[address]
