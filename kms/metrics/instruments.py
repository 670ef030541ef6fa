"""What each process counts itself: requests and uses of the HSM.

Rules: labels take few values, so none holds anything that came from outside: a route is the rule it matched, never the
address as sent.
"""

import threading
from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge, Histogram

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
HSM_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Instruments:
    """One process's counters. `registry`: where they are read, in a process that counts for itself."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._requests = Histogram(
            "kms_http_request_seconds",
            "How long the API's answers took.",
            ("method", "route", "status"),
            buckets=HTTP_BUCKETS,
            registry=registry,
        )
        self._hsm_calls = Histogram(
            "kms_hsm_call_seconds",
            "How long the HSM was used at a time, a few PKCS#11 calls each, by what came of it.",
            ("outcome",),
            buckets=HSM_BUCKETS,
            registry=registry,
        )
        self._registry = registry
        self._lock = threading.Lock()
        # Made with the first answer: until then it would stand at 1970.
        self._hsm_answered: Gauge | None = None

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer of the API."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def observe_hsm(self, outcome: str, seconds: float, answered_at: datetime | None) -> None:
        """Count a use of the HSM. `answered_at`: when it last answered, None before it ever did."""
        self._hsm_calls.labels(outcome).observe(seconds)
        if answered_at is None:
            return
        with self._lock:
            if self._hsm_answered is None:
                self._hsm_answered = Gauge(
                    "kms_hsm_last_answer_timestamp_seconds",
                    "When the HSM last answered the process that it answered longest ago.",
                    registry=self._registry,
                    multiprocess_mode="livemin",
                )
            self._hsm_answered.set(answered_at.timestamp())
