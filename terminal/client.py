"""The server over HTTP: SERAM's two calls, applications, and what is pending; mutual TLS 1.3.

Rules: one connection is kept for a visit. Network trouble and 5xx are tried again with the same body and cookies for
`reconnect` seconds (SERAM: five minutes), a busy card a few times, a faulty certificate never. httpx's cookie jar is
not used: a Report carries the cookies of the Order that it answers and no later ones. Answers are untrusted: their form
is checked.
"""

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx

from terminal import seram
from terminal.config import TerminalConfig
from terminal.errors import TerminalCode, TerminalError
from terminal.transport import Answer

FIRST_PAUSE = 0.5  # seconds; doubled after each failure
LONGEST_PAUSE = 15.0
CONFLICT = "visit.conflict"  # the server's code for a card whose record another visit is writing: "report again"
CONFLICT_ATTEMPTS = 5
ABOUT_A_CARD = (
    "card.quarantined",
    "terminal.not-allowed",
)  # the server's 403 that concerns the card alone: the terminal serves the next one


@dataclass(frozen=True)
class PendingWork:
    """What waits for a card's security domain. `due_at`: as the server wrote it, empty when not limited."""

    aid: str
    reason: str
    due_at: str


@dataclass(frozen=True)
class PendingCard:
    """A card and what waits for it."""

    identity: str
    pending: tuple[PendingWork, ...]


@dataclass(frozen=True)
class PendingQuery:
    """Which pending work: of a security domain, for a reason, due before a time (ISO 8601). `most`: cards at most."""

    aid: bytes | None = None
    reason: str = ""
    due_before: str = ""
    most: int | None = None

    def build(self) -> dict[str, str]:
        """The query of the request."""
        given = {"aid": self.aid.hex().upper() if self.aid else "", "reason": self.reason, "dueBefore": self.due_before}
        return {name: value for name, value in given.items() if value}


ALL_PENDING = PendingQuery()


@dataclass(frozen=True)
class Applied:
    """The server's answer to an application. `session_id`: of the visit to run now; `state`: how far it is."""

    session_id: str
    state: str


def open_http(config: TerminalConfig) -> httpx.Client:
    """Make the HTTP client: TLS 1.3 only, the server checked against our CA, our certificate shown.

    Raises `config.invalid` naming the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load(config.ca_certificate, lambda: context.load_verify_locations(cafile=config.ca_certificate))
    pair = f"{config.client_certificate} with {config.client_key}"
    _load(pair, lambda: context.load_cert_chain(config.client_certificate, config.client_key, _refuse_password))
    return httpx.Client(
        base_url=config.server_url,
        verify=context,
        timeout=config.timeouts.request,
        trust_env=False,  # a proxy of the environment must not decide where key material goes
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=300.0),
    )


@dataclass
class ServerClient:
    """The server. `reconnect`: how long one request is tried again, in seconds; `on_retry` hears of each failure."""

    http: httpx.Client
    reconnect: float = 300.0
    on_retry: Callable[[str, float], None] = lambda problem, pause: None  # noqa: ARG005 -- by default nobody listens
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    requests: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.http.close()

    def handshake(self, session_id: str, card_identity: bytes) -> Answer:
        """SERAM /handshake."""
        return self._seram("/gp/seram/handshake", session_id, seram.build_handshake(card_identity), {})

    def report(self, session_id: str, report: seram.Report, cookies: Mapping[str, str]) -> Answer:
        """SERAM /remoteManagement."""
        return self._seram("/gp/seram/remoteManagement", session_id, seram.build_report(report), cookies)

    def apply(self, card_identity: bytes, application: bytes) -> Applied:
        """Apply for an application (AID, 5 to 16 bytes) on a card; the server opens the visit that it takes."""
        body = {"card": {"identity": card_identity.hex().upper()}, "application": application.hex().upper()}
        answer = _parse_object(self._request("POST", "/api/v1/applications", json_body=body))
        session_id, state = answer.get("sessionId"), answer.get("state", "")
        if not isinstance(session_id, str) or not session_id or not isinstance(state, str):
            raise _violation("the answer to the application has no sessionId")
        return Applied(session_id, state)

    def list_pending(
        self, card_identity: bytes | None = None, wanted: PendingQuery = ALL_PENDING
    ) -> tuple[PendingCard, ...]:
        """List what waits for one card, or for all cards that this terminal serves, the earliest due first."""
        return tuple(card for page in self.iterate_pending(card_identity, wanted) for card in page)

    def iterate_pending(
        self, card_identity: bytes | None = None, wanted: PendingQuery = ALL_PENDING
    ) -> Iterator[tuple[PendingCard, ...]]:
        """The same page by page, as the server gives it; a page may be empty and not the last."""
        query = wanted.build() | ({} if card_identity is None else {"card": card_identity.hex().upper()})
        left = wanted.most
        while True:
            answer = _parse_object(self._request("GET", "/api/v1/pending", query=query))
            try:
                page = tuple(_parse_pending(card) for card in _as_list(answer["cards"]))
                cursor = answer.get("next")
            except (KeyError, TypeError) as error:
                raise _violation("the list of pending work has not the agreed form") from error
            if left is not None:
                page = page[:left]
                left -= len(page)
            yield page
            if left == 0 or not isinstance(cursor, str):
                return
            if cursor == query.get("cursor"):
                raise _violation("the list of pending work does not go on")
            query = {**query, "cursor": cursor}

    def _seram(self, path: str, session_id: str, body: dict[str, object], cookies: Mapping[str, str]) -> Answer:
        response = self._request("POST", path, query={"sessionId": session_id}, json_body=body, cookies=cookies)
        fresh = {cookie.name: cookie.value or "" for cookie in response.cookies.jar}
        return Answer(response.content, {**cookies, **fresh})

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json_body: Mapping[str, object] | None = None,
        cookies: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request until it is answered; return a 2xx response or raise `server.*`."""
        headers = {"Accept": "application/json, application/problem+json"}
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        give_up = self.monotonic() + self.reconnect
        pause, before = FIRST_PAUSE, self.requests
        while True:
            self.requests += 1
            try:
                response = self.http.request(method, path, params=query, json=json_body, headers=headers)
            except httpx.TransportError as error:
                _check_tls(error)
                cause: httpx.TransportError | None = error
                problem = f"it cannot be reached ({type(error).__name__})"
            else:
                is_busy = _problem(response).get("code") == CONFLICT and self.requests - before < CONFLICT_ATTEMPTS
                if response.status_code < 500 and not is_busy:
                    return _check_status(response)
                cause = None
                problem = f"it answered {_describe(response)}"
            finally:
                self.http.cookies.clear()  # see the module's rules
            if self.monotonic() + pause > give_up:
                raise TerminalError(
                    TerminalCode.SERVER_UNREACHABLE,
                    f"The server {self.http.base_url} does not serve: {problem}.",
                    "Check the network and server.url, and that the server runs (its /readyz says what it lacks).",
                ) from cause
            self.on_retry(problem, pause)
            self.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def _check_status(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    text, server_code = _describe(response), _problem(response).get("code", "")
    match response.status_code:
        case 401 | 403 if server_code not in ABOUT_A_CARD:
            raise TerminalError(
                TerminalCode.SERVER_UNAUTHORISED,
                f"The server does not serve this terminal: {text}.",
                "Have its certificate enrolled at the server (kms terminals), or its suspension lifted.",
                server_code=server_code,
            )
        case 404 | 410 if response.url.path.startswith("/gp/seram/"):
            raise TerminalError(
                TerminalCode.SESSION_OVER,
                f"The server does not know this visit or this card: {text}.",
                "Have the card enrolled if it is not; else present it again.",
                server_code=server_code,
            )
        case _:
            raise TerminalError(
                TerminalCode.SERVER_REFUSED,
                f"The server refused: {text}.",
                "Do what it says, then present the card again.",
                server_code=server_code,
            )


def _problem(response: httpx.Response) -> dict[str, str]:
    """Read a problem document (RFC 9457); its text members only, cut to 300 characters; empty when there is none."""
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {name: value[:300] for name, value in document.items() if isinstance(value, str)}


def _describe(response: httpx.Response) -> str:
    problem = _problem(response)
    text = (problem.get("detail") or problem.get("title") or response.reason_phrase).rstrip(".")
    code = f", {problem['code']}" if "code" in problem else ""
    return f"{text} (HTTP {response.status_code}{code})"


def _check_tls(error: BaseException) -> None:
    """Raise `server.tls` when a certificate is the cause: no waiting mends that. Cut connections are no TLS faults."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise TerminalError(
                TerminalCode.SERVER_TLS,
                f"The server's certificate is not to be trusted ({getattr(cause, 'verify_message', 'refused')}).",
                "Check server.url and server.ca_certificate; if both are right, this is not your server.",
            ) from error
        if isinstance(cause, ssl.SSLError) and not isinstance(
            cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
        ):
            reason = getattr(cause, "reason", None) or "refused"
            raise TerminalError(
                TerminalCode.SERVER_TLS,
                f"No TLS 1.3 connection with this terminal's certificate ({reason}).",
                "Check server.client_certificate: its end date, and that the server trusts who issued it.",
            ) from error
        cause = cause.__cause__ or cause.__context__


def _load(what: object, load: Callable[[], None]) -> None:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise TerminalError(
            TerminalCode.CONFIG_INVALID,
            f"{what} cannot be used as a certificate or key ({reason}).",
            "Make development certificates with `kms pki`, or mend the [server] section of the configuration.",
        ) from error


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; a terminal works unattended, so protect the file by its permissions")


def _parse_object(response: httpx.Response) -> dict[str, object]:
    try:
        document = json.loads(response.content)
    except (ValueError, RecursionError) as error:
        raise _violation("its answer is not JSON") from error
    if not isinstance(document, dict):
        raise _violation("its answer is not a JSON object")
    return document


def _parse_pending(card: object) -> PendingCard:
    if not isinstance(card, dict):
        raise TypeError("card")
    return PendingCard(_as_text(card["identity"]), tuple(_parse_work(item) for item in _as_list(card["pending"])))


def _parse_work(item: object) -> PendingWork:
    if not isinstance(item, dict):
        raise TypeError("pending")
    return PendingWork(_as_text(item["aid"]), _as_text(item["reason"]), _as_text(item.get("dueAt") or ""))


def _as_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _as_list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("list")
    return value


def _violation(what: str) -> TerminalError:
    return TerminalError(
        TerminalCode.SERVER_PROTOCOL,
        f"The server does not speak as agreed: {what}.",
        "Check server.url; terminal and server may be of different versions.",
    )
