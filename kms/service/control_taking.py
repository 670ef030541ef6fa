"""The provider's part of a transfer inside a visit: asking for the first batch, taking the hand-over.

Rules: the issuer hears of our control of the last transfer before it is asked for new keys. What is taken is checked
against the signing key and the KEK that were exchanged with this peer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from kms.card.keys import KeyPort
from kms.domain.cards import SecurityDomain
from kms.domain.keys import Delivery, KeyState, MasterKind
from kms.domain.transfers import RelayedOrder, Transfer, TransferState
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord
from kms.service.envelopes import dump_envelope
from kms.service.key_refs import build_master_ref
from kms.service.relay import Relay, Trust
from kms.service.settling import Settling

# The terminal's Report comes again: the line or our HSM may be back by then.
RETRIED_ERRORS = frozenset({Code.PEER_UNREACHABLE, Code.HSM_UNAVAILABLE, Code.VISIT_CONFLICT})


@dataclass(frozen=True)
class ControlTaking:
    """The working of one step. `platform`: our name; `note`: writes a line into the visit's journal."""

    settling: Settling
    platform: str
    note: Callable[[str, str], None]

    @property
    def _record(self) -> CardRecord:
        return self.settling.record

    def begin(self, relay: Relay, transfer: Transfer) -> RelayedOrder:
        """Ask for the first batch; the issuer must have heard of our control before it is asked for new keys."""
        for earlier in list(self._record.transfers.values()):
            if earlier.aid == transfer.aid and earlier.state is TransferState.CONTROLLED:
                try:
                    relay.accept_control(earlier)
                except KmsError as error:
                    if error.code in RETRIED_ERRORS:
                        raise
                    self.note("not-heard", f"{earlier.peer} did not hear of our control: {error.code}")
                else:
                    self.settling.close(earlier)
        return relay.begin(transfer)

    def receive(self, relay: Relay, transfer: Transfer, keys: KeyPort) -> None:
        """Fetch the hand-over, check it, and record it. Raises `key.missing`, `transfer.envelope-*`, `peer.*`."""
        record = self._record
        signing = record.peer_keys.get(transfer.peer)
        keks = [item for item in record.masters.values() if item.kind is MasterKind.PEER_KEK]
        active = [item for item in keks if item.name == transfer.peer and item.state is KeyState.ACTIVE]
        kek = max(active, key=lambda item: item.generation, default=None)
        if signing is None or kek is None:
            raise KmsError(Code.KEY_MISSING, f"no keys were exchanged with {transfer.peer} (`kms keys exchange`)")
        trust = Trust(self.platform, signing.public_key_der, build_master_ref(kek))
        envelope, hand_over = relay.fetch(transfer, record.card, trust, keys, self.settling.now)
        self.settling.receive(transfer, dump_envelope(envelope), hand_over, kek.id)


def find_unproved_hand_over(record: CardRecord, domain: SecurityDomain) -> Transfer | None:
    """The transfer whose keys are the domain's by the issuer's word alone."""
    current = record.find_current_set(domain)
    if current is None or current.delivery is not Delivery.FACTORY or current.purpose is None:
        return None
    return record.find_transfer(domain)
