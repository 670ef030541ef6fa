"""Transfers: a security domain made by an issuer's platform for a provider's, and the hand-over of its control.

Rules: both platforms keep a row for the same transfer, under the id that the provider chose, so that every message may
be repeated. States only go forward. A transfer ends when both know that the provider's own keys are in force.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kms.card.keys import KcvMethod, KeyType

PLATFORM_NAME = r"[a-z0-9][a-z0-9-]{0,31}"  # regular expression of a whole platform name


class TransferSide(StrEnum):
    """Which of the two platforms this row belongs to."""

    ISSUER = "issuer"
    PROVIDER = "provider"


class TransferReason(StrEnum):
    """Why initial keys are asked for: a security domain that is not there yet, or one whose keys are compromised."""

    CREATE = "create"
    REKEY = "rekey"


class TransferState(StrEnum):
    """REQUESTED -> PROVED -> HANDED_OVER -> CONTROLLED -> CLOSED; REFUSED is final."""

    REQUESTED = "REQUESTED"  # asked for; the issuer's batches are being relayed
    PROVED = "PROVED"  # the issuer proved the initial keys on the card
    HANDED_OVER = "HANDED_OVER"  # the envelope was issued (again, as often as asked) or received
    CONTROLLED = "CONTROLLED"  # the provider's own keys are proved; its copy of the initial keys is erased
    CLOSED = "CLOSED"  # the issuer knows it too
    REFUSED = "REFUSED"


OPEN_TRANSFERS = frozenset(
    {TransferState.REQUESTED, TransferState.PROVED, TransferState.HANDED_OVER, TransferState.CONTROLLED}
)


@dataclass(frozen=True)
class Transfer:
    """One transfer as one side records it. `peer`: the other platform's name. `aid`: of the SSD, 5-16 bytes.

    `privileges`: of the SSD, 1 or 3 bytes. `key_type`: of the initial keys, as asked for: AES on a card that speaks
    SCP02 alone means DES2 (`kms.domain.cards.choose_key_type`). `security_domain_id`: this side's row, once there is
    one. `envelope`: the provider's copy of the hand-over, erased when control is its own. `session_id`: the issuer's
    visit that is relayed now. `refusal`: why, in words safe to show.
    """

    id: str
    side: TransferSide
    peer: str
    reason: TransferReason
    card_identity: bytes
    aid: bytes
    privileges: bytes
    key_type: KeyType
    state: TransferState
    requested_at: datetime
    security_domain_id: str | None = None
    envelope: str | None = field(default=None, repr=False)
    session_id: str = ""
    refusal: str = ""
    handed_over_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True)
class HandOver:
    """What the issuer's envelope says (docs/hand-over.md). Signed whole by the issuer's HSM.

    `wrapped`: ENC, MAC, DEK, each by AES key wrap (RFC 3394) under the peer KEK whose check value is `kek_kcv`
    (CMAC method, 5 bytes). `kcvs`: of the keys, 3 bytes each, by `kcv_method`. `kvn`: on the card.
    """

    transfer_id: str
    issuer: str
    provider: str
    card_identity: bytes
    kdd: bytes
    aid: bytes
    scp: int
    scp_i: int
    kvn: int
    generation: int
    key_type: KeyType
    kcvs: tuple[bytes, ...]
    kcv_method: KcvMethod
    kek_kcv: bytes
    issued_at: datetime
    expires_at: datetime
    wrapped: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class Envelope:
    """A hand-over on its way: the signed bytes and the ECDSA P-256 signature over their SHA-256 (r | s, 64 bytes)."""

    payload: bytes = field(repr=False)
    signature: bytes


@dataclass(frozen=True)
class TransferRequest:
    """What a provider asks an issuer for. `transfer_id`: a UUID that the provider chose; repeating it is harmless."""

    transfer_id: str
    reason: TransferReason
    card_identity: bytes
    aid: bytes
    privileges: bytes
    key_type: KeyType


@dataclass(frozen=True)
class TransferAnswer:
    """What the issuer says to a request: its state, and what the provider must know of the card.

    `kdd`: 10 bytes; `scp02_i`, `scp03_i`: the "i" of each protocol the card is known to speak, None of both where the
    issuer does not know yet; `profile`: the card profile's name.
    """

    state: TransferState
    kdd: bytes
    scp02_i: int | None
    scp03_i: int | None
    profile: str
    refusal: str = ""


@dataclass(frozen=True)
class RelayedOrder:
    """The issuer's next batch for the card, to be relayed unread. `number`: Order number, to be answered with.

    `ended`: the issuer's part is over; `state` then says how, `text` why.
    """

    number: int
    commands: tuple[bytes, ...] = field(repr=False)
    ended: bool
    state: TransferState
    text: str
