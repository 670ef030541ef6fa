"""A second, small SERAM agent, written from GlobalPlatform's OpenAPI text alone; it shares nothing with `terminal`.

It keeps no cookies, sends every command of an Order although one failed, uses the names of the schemas and their
discriminator mapping, and waits as `delay` says. It believes the server; a server must live with it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

DEFAULT_DELAY = 100  # milliseconds: remoteManagementOrder.delay
MOST_ORDERS = 100  # a server that never stops fails the test


class AnyCard(Protocol):
    """Whatever takes a command APDU and gives the response APDU."""

    def transmit(self, command: bytes, /) -> bytes: ...


@dataclass
class VisitResult:
    """What happened. `exchanges`: commands and responses in order, an empty response for one not available."""

    handshake: dict[str, Any] = field(default_factory=dict)
    requests: int = 0
    orders: list[dict[str, Any]] = field(default_factory=list)
    exchanges: list[tuple[bytes, bytes]] = field(default_factory=list)
    notifications: list[str] = field(default_factory=list)
    started: bool = False
    stopped: bool = False

    @property
    def status_words(self) -> list[str]:
        return [response[-2:].hex().upper() for _, response in self.exchanges]


def run_visit(
    client: httpx.Client,
    session_id: str,
    card: AnyCard,
    card_identity_hex: str,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> VisitResult:
    """Run one remote management session to its Stop Command; `client` knows the server's base address.

    Raises httpx.HTTPStatusError when the server refuses, RuntimeError when it does not come to an end.
    """
    result = VisitResult()
    result.handshake = _post(
        client,
        result,
        "/gp/seram/handshake",
        session_id,
        {
            "secureElements": [{"seType": "undefined", "seId": card_identity_hex}],
            "supportedTransportProtocols": ["HTTPS"],
            "supportedDataFormats": ["application/json"],
            "supportedVersions": ["2.0.0"],
        },
    )
    report: dict[str, Any] = {"localAgentStatus": {"localAgentStatusEnum": "POLLING", "executedSeRamCommands": 0}}
    while len(result.orders) < MOST_ORDERS:
        order = _post(client, result, "/gp/seram/remoteManagement", session_id, report)
        result.orders.append(order)
        report = _execute(order, card, result)
        if result.stopped:
            return result
        sleep(order.get("delay", DEFAULT_DELAY) / 1000)
    raise RuntimeError(f"no Stop Command in {MOST_ORDERS} Orders")


def _post(
    client: httpx.Client, result: VisitResult, path: str, session_id: str, message: dict[str, Any]
) -> dict[str, Any]:
    client.cookies.clear()
    result.requests += 1
    answer = client.post(path, params={"sessionId": session_id}, json=message)
    client.cookies.clear()
    answer.raise_for_status()
    body = answer.json()
    if not isinstance(body, dict):
        raise TypeError("not a JSON object")
    return body


def _execute(order: dict[str, Any], card: AnyCard, result: VisitResult) -> dict[str, Any]:
    responses: list[dict[str, Any]] = []
    available = True
    for command in order.get("ramCommands", []):
        kind = command["ramCommandType"]
        if kind == "ramStartCommand":
            result.started = True
        elif kind == "notificationCommand":
            result.notifications.append(command["deviceAppNotification"])
        elif kind == "ramStopCommand":
            result.stopped = True
            break
        elif kind == "seRamCommand":
            answers = []
            for text in command["listOfCAPDU"]:
                apdu = bytes.fromhex(text)
                response = _transmit(card, apdu)
                available = available and response != b""
                result.exchanges.append((apdu, response))
                answers.append(response.hex().upper())
            responses.append({"ramResponseType": "seRamResponse", "listOfRAPDU": answers})
    if not order.get("ramCommands"):
        return {"localAgentStatus": {"localAgentStatusEnum": "POLLING", "executedSeRamCommands": 0}}
    status: dict[str, Any] = {"localAgentStatusEnum": "PROCESSED", "executedSeRamCommands": len(responses)}
    if not available:
        status = {"localAgentStatusEnum": "UNAVAILABLE_SE", "executedSeRamCommands": 0, "errorMsg": "no answer"}
    return {"localAgentStatus": status, **({"ramResponses": responses} if responses else {})}


def _transmit(card: AnyCard, apdu: bytes) -> bytes:
    try:
        return card.transmit(apdu)
    except Exception:  # noqa: BLE001 -- any card object, any way of being gone: "an empty string as APDU Response"
        return b""
