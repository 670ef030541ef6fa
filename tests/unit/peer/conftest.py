from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from kms.config import PeerConfig, PeerRole
from kms.peer import PeerClient
from kms.peer.client import KEEP_ALIVE_SECONDS

PEER = PeerConfig(
    name="bank",
    role=PeerRole.ISSUER,
    certificate_fingerprint=bytes(32),
    url="https://bank.example",
    ca=Path("ca.pem"),
    client_certificate=Path("us.pem"),
    client_key=Path("us.key"),
)

Answer = httpx.Response | httpx.TransportError | Callable[[], httpx.Response]


@dataclass
class Script:
    """The issuer, played: one answer per request, in order; time goes on only while the client pauses."""

    answers: list[Answer] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    now: float = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, httpx.TransportError):
            raise answer
        if not isinstance(answer, httpx.Response):
            return answer()
        # As from a network: what a Response is made with counts as read already.
        return httpx.Response(answer.status_code, headers=answer.headers, content=iter([answer.content]))

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def client(self) -> PeerClient:
        def open_http(peer: PeerConfig) -> httpx.Client:
            assert KEEP_ALIVE_SECONDS < 30
            return httpx.Client(base_url=peer.url or "", transport=httpx.MockTransport(self.answer))

        return PeerClient(PEER, open_http=open_http, sleep=self.pause, monotonic=lambda: self.now)


@pytest.fixture
def script() -> Script:
    return Script()
