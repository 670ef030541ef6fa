"""Circuit breaker: after opening the token failed, further tries wait, and calls in between fail at once.

Rules: pure; the caller passes monotonic seconds. Each failure in a row doubles the pause, up to a longest one.
"""


class Breaker:
    """Counts failures in a row and says whether it is time for another try."""

    def __init__(self, first_retry_s: float, longest_retry_s: float) -> None:
        self._first_retry_s = first_retry_s
        self._longest_retry_s = longest_retry_s
        self._pause_s = 0.0
        self._retry_at = 0.0

    @property
    def is_tripped(self) -> bool:
        """Whether the last try failed."""
        return self._pause_s > 0

    def get_pause(self, now: float) -> float:
        """Seconds until the next try may be made; 0 when it may be made now."""
        return max(0.0, self._retry_at - now) if self.is_tripped else 0.0

    def record_failure(self, now: float) -> None:
        """A try failed: the next one waits twice as long as the one before it did."""
        self._pause_s = min(self._longest_retry_s, self._pause_s * 2 or self._first_retry_s)
        self._retry_at = now + self._pause_s

    def record_success(self) -> None:
        """A try succeeded: the next failure starts with the shortest pause again."""
        self._pause_s = 0.0
