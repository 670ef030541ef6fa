"""A provider's request for a security domain on a card that somebody else issued (flow 3, steps 2 and 3).

Rules: the request is on record before it leaves, under an id of ours, so that asking again after anything went wrong is
the same request. The card's row is made from the issuer's answer: a provider does not enrol cards.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace

from kms.card.channel import OPTIONS
from kms.card.keys import Diversification
from kms.config import CatalogueEntry
from kms.domain.audit import AuditEvent
from kms.domain.card_ranges import CardRange, find_issuer
from kms.domain.cards import SCP02, SCP03, Card, CardState, DomainKind, DomainState, SecurityDomain
from kms.domain.keys import KeyState
from kms.domain.transfers import (
    OPEN_TRANSFERS,
    Transfer,
    TransferAnswer,
    TransferReason,
    TransferSide,
    TransferState,
)
from kms.domain.visits import Terminal
from kms.errors import Code, KmsError
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.relay import Relay


def holds_trusted_keys(tx: Transaction, domain: SecurityDomain) -> bool:
    """Whether a security domain is keyed, and not by compromised keys alone."""
    states = [item.state for item in tx.key_sets.list_for_domain(domain.id)]
    is_compromised = KeyState.COMPROMISED in states and KeyState.ACTIVE not in states
    return domain.state is DomainState.KEYED and not is_compromised


def check_option(scp: int, option: int | None) -> int | None:
    """Take an issuer's word for a protocol's "i". Raises `peer.protocol-violation` for one that does not exist here."""
    if option is not None and option not in OPTIONS[scp]:
        raise KmsError(
            Code.PEER_PROTOCOL,
            f"The issuer says that the card speaks SCP{scp:02d} with i={option:02X}, which this platform does not",
        )
    return option


class DomainRequests:
    """Asks issuers for security domains. `card_ranges`: whose card is whose; `profiles`: names of those configured."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        relay: Relay,
        card_ranges: Sequence[CardRange],
        platform: str,
        profiles: Collection[str],
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._relay = relay
        self._card_ranges = card_ranges
        self._platform = platform
        self._profiles = profiles

    def ensure(self, terminal: Terminal, card_identity: bytes, entry: CatalogueEntry) -> None:
        """See to it that card and security domain are on record and, while it has no keys, asked for.

        Raises `card.unknown` for a card of no configured issuer, `peer.refused` with the issuer's reason,
        `peer.unreachable`, `config.invalid` for a card profile that is not configured here.
        """
        with self._store.transaction() as tx:
            card = tx.cards.find_by_identity(card_identity)
            if card is not None and card.state is not CardState.ENROLLED:
                return  # it is not served here, which the application says
            domain = tx.security_domains.find_by_aid(card.id, entry.ssd_aid) if card is not None else None
            if domain is not None and holds_trusted_keys(tx, domain):
                return
            transfer = self._find_open(tx, card_identity, entry.ssd_aid)
            if transfer is None:
                transfer = self._plan(tx, card_identity, entry, domain)
                tx.transfers.add(transfer)
                self._log(tx, terminal, transfer, "asked for")
            elif transfer.security_domain_id is not None:
                return
        try:
            answer = self._relay.ask(transfer)
        except KmsError as error:
            if error.code is Code.PEER_REFUSED:
                self._record_refusal(terminal, transfer, error)
            raise
        with self._store.transaction() as tx:
            self._record_domain(tx, transfer, answer, entry)
            self._log(tx, terminal, transfer, f"admitted by {transfer.peer}")

    def _plan(
        self, tx: Transaction, card_identity: bytes, entry: CatalogueEntry, domain: SecurityDomain | None
    ) -> Transfer:
        issuer = find_issuer(self._card_ranges, card_identity)
        if issuer is None:
            raise KmsError(
                Code.CARD_UNKNOWN, "the card is of no issuer this platform has a leased line to (card_ranges)"
            )
        was_ours = any(
            item.aid == entry.ssd_aid and item.state is TransferState.CLOSED
            for item in tx.transfers.list_for_card(card_identity)
        )
        return Transfer(
            id=str(uuid.uuid4()),
            side=TransferSide.PROVIDER,
            peer=issuer,
            reason=TransferReason.REKEY if was_ours else TransferReason.CREATE,
            card_identity=card_identity,
            aid=entry.ssd_aid,
            privileges=entry.privileges,
            key_type=entry.ssd_key_type,
            state=TransferState.REQUESTED,
            requested_at=self._clock.now(),
            security_domain_id=domain.id if domain is not None else None,
        )

    def _record_domain(
        self, tx: Transaction, transfer: Transfer, answer: TransferAnswer, entry: CatalogueEntry
    ) -> None:
        now = self._clock.now()
        card = tx.cards.find_by_identity(transfer.card_identity)
        if card is None:
            if answer.profile not in self._profiles:
                text = f"the issuer's card profile {answer.profile} is not configured on this platform"
                raise KmsError(Code.CONFIG_INVALID, text)
            card = Card(
                id=self._identifiers.new(),
                identity=transfer.card_identity,
                kdd=answer.kdd,
                scp02_i=check_option(SCP02, answer.scp02_i),
                scp03_i=check_option(SCP03, answer.scp03_i),
                profile=answer.profile,
                diversification=Diversification.NONE,  # the vendor's keys are the issuer's affair
                state=CardState.ENROLLED,
                enrolled_at=now,
            )
            tx.cards.add(card)
        domain = tx.security_domains.find_by_aid(card.id, transfer.aid)
        if domain is None:
            domain = SecurityDomain(
                id=self._identifiers.new(),
                card_id=card.id,
                parent_id=None,
                aid=transfer.aid,
                kind=DomainKind.SSD,
                state=DomainState.PLANNED,
                managed_by=self._platform,
                privileges=entry.privileges,
                last_generation=-1,
                created_at=now,
                key_type=entry.ssd_key_type,
            )
            tx.security_domains.add(domain)
        tx.transfers.save(replace(transfer, security_domain_id=domain.id))

    @staticmethod
    def _find_open(tx: Transaction, card_identity: bytes, aid: bytes) -> Transfer | None:
        mine = [item for item in tx.transfers.list_for_card(card_identity) if item.aid == aid]
        return next((item for item in reversed(mine) if item.state in OPEN_TRANSFERS), None)

    def _record_refusal(self, terminal: Terminal, transfer: Transfer, error: KmsError) -> None:
        why = "; ".join(fault.what for fault in error.faults) or error.detail
        with self._store.transaction() as tx:
            tx.transfers.save(replace(transfer, state=TransferState.REFUSED, refusal=why))
            self._log(tx, terminal, transfer, f"refused by {transfer.peer}: {why}")

    def _log(self, tx: Transaction, terminal: Terminal, transfer: Transfer, result: str) -> None:
        where = f"card {transfer.card_identity.hex().upper()}, SSD {transfer.aid.hex().upper()}"
        actor, subject = f"terminal {terminal.name}", f"transfer {transfer.id}"
        event = AuditEvent(
            self._identifiers.new(), self._clock.now(), actor, "transfer.request", subject, result, "", where
        )
        tx.audit.append(event)
