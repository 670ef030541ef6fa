"""GlobalPlatform SERAM 2.0 messages: JSON of the HTTP REST binding to frozen values and back. No I/O.

Rules: an Order is parsed strictly (types, hexadecimal, known command types, no key twice); fields that the
specification's text does not name are skipped, as its schemas allow. Where the OpenAPI text contradicts itself both
names are taken: `ramStartCommand` and `startCommand`, `ramStopCommand` and `stopCommand`, `chosenDataProtocol` and
`chosenDataFormat`. APDUs never show in a repr or an error.
"""

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum

from terminal.errors import TerminalCode, TerminalError

DEFAULT_DELAY_MS = 100  # SERAM 2.0 OpenAPI, remoteManagementOrder.delay
LONGEST_DELAY_MS = 600_000  # ours: twice the reconnect time; a longer wait is taken for a fault of the server
_HEX = re.compile(r"([0-9A-Fa-f]{2})*")


class AgentStatus(StrEnum):
    """SERAM localAgentStatusEnum, what this agent uses of it."""

    PROCESSED = "PROCESSED"
    POLLING = "POLLING"
    UNAVAILABLE_SE = "UNAVAILABLE_SE"
    UNKNOWN_FAILURE = "UNKNOWN_FAILURE"


@dataclass(frozen=True)
class StartCommand:
    """The server's management has started."""


@dataclass(frozen=True)
class SeRamCommand:
    """Command APDUs for the card, to be sent in order."""

    apdus: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class NotificationCommand:
    """A text for the terminal's user."""

    text: str


@dataclass(frozen=True)
class StopCommand:
    """The end: no further Report."""


RamCommand = StartCommand | SeRamCommand | NotificationCommand | StopCommand


@dataclass(frozen=True)
class Order:
    """What the server wants done. `delay_ms`: wait before the next Report; `se_id`: the card meant, None for ours."""

    commands: tuple[RamCommand, ...] = ()
    delay_ms: int = DEFAULT_DELAY_MS
    se_id: str | None = None

    @property
    def apdu_commands(self) -> tuple[SeRamCommand, ...]:
        """The SE RAM Commands up to the Stop Command, in order."""
        wanted: list[SeRamCommand] = []
        for command in self.commands:
            if isinstance(command, StopCommand):
                break
            if isinstance(command, SeRamCommand):
                wanted.append(command)
        return tuple(wanted)

    @property
    def stops(self) -> bool:
        """Whether this Order ends the visit."""
        return any(isinstance(command, StopCommand) for command in self.commands)


@dataclass(frozen=True)
class Report:
    """What this terminal did. `executed`: SE RAM Commands carried out; `responses`: one tuple for each of them.

    An empty response stands for one that is not available. `error`: additional text, safe to log.
    """

    status: AgentStatus
    executed: int = 0
    responses: tuple[tuple[bytes, ...], ...] = field(default=(), repr=False)
    error: str = ""


VOID_REPORT = Report(AgentStatus.POLLING)  # "the POLLING status SHALL be used for the first HTTP request"


def build_handshake(card_identity: bytes) -> dict[str, object]:
    """Build the Handshake Command for one card. `seId`: its identity in upper-case hex, `seType`: `undefined`."""
    return {
        "secureElements": [{"seType": "undefined", "seId": card_identity.hex().upper()}],
        "supportedTransportProtocols": ["HTTPS"],
        "supportedDataFormats": ["application/json"],
        "supportedVersions": ["2.0.0"],
    }


def check_handshake_response(body: bytes) -> None:
    """Raise `server.protocol-violation` unless the server chose what `build_handshake` offers."""
    answer = _parse_object(body)
    data_format = answer.get("chosenDataProtocol", answer.get("chosenDataFormat"))
    if answer.get("chosenTransportProtocol") != "HTTPS":
        raise _violation("the handshake's chosenTransportProtocol is not HTTPS")
    if data_format != "application/json" or answer.get("chosenDataFormat", data_format) != data_format:
        raise _violation("the handshake's chosenDataProtocol is not application/json")
    if answer.get("chosenVersion") != "2.0.0":
        raise _violation("the handshake's chosenVersion is not 2.0.0")


def parse_order(body: bytes) -> Order:
    """Parse an Order; raises `server.protocol-violation` saying which field is wrong, never what it held."""
    message = _parse_object(body)
    delay = message.get("delay", DEFAULT_DELAY_MS)
    if isinstance(delay, bool) or not isinstance(delay, int) or not 0 <= delay <= LONGEST_DELAY_MS:
        raise _violation(f"the Order's delay is not a number from 0 to {LONGEST_DELAY_MS}")
    commands: tuple[RamCommand, ...] = ()
    if "ramCommands" in message:
        items = message["ramCommands"]
        if not isinstance(items, list) or not items:  # "The list SHALL contain at least one Command Message"
            raise _violation("the Order's ramCommands is not a list of one command or more")
        commands = tuple(_parse_command(item) for item in items)
    return Order(commands, delay, _parse_secure_element(message.get("chosenSecureElement")))


def build_report(report: Report) -> dict[str, object]:
    """Build a Report Message."""
    status: dict[str, object] = {"localAgentStatusEnum": report.status, "executedSeRamCommands": report.executed}
    if report.error:
        status["errorMsg"] = report.error
    message: dict[str, object] = {"localAgentStatus": status}
    if report.responses:
        message["ramResponses"] = [
            {"ramResponseType": "seRamResponse", "listOfRAPDU": [apdu.hex().upper() for apdu in apdus]}
            for apdus in report.responses
        ]
    return message


def _parse_object(body: bytes) -> dict[str, object]:
    try:
        message = json.loads(body, object_pairs_hook=_refuse_twice)
    except (ValueError, RecursionError) as error:
        raise _violation("its answer is not JSON, or names a field twice") from error
    if not isinstance(message, dict):
        raise _violation("its answer is not a JSON object")
    return message


def _refuse_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("field named twice")
    return fields


def _parse_command(item: object) -> RamCommand:
    if not isinstance(item, dict):
        raise _violation("a command of the Order is not a JSON object")
    match item.get("ramCommandType"):
        case "ramStartCommand" | "startCommand":
            return StartCommand()
        case "ramStopCommand" | "stopCommand":
            return StopCommand()
        case "seRamCommand":
            apdus = item.get("listOfCAPDU")
            if not isinstance(apdus, list):
                raise _violation("an SE RAM Command has no listOfCAPDU")
            return SeRamCommand(tuple(_parse_apdu(apdu) for apdu in apdus))
        case "notificationCommand":
            text = item.get("deviceAppNotification")
            if not isinstance(text, str):
                raise _violation("a Notification Command has no deviceAppNotification")
            return NotificationCommand(text)
        case _:
            raise _violation("a command of the Order has no known ramCommandType")


def _parse_apdu(text: object) -> bytes:
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise _violation("a command APDU is not hexadecimal")
    apdu = bytes.fromhex(text)
    if not 4 <= len(apdu) <= 261:  # ISO/IEC 7816-3 section 12.1: a header, at most 1 + 255 + 1 more in short form
        raise _violation("a command APDU is not from 4 to 261 bytes long")
    return apdu


def _parse_secure_element(item: object) -> str | None:
    if item is None:
        return None
    if not isinstance(item, dict) or not isinstance(item.get("seId"), str) or not isinstance(item.get("seType"), str):
        raise _violation("the Order's chosenSecureElement has no seType and seId")
    se_id: str = item["seId"]
    return se_id.upper()


def _violation(what: str) -> TerminalError:
    return TerminalError(
        TerminalCode.SERVER_PROTOCOL,
        f"The server does not speak SERAM 2.0 as agreed: {what}.",
        "Tell the server's operator; check server.url in the configuration.",
    )
