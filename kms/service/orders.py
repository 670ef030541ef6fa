"""An Order as the visit stores it, to be sent again when it was lost on the way. Erased when the visit ends."""

from pydantic import BaseModel, ConfigDict, ValidationError

from kms.domain.orders import Order
from kms.errors import Code, KmsError


class _Stored(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex", extra="forbid")

    order: Order


def dump_order(order: Order) -> str:
    """The Order as JSON."""
    return _Stored(order=order).model_dump_json()


def load_order(text: str) -> Order:
    """Read `dump_order`'s JSON back. Raises `visit.conflict` for anything else."""
    try:
        return _Stored.model_validate_json(text).order
    except ValidationError as error:
        raise KmsError(Code.VISIT_CONFLICT, "the visit's stored Order cannot be read: begin a new visit") from error
