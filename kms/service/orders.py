"""An Order as the visit stores it, to be sent again when it was lost on the way. Erased when the visit ends."""

from pydantic import BaseModel, ConfigDict, ValidationError

from kms.domain.orders import Order


class _Stored(BaseModel):
    model_config = ConfigDict(ser_json_bytes="hex", val_json_bytes="hex", extra="forbid")

    order: Order


def dump_order(order: Order) -> str:
    """The Order as JSON."""
    return _Stored(order=order).model_dump_json()


def find_order(text: str | None) -> Order | None:
    """Read `dump_order`'s JSON back; None for anything else, as another version of this server may have stored it."""
    if text is None:
        return None
    try:
        return _Stored.model_validate_json(text).order
    except ValidationError:
        return None
