"""The JSON of GlobalPlatform SERAM 2.0, and what it means in the values of `kms.domain.orders`.

Rules: sent as the OpenAPI text's discriminator mapping names things; taken in either of the spellings that text uses
(ADR 0053). Unknown fields are ignored, as the text allows and later versions will need. Every value is the terminal's
word: lengths and alphabets are checked here, meaning nowhere but in the visit.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field, StrictInt

from kms.domain.orders import AgentStatus, Order, Report

VERSION = "2.0.0"
DATA_FORMAT = "application/json"
TRANSPORT = "HTTPS"
SE_TYPE = "undefined"  # DESIGN section 3: a card in a reader is none of SERAM's element types
MAX_ERROR = 200  # characters kept of an agent's error text
_MAX_IDENTITY = 32

_HEX = re.compile(r"([0-9A-Fa-f]{2})+")
# SERAM's text calls one status UNGRANTED_ACCESS in its list and UNGRANDED_ACCESS in a description.
_STATUS_SPELLINGS = {"UNGRANDED_ACCESS": AgentStatus.UNGRANTED_ACCESS}

Apdu = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2})*$")]
Names = Annotated[list[str], Field(max_length=32)]


class SessionQuery(BaseModel):
    """The sessionId every request carries: a UUID in text form (RFC 9562 section 4)."""

    sessionId: Annotated[  # noqa: N815 (SERAM's name)
        str, Field(pattern=r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$")
    ]

    @property
    def session_id(self) -> str:
        """The sessionId in lower case, the form RFC 9562 writes."""
        return self.sessionId.lower()


class SecureElement(BaseModel):
    """A card the agent sees. Its type says nothing to us and may be any."""

    seType: str  # noqa: N815 (SERAM's name)
    seId: Annotated[str, Field(max_length=256)]  # noqa: N815 (SERAM's name)


class HandshakeCommand(BaseModel):
    """SERAM ramHandshakeCommand, in the spellings of its schema, its example and its description."""

    secure_elements: Annotated[list[SecureElement], Field(max_length=16)] = Field(alias="secureElements")
    transports: Names = Field(
        default=[TRANSPORT],
        validation_alias=AliasChoices("supportedTransportProtocols", "supportedTransportProtocol"),
    )
    formats: Names = Field(
        default=[DATA_FORMAT], validation_alias=AliasChoices("supportedDataFormats", "supportedDataFormat")
    )
    versions: Names = Field(default=[VERSION], validation_alias=AliasChoices("supportedVersions", "supportedVersion"))

    @property
    def fits(self) -> bool:
        """Whether the agent speaks what we speak."""
        return TRANSPORT in self.transports and DATA_FORMAT in self.formats and VERSION in self.versions

    def identities(self) -> tuple[bytes, ...]:
        """Card identities in the agent's order; an element whose identifier cannot be one of ours is left out."""
        hexes = (element.seId for element in self.secure_elements)
        return tuple(bytes.fromhex(text) for text in hexes if _HEX.fullmatch(text) and len(text) <= 2 * _MAX_IDENTITY)


class AgentStatusMessage(BaseModel):
    """SERAM localAgentStatus. The count of executed commands proves nothing and is only checked for its type."""

    localAgentStatusEnum: Literal[  # noqa: N815 (SERAM's name)
        "PROCESSED", "POLLING", "UNAVAILABLE_SE", "UNKNOWN_FAILURE", "UNGRANTED_ACCESS", "UNGRANDED_ACCESS"
    ]
    executedSeRamCommands: Annotated[StrictInt, Field(ge=0)] = 0  # noqa: N815 (SERAM's name)
    errorMsg: str = ""  # noqa: N815 (SERAM's name)


class SeRamResponse(BaseModel):
    """SERAM seRamResponse: response APDUs in hex, empty where none was available."""

    ramResponseType: Literal["seRamResponse"]  # noqa: N815 (SERAM's name)
    listOfRAPDU: list[Apdu] = Field(repr=False)  # noqa: N815 (SERAM's name)


class ReportMessage(BaseModel):
    """SERAM remoteManagementReport."""

    localAgentStatus: AgentStatusMessage  # noqa: N815 (SERAM's name)
    ramResponses: list[SeRamResponse] = []  # noqa: N815 (SERAM's name)


def parse_report(message: ReportMessage, answers_order: int | None) -> Report:
    """Read a Report. Responses of several SE RAM Responses count as one list, in their order."""
    status = message.localAgentStatus
    return Report(
        status=_STATUS_SPELLINGS.get(status.localAgentStatusEnum) or AgentStatus(status.localAgentStatusEnum),
        answers_order=answers_order,
        responses=tuple(bytes.fromhex(apdu) for answer in message.ramResponses for apdu in answer.listOfRAPDU),
        error=_clean(status.errorMsg[:MAX_ERROR]),
    )


def _clean(text: str) -> str:
    """The agent's words as they may be shown: what could command a screen is a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def build_handshake_response() -> dict[str, str]:
    """Build SERAM ramHandshakeResponse: its schema requires chosenDataProtocol and defines chosenDataFormat."""
    return {
        "chosenTransportProtocol": TRANSPORT,
        "chosenDataFormat": DATA_FORMAT,
        "chosenDataProtocol": DATA_FORMAT,
        "chosenVersion": VERSION,
    }


def build_order(order: Order) -> dict[str, Any]:
    """Build SERAM remoteManagementOrder, with the command names of its discriminator mapping."""
    commands: list[dict[str, Any]] = []
    if order.start:
        commands.append({"ramCommandType": "ramStartCommand"})
    if order.commands:
        apdus = [command.hex().upper() for command in order.commands]
        commands.append({"ramCommandType": "seRamCommand", "listOfCAPDU": apdus})
    if order.notification:
        commands.append({"ramCommandType": "notificationCommand", "deviceAppNotification": order.notification})
    if order.stop:
        commands.append({"ramCommandType": "ramStopCommand"})
    message: dict[str, Any] = {
        "delay": order.delay_ms,
        "chosenSecureElement": {"seType": SE_TYPE, "seId": order.card_identity.hex().upper()},
    }
    # "The list SHALL contain at least one Command Message": an Order without commands has no list.
    return {**message, "ramCommands": commands} if commands else message
