"""What an issuer's platform answers, read strictly: its JSON in the values of `kms.domain.transfers`, and its refusals.

Rules: everything is the peer's word. Unknown fields, duplicate keys and what is too long are refused; of a refusal only
a code of our form and short printable text are passed on.
"""

import json
import re
from base64 import b64decode
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError
from pydantic.alias_generators import to_camel

from kms.domain.hand_over import MAX_PAYLOAD
from kms.domain.signatures import SIGNATURE_LENGTH
from kms.domain.transfers import Envelope, RelayedOrder, TransferAnswer, TransferState
from kms.errors import Code, Fault, KmsError

MAX_TEXT = 200  # characters kept of the peer's words
_MAX_COMMANDS = 256
_CODE = re.compile(r"[a-z]{1,20}\.[a-z-]{1,40}")

Text = Annotated[str, Field(max_length=2000)]
Apdu = Annotated[str, Field(pattern=r"^([0-9A-F]{2}){4,261}$")]  # a short APDU (ISO/IEC 7816-4 section 5.1)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


M = TypeVar("M", bound=_Answer)


class _TransferAnswer(_Answer):
    state: TransferState
    kdd: Annotated[str, Field(pattern=r"^[0-9A-F]{20}$")]
    scp02_i: Annotated[StrictInt, Field(ge=0, le=0xFF)] | None
    scp03_i: Annotated[StrictInt, Field(ge=0, le=0xFF)] | None
    profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    refusal: Text


class _RelayedOrder(_Answer):
    order: Annotated[StrictInt, Field(ge=0, lt=1 << 31)]
    commands: Annotated[list[Apdu], Field(max_length=_MAX_COMMANDS, repr=False)]
    ended: StrictBool
    state: TransferState
    text: Text


class _HandOver(_Answer):
    payload: Annotated[str, Field(max_length=2 * MAX_PAYLOAD, repr=False)]
    signature: Annotated[str, Field(max_length=2 * SIGNATURE_LENGTH)]
    state: TransferState


class _ControlAccepted(_Answer):
    state: TransferState


def parse_transfer_answer(body: bytes) -> TransferAnswer:
    """Read the answer to a request. Raises `peer.protocol-violation`, as all here do."""
    answer = _parse(_TransferAnswer, body)
    return TransferAnswer(
        state=answer.state,
        kdd=bytes.fromhex(answer.kdd),
        scp02_i=answer.scp02_i,
        scp03_i=answer.scp03_i,
        profile=answer.profile,
        refusal=clean_text(answer.refusal),
    )


def parse_relayed_order(body: bytes) -> RelayedOrder:
    """Read the issuer's next batch."""
    answer = _parse(_RelayedOrder, body)
    return RelayedOrder(
        number=answer.order,
        commands=tuple(bytes.fromhex(command) for command in answer.commands),
        ended=answer.ended,
        state=answer.state,
        text=clean_text(answer.text),
    )


def parse_envelope(body: bytes) -> Envelope:
    """Read an envelope; what it says is checked by whoever opens it."""
    answer = _parse(_HandOver, body)
    try:
        return Envelope(b64decode(answer.payload, validate=True), b64decode(answer.signature, validate=True))
    except ValueError:
        raise build_violation("its envelope is not base64") from None


def parse_control_accepted(body: bytes) -> TransferState:
    """Read the issuer's state of a transfer."""
    return _parse(_ControlAccepted, body).state


def parse_problem(body: bytes) -> Fault:
    """Read a refusal (RFC 9457): the peer's code, or `unknown`, and its text; other bodies give an empty text."""
    try:
        document = _load(body)
    except ValueError:
        document = None
    problem = document if isinstance(document, dict) else {}
    code, detail = problem.get("code"), problem.get("detail")
    return Fault(
        code if isinstance(code, str) and _CODE.fullmatch(code) else "unknown",
        clean_text(detail) if isinstance(detail, str) else "",
    )


def clean_text(text: str) -> str:
    """The peer's words as they may be shown: printable ASCII, at most 200 characters."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text[:MAX_TEXT])


def build_violation(what: str) -> KmsError:
    """Build the error for an answer that is not as agreed."""
    return KmsError(
        Code.PEER_PROTOCOL, f"The other platform does not speak as agreed: {what}. Compare the versions of both sides"
    )


def _parse(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate(_load(body))
    except ValueError as error:
        fields = _describe(error) if isinstance(error, ValidationError) else "it is not strict JSON"
        # The error's own text shows what was received.
        raise build_violation(f"its answer has not the agreed form ({fields})") from None


def _describe(error: ValidationError) -> str:
    places = {str(item["loc"][0]) for item in error.errors() if item["loc"]} or {"no object"}
    return ", ".join(sorted(clean_text(place)[:40] for place in places)[:5])


def _load(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_build_object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse(_name: str) -> NoReturn:
    raise ValueError("not a JSON number")
