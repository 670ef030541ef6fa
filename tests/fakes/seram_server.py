"""A SERAM server in a test's hand: scripted batches of unique commands, Orders numbered by cookie.

Rules: written from the OpenAPI text and DESIGN section 3 alone; imports nothing of `terminal` or `kms`. It never sends
a command twice, save an Order whose predecessor is reported again. `httpx.MockTransport(server)` makes it a server.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class SeramServer:
    """Orders a number of batches, each of `size` commands, then Stop. `card`: seId it expects.

    `needs_cookies`: off, a Report without a cookie is taken for the answer to the last Order.
    """

    card: str
    batches: int = 2
    size: int = 2
    stop_with_commands: bool = False
    delay: int = 0
    needs_cookies: bool = True
    requests: list[httpx.Request] = field(default_factory=list)
    handshakes: list[str] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    cookies_seen: list[str | None] = field(default_factory=list)
    answered: list[list[str]] = field(default_factory=list)
    reconciliations: int = 0
    ended: bool = False
    faults: list[httpx.Response | Exception] = field(default_factory=list)
    _number: int = 0
    _last: dict[str, Any] | None = None
    _last_due: int = 0
    _sent: int = 0
    _left: int = -1

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        body = json.loads(request.content) if request.content else {}
        if request.url.path == "/gp/seram/handshake":
            return self._handshake(request.url.params["sessionId"], body)
        if request.url.path == "/gp/seram/remoteManagement":
            return self._remote_management(body, request.headers.get("Cookie"))
        return httpx.Response(404, json={"title": "Not found", "status": 404})

    def _handshake(self, session_id: str, body: dict[str, Any]) -> httpx.Response:
        if body["secureElements"][0]["seId"] != self.card:
            return httpx.Response(404, json={"title": "Card", "detail": "This card is unknown", "code": "card.unknown"})
        self.handshakes.append(session_id)
        return httpx.Response(
            200,
            json={
                "chosenTransportProtocol": "HTTPS",
                "chosenDataFormat": "application/json",
                "chosenDataProtocol": "application/json",
                "chosenVersion": "2.0.0",
            },
        )

    def _remote_management(self, body: dict[str, Any], cookie: str | None) -> httpx.Response:
        self.reports.append(body)
        self.cookies_seen.append(cookie)
        responses = [apdu for item in body.get("ramResponses", []) for apdu in item["listOfRAPDU"]]
        answers = int(cookie.removeprefix("kms-order=")) if cookie else None
        if answers is None and not self.needs_cookies:
            answers = self._number
        if answers is not None and answers == self._number - 1 and self._last is not None:
            return self._send(self._last)  # the last Order was lost on the way
        if answers == self._number and len(responses) == self._last_due:
            self.answered.append(responses)
        elif self._number:
            self.reconciliations += 1
            self._left += 1  # one batch more, to find out how the card stands
        return self._send(self._next())

    def _next(self) -> dict[str, Any]:
        first = self._number == 0
        self._number += 1
        if first:
            self._left = self.batches
        commands: list[dict[str, Any]] = [{"ramCommandType": "ramStartCommand"}] if first else []
        ends = self._left == 0 or (self._left == 1 and self.stop_with_commands)
        self._last_due = 0
        if self._left > 0:
            self._left -= 1
            self._last_due = self.size
            apdus = []
            for _ in range(self.size):
                self._sent += 1
                apdus.append(f"80CA{self._sent:04X}00")
            commands.append({"ramCommandType": "seRamCommand", "listOfCAPDU": apdus})
        if ends:
            self.ended = True
            commands += [
                {"ramCommandType": "notificationCommand", "deviceAppNotification": "keys are in place"},
                {"ramCommandType": "ramStopCommand"},
            ]
        self._last = {
            "delay": self.delay,
            "chosenSecureElement": {"seType": "undefined", "seId": self.card},
            "ramCommands": commands,
        }
        return self._last

    def _send(self, order: dict[str, Any]) -> httpx.Response:
        return httpx.Response(
            200, json=order, headers={"Set-Cookie": f"kms-order={self._number}; Path=/gp/seram; Secure; HttpOnly"}
        )
