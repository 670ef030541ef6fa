"""The leased line to one issuer's platform over HTTP (`kms.service.ports.PeerLine`).

Rules: connections are made when first needed (a server's worker does so after its fork) and kept. A call has a time
limit as a whole, so that the terminal behind it gets its answer. Network trouble is met by another attempt where the
call may be repeated without harm; a faulty certificate is not.
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx

from kms.config import PeerConfig
from kms.domain.orders import Report
from kms.domain.transfers import Envelope, RelayedOrder, TransferAnswer, TransferRequest, TransferState
from kms.errors import Code, KmsError
from kms.peer.answers import (
    build_violation,
    parse_control_accepted,
    parse_envelope,
    parse_problem,
    parse_relayed_order,
    parse_transfer_answer,
)
from kms.peer.pinned_tls import PinMismatchError, build_peer_context

ATTEMPTS = 3
FIRST_PAUSE = 0.2  # seconds; doubled after each failure
CALL_SECONDS = 20.0  # below the 30 that a terminal waits for one answer
CONNECT_SECONDS = 5.0
MAX_ANSWER = 256 * 1024  # bytes
KEEP_ALIVE_SECONDS = 15.0  # below the 30 after which a server of ours closes
PREFIX = "/peer/v1/transfers"


def open_http(peer: PeerConfig) -> httpx.Client:
    """Make the HTTP client for an issuer. Raises `config.invalid` naming the file that cannot be used."""
    return httpx.Client(
        base_url=peer.url or "",
        verify=build_peer_context(peer),
        trust_env=False,  # a proxy of the environment must not decide where key material goes
        headers={"Accept": "application/json, application/problem+json", "Accept-Encoding": "identity"},
        limits=httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=KEEP_ALIVE_SECONDS),
    )


@dataclass
class PeerClient:
    """The line to one issuer; threads may share it. `open_http`, `sleep`, `monotonic`: others in tests only."""

    peer: PeerConfig
    open_http: Callable[[PeerConfig], httpx.Client] = field(default=open_http, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    monotonic: Callable[[], float] = field(default=time.monotonic, repr=False)
    _http: httpx.Client | None = field(default=None, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def request(self, request: TransferRequest) -> TransferAnswer:
        """Ask for a security domain, or for new initial keys in one."""
        body = {
            "transferId": request.transfer_id,
            "reason": str(request.reason),
            "cardIdentity": request.card_identity.hex().upper(),
            "aid": request.aid.hex().upper(),
            "privileges": request.privileges.hex().upper(),
            "keyType": str(request.key_type),
        }
        return parse_transfer_answer(self._call(PREFIX, body))

    def report(self, transfer_id: str, report: Report) -> RelayedOrder:
        """Hand the card's responses on, get the next batch."""
        body = {
            "answersOrder": report.answers_order,
            "status": str(report.status),
            "responses": [response.hex().upper() for response in report.responses],
        }
        # Without a number nobody could tell a repeated Report from a new one, and the visit would begin anew.
        numbered = report.answers_order is not None
        return parse_relayed_order(self._call(f"{PREFIX}/{transfer_id}/report", body, repeatable=numbered))

    def hand_over(self, transfer_id: str) -> Envelope:
        """Get the envelope, which the issuer makes anew."""
        return parse_envelope(self._call(f"{PREFIX}/{transfer_id}/hand-over", {}))

    def accept_control(self, transfer_id: str) -> TransferState:
        """Tell the issuer that our own keys are proved."""
        return parse_control_accepted(self._call(f"{PREFIX}/{transfer_id}/control-accepted", {}))

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        with self._lock:
            http, self._http = self._http, None
        if http:
            http.close()

    def _open(self) -> httpx.Client:
        with self._lock:
            if self._http is None:
                self._http = self.open_http(self.peer)
            return self._http

    def _call(self, path: str, body: Mapping[str, object], *, repeatable: bool = True) -> bytes:
        """Send one request until it is answered; the body of a 2xx answer, or an error as `PeerLine` says."""
        http = self._open()
        give_up = self.monotonic() + CALL_SECONDS
        pause = FIRST_PAUSE
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._send(http, path, body, give_up)
            except httpx.TransportError as error:
                self._check_tls(error)
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
                late = self.monotonic() + pause >= give_up
                if attempt == ATTEMPTS or late or not (repeatable or never_sent):
                    raise self._unreachable(f"it cannot be reached ({type(error).__name__})") from error
            self.sleep(pause)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _send(self, http: httpx.Client, path: str, body: Mapping[str, object], give_up: float) -> bytes:
        left = max(give_up - self.monotonic(), 0.1)
        timeout = httpx.Timeout(left, connect=min(left, CONNECT_SECONDS))
        with http.stream("POST", path, json=body, timeout=timeout) as response:
            content = self._read(response, give_up)
        if response.is_success:
            return content
        problem = parse_problem(content)
        if problem.where == Code.VISIT_CONFLICT:
            raise KmsError(Code.VISIT_CONFLICT, "Another visit holds this card at its issuer: report again")
        said = f"{self.peer.name} answered HTTP {response.status_code}, {problem.where}: {problem.what}"
        if response.status_code >= 500:
            raise self._unreachable(said)
        if response.status_code < 400:
            raise build_violation(f"it answered HTTP {response.status_code}")
        raise KmsError(Code.PEER_REFUSED, said, faults=(problem,))

    def _read(self, response: httpx.Response, give_up: float) -> bytes:
        """Read a body of limited size in limited time: a peer that sends a byte now and then holds no thread."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise build_violation("its answer is compressed, which nobody asked for")
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > MAX_ANSWER:
                raise build_violation("its answer is too long")
            if self.monotonic() > give_up:
                raise self._unreachable("its answer takes too long")
        return bytes(content)

    def _check_tls(self, error: BaseException) -> None:
        """Raise `peer.untrusted` when a certificate is the cause: no waiting mends that. Cut connections are none."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, PinMismatchError):
                raise self._untrusted("its certificate is not the pinned one") from error
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise self._untrusted(f"its certificate does not verify ({cause.verify_message})") from error
            if isinstance(cause, ssl.SSLError) and not isinstance(
                cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
            ):
                raise self._untrusted(f"no TLS 1.3 connection with our certificate ({cause.reason})") from error
            cause = cause.__cause__ or cause.__context__

    def _unreachable(self, what: str) -> KmsError:
        return KmsError(Code.PEER_UNREACHABLE, f"The platform {self.peer.name} does not serve: {what}")

    def _untrusted(self, what: str) -> KmsError:
        return KmsError(Code.PEER_UNTRUSTED, f"The platform {self.peer.name} is not spoken to: {what}")
