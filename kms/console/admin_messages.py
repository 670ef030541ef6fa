"""The admin API's messages: the forms of what is sent, and requests as they are shown."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from kms.domain.permissions import PERMISSIONS
from kms.domain.requests import Approval, Request
from kms.errors import Code, Fault, KmsError
from kms.service.plain_values import build_record, to_plain

ShortText = Annotated[str, Field(min_length=1, max_length=200)]


class Message(BaseModel):
    """Strict: nothing unknown, no type for another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, val_json_bytes="hex")


class LoginMessage(Message):
    """Password and one-time code; security keys need a browser."""

    login: ShortText
    password: Annotated[str, Field(min_length=1, max_length=1000, repr=False)]
    totp: Annotated[str, Field(pattern=r"^[0-9]{6,8}$", repr=False)]


class ActionMessage(Message):
    """`parameters`: the action's own form. `reason`: why, for the record."""

    parameters: dict[str, JsonValue]
    reason: Annotated[str, Field(max_length=500)] = ""


class ApproveMessage(Message):
    """`digest`: of the request as it was shown. `totp`: a code of now."""

    digest: Annotated[bytes, Field(min_length=32, max_length=32)]
    totp: Annotated[str, Field(pattern=r"^[0-9]{6,8}$", repr=False)]


class RejectMessage(Message):
    """`digest`: of the request as it was shown."""

    digest: Annotated[bytes, Field(min_length=32, max_length=32)]


M = TypeVar("M", bound=Message)


def read_message(form: type[M], body: bytes) -> M:
    """Read a body. Raises `input.invalid` with every fault and its field, without values."""
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        faults = tuple(
            Fault(".".join(("body", *map(str, item["loc"]))), item["msg"])
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        )
    # Not from the cause: its text would quote what was sent, a password perhaps.
    raise KmsError(Code.INPUT_INVALID, "The request is not as documented: mend each fault.", faults=faults)


def build_request(request: Request, decisions: Sequence[Approval] = ()) -> Mapping[str, object]:
    """A request as people and programs read it: its parameters as an object, and who may decide."""
    shown = build_record(
        request,
        may_approve=sorted(PERMISSIONS[request.action].approving_roles),
        decisions=[build_record(item) for item in decisions],
    )
    plain = to_plain(shown)
    assert isinstance(plain, dict)  # noqa: S101 - for the type: a mapping gives a dict
    return plain | {"parameters": json.loads(request.parameters)}
