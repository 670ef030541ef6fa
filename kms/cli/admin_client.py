"""The admin API as the command line calls it.

Rules: the login's secret goes in the Authorization header, never in an address. An answer is either what was asked for
or an error with the server's own code and words.
"""

import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from kms.cli.login_files import SavedLogin
from kms.errors import Code, Fault, KmsError

TIMEOUT_SECONDS = 600.0  # a card file of 100,000 lines, a campaign over all of them
CONNECT_SECONDS = 10.0


class AdminClient:
    """Calls one server. `secret`: of the login, empty before it."""

    def __init__(self, server: str, ca: str, secret: str = "") -> None:
        self._server = server.rstrip("/")
        self._ca = ca
        self._secret = secret

    @classmethod
    def of(cls, login: SavedLogin) -> "AdminClient":
        """As somebody who logged in."""
        return cls(login.server, login.ca, login.secret)

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """Ask. Raises the server's error, `console.unreachable`."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Send. Raises as `get`."""
        return self._call("POST", path, json=body)

    def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's arguments
        headers = {"Authorization": f"Bearer {self._secret}"} if self._secret else {}
        try:
            with open_http(self._ca) as client:
                answer = client.request(method, f"{self._server}/admin/v1{path}", headers=headers, **content)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            text = f"{self._server} does not answer ({type(error).__name__}): is `kms console` running there?"
            raise KmsError(Code.CONSOLE_UNREACHABLE, text) from None
        return _read(answer)


def open_http(ca: str) -> httpx.Client:
    """Open connections that are checked by the authority `ca`. Raises `console.unreachable` for a file that is none."""
    timeout = httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
    return httpx.Client(verify=_build_context(ca), timeout=timeout, trust_env=False)


def _build_context(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise KmsError(
            Code.CONSOLE_UNREACHABLE, f"{ca} is no usable certificate of an authority ({type(error).__name__})."
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _read(answer: httpx.Response) -> dict[str, Any]:
    try:
        body: dict[str, Any] = dict(answer.json()) if answer.content else {}
        if answer.is_success:
            return body
        code = Code(str(body["code"]))
        faults = tuple(Fault(str(item["where"]), str(item["what"])) for item in body.get("faults", ()))
        detail = str(body["detail"])
    except (ValueError, KeyError, TypeError):
        text = f"The server answered {answer.status_code} with what is no answer of ours: is it `kms console`?"
        raise KmsError(Code.CONSOLE_UNREACHABLE, text) from None
    raise KmsError(code, detail, faults=faults)
