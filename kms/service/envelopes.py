"""An envelope as a provider keeps it from its coming to the proof of the provider's own keys; then it is erased."""

from pydantic import BaseModel, ConfigDict, ValidationError

from kms.domain.hand_over import parse_payload
from kms.domain.transfers import Envelope, HandOver
from kms.errors import Code, KmsError


class _Stored(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", extra="forbid")

    envelope: Envelope


def dump_envelope(envelope: Envelope) -> str:
    """The envelope as the transfer's row keeps it: keys in it are wrapped, and it is erased with the transfer."""
    return _Stored(envelope=envelope).model_dump_json()


def load_envelope(text: str) -> HandOver:
    """Read a kept envelope, which was checked when it came. Raises `transfer.envelope-malformed`."""
    try:
        return parse_payload(_Stored.model_validate_json(text).envelope.payload)
    except ValidationError as error:
        raise KmsError(Code.ENVELOPE_MALFORMED, "the kept envelope cannot be read: ask for it again") from error
