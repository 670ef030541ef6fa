"""The provider's end of a transfer: relaying the issuer's batches unread, and taking the hand-over (flow 3).

Rules: every call goes over the leased line while no transaction is open, and may be repeated. What comes back is
believed only as far as it is checked: an envelope by its signature, its addresses and its time, the keys in it by their
check values inside our HSM, and at last by the card's own cryptogram.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kms.card.hand_over_keys import check_wrapped_keys
from kms.card.keys import KeyPort, MasterRef
from kms.domain.cards import Card
from kms.domain.hand_over import check_hand_over, parse_payload
from kms.domain.orders import AgentStatus, Report
from kms.domain.signatures import check_signature
from kms.domain.transfers import Envelope, HandOver, RelayedOrder, Transfer, TransferAnswer, TransferRequest
from kms.errors import Code, KmsError
from kms.service.key_refs import build_wrapped_ref
from kms.service.ports import PeerLine


class RelayState(BaseModel):
    """A visit's program while the issuer's batches pass through: the transfer, and the issuer's last Order number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["relay"] = "relay"
    transfer_id: str
    order_number: int


def load_relay(text: str | None) -> RelayState | None:
    """The relay in a visit's stored program; None for any other program."""
    try:
        return RelayState.model_validate_json(text) if text is not None else None
    except ValidationError:
        return None


@dataclass(frozen=True)
class Trust:
    """What an envelope is checked against: our name, the issuer's pinned signing key, the KEK agreed with it."""

    own_name: str
    signing_key: bytes
    kek: MasterRef


class Relay:
    """The provider's calls. `lines`: the leased line of each issuer, by its platform name."""

    def __init__(self, lines: Mapping[str, PeerLine]) -> None:
        self._lines = lines

    def line(self, issuer: str) -> PeerLine:
        """The line to an issuer. Raises `peer.unknown`."""
        line = self._lines.get(issuer)
        if line is None:
            raise KmsError(Code.PEER_UNKNOWN, f"no leased line to {issuer} is configured")
        return line

    def ask(self, transfer: Transfer) -> TransferAnswer:
        """Ask the issuer for the security domain; asking again is harmless."""
        request = TransferRequest(
            transfer.id,
            transfer.reason,
            transfer.card_identity,
            transfer.aid,
            transfer.privileges,
            transfer.key_type,
        )
        return self.line(transfer.peer).request(request)

    def begin(self, transfer: Transfer) -> RelayedOrder:
        """Ask, and get the issuer's first batch."""
        self.ask(transfer)
        return self.line(transfer.peer).report(transfer.id, Report(AgentStatus.POLLING, None))

    def answer(
        self, transfer: Transfer, state: RelayState, responses: Sequence[bytes], status: AgentStatus
    ) -> RelayedOrder:
        """Hand the card's responses on, get the next batch."""
        report = Report(status, state.order_number, tuple(responses))
        return self.line(transfer.peer).report(transfer.id, report)

    def fetch(
        self, transfer: Transfer, card: Card, trust: Trust, keys: KeyPort, now: datetime
    ) -> tuple[Envelope, HandOver]:
        """Get the envelope and check it whole, down to the keys' check values in our HSM.

        Raises `transfer.envelope-*`, `key.unwrap-refused`, `key.kcv-mismatch`.
        """
        envelope = self.line(transfer.peer).hand_over(transfer.id)
        check_signature(trust.signing_key, envelope.payload, envelope.signature)
        hand_over = parse_payload(envelope.payload)
        check_hand_over(
            hand_over, expected=transfer, card=card, own_name=trust.own_name, now=now, kek_kcv=trust.kek.kcv
        )
        enc, mac, dek = hand_over.kcvs  # three of each, as check_hand_over saw to
        check_wrapped_keys(keys, build_wrapped_ref(hand_over, trust.kek), (enc, mac, dek))
        return envelope, hand_over

    def accept_control(self, transfer: Transfer) -> None:
        """Tell the issuer that our own keys are proved."""
        self.line(transfer.peer).accept_control(transfer.id)
