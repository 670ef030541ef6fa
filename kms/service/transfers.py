"""Transfers at the issuer: what a provider may ask over the leased line, and the hand-over of a security domain.

Rules:
- What a peer may ask for is configuration; anything else is refused with a reason and recorded.
- The provider's relay is a visit like any other, with the peer in the terminal's place: it cannot read what it carries.
- An envelope is issued only after the issuer proved the initial keys on the card, and again until control is accepted.
- The issuer keeps no initial keys: it derives them anew for each envelope. Once control is accepted it makes no more.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from kms.card.hand_over_keys import wrap_initial_keys
from kms.card.keys import DerivationPurpose, KeyType
from kms.config import PeerConfig
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.cards import Card, DomainKind, DomainState, SecurityDomain, choose_key_type, get_scp
from kms.domain.hand_over import build_payload
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKind, PlatformKeyPurpose
from kms.domain.orders import Report
from kms.domain.transfers import (
    OPEN_TRANSFERS,
    Envelope,
    HandOver,
    RelayedOrder,
    Transfer,
    TransferAnswer,
    TransferReason,
    TransferRequest,
    TransferSide,
    TransferState,
)
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateReason, UpdateState
from kms.domain.visits import Terminal, TerminalState
from kms.errors import Code, KmsError
from kms.service.key_refs import build_key_set_ref, build_master_ref
from kms.service.pending import get_served_card
from kms.service.plan import names_domain
from kms.service.ports import Clock, Identifiers, Store, Transaction, Vault
from kms.service.visits import VisitService, until_claimed


class TransferService:
    """The issuer's use cases of the leased line. `peers`: what each may ask for, by name."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        clock: Clock,
        identifiers: Identifiers,
        visits: VisitService,
        peers: Mapping[str, PeerConfig],
        platform: str,
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers
        self._visits = visits
        self._peers = peers
        self._platform = platform

    def request(self, peer: str, request: TransferRequest) -> TransferAnswer:
        """Take a provider's request; repeating it is harmless.

        Raises `peer.not-allowed`, `peer.quota`, `transfer.refused` with the reason, `card.unknown`, `card.quarantined`,
        `transfer.conflict` for another request under the same id.
        """
        try:
            return until_claimed(lambda: self._request(peer, request))
        except KmsError as error:
            self._record_refusal(peer, request, error)
            raise

    def _request(self, peer: str, request: TransferRequest) -> TransferAnswer:
        with self._store.transaction() as tx:
            known = tx.transfers.find(request.transfer_id)
            card = get_served_card(tx, request.card_identity)
            if known is None:
                known = self._admit(tx, peer, request, card)
            check_same_request(known, peer, request)
        # A claim is not passed on as if it were known: the hand-over will say what opened.
        i02, i03 = (None, None) if card.has_claims else (card.scp02_i, card.scp03_i)
        return TransferAnswer(known.state, card.kdd, i02, i03, card.profile, known.refusal)

    def get(self, peer: str, transfer_id: str) -> Transfer:
        """Get a peer's own transfer. Raises `transfer.unknown`, for another peer's too."""
        with self._store.transaction() as tx:
            return get_transfer(tx, peer, transfer_id)

    def report(self, peer: str, transfer_id: str, report: Report) -> RelayedOrder:
        """Take the card's responses, give the next batch. A Report that answers no Order begins the visit anew.

        Raises as `VisitService.report`, and `transfer.unknown`.
        """
        with self._store.transaction() as tx:
            transfer = get_transfer(tx, peer, transfer_id)
            if transfer.state is not TransferState.REQUESTED:
                return RelayedOrder(0, (), ended=True, state=transfer.state, text=transfer.refusal or "done")
            counterpart = self._get_counterpart(tx, peer)
            if report.answers_order is None or not transfer.session_id:
                transfer = self._open_visit(tx, transfer, counterpart)
        order = self._visits.report(counterpart, transfer.session_id, report)
        if not order.stop:
            return RelayedOrder(order.number, order.commands, ended=False, state=transfer.state, text="")
        state = self._conclude(transfer)
        return RelayedOrder(order.number, (), ended=True, state=state, text=order.notification)

    def hand_over(self, peer: str, transfer_id: str) -> Envelope:
        """Make the envelope: initial keys wrapped for the peer's HSM, signed by ours.

        Raises `transfer.state` before the initial keys are proved and after control was accepted, `key.missing`
        without a KEK or signing key, `hsm.*`.
        """
        with self._store.transaction() as tx:
            transfer = get_transfer(tx, peer, transfer_id)
            check_handing_over(transfer)
            card = get_served_card(tx, transfer.card_identity)
            domain, initial = self._get_initial_set(tx, transfer)
            master = tx.master_keys.get(initial.master_id)
            kek = tx.master_keys.find_active(MasterKind.PEER_KEK, peer)
            signing = tx.platform_keys.find_active(PlatformKeyPurpose.SIGNING)
        if kek is None or signing is None:
            text = f"there is no KEK for {peer} or no signing key: exchange keys first (`kms keys exchange`)"
            raise KmsError(Code.KEY_MISSING, text)
        ref = build_key_set_ref(self._platform, card, domain, initial, master)
        with self._vault.open_scope() as keys:
            wrapped, kcvs = wrap_initial_keys(keys, build_master_ref(kek), ref)
        if kcvs != initial.kcvs:
            raise KmsError(Code.KEY_KCV_MISMATCH, "the initial keys derived now are not those on the card")
        now = self._clock.now().replace(microsecond=0)
        scp = get_scp(initial.key_type)
        payload = build_payload(
            HandOver(
                transfer_id=transfer.id,
                issuer=self._platform,
                provider=peer,
                card_identity=card.identity,
                kdd=card.kdd,
                aid=domain.aid,
                scp=scp,
                scp_i=card.get_i(scp),
                kvn=initial.kvn,
                generation=initial.generation,
                key_type=initial.key_type,
                kcvs=kcvs,
                kcv_method=initial.kcv_method,
                kek_kcv=kek.kcv,
                issued_at=now,
                expires_at=now + self._peers[peer].hand_over_validity,
                wrapped=wrapped,
            )
        )
        envelope = Envelope(payload, self._vault.sign(signing.object_id, payload))
        with self._store.transaction() as tx:
            again = transfer.state is TransferState.HANDED_OVER
            transfer = get_transfer(tx, peer, transfer_id)
            check_handing_over(transfer)  # control may have been accepted meanwhile, or a later request admitted
            handed_over = replace(transfer, state=TransferState.HANDED_OVER, handed_over_at=now)
            tx.transfers.save(handed_over)
            self._log(tx, "transfer.hand-over", transfer, "issued again" if again else "issued", initial)
        return envelope

    def accept_control(self, peer: str, transfer_id: str) -> TransferState:
        """Record that the provider's own keys are in force; repeating it is harmless. Raises `transfer.state`."""
        return until_claimed(lambda: self._accept_control(peer, transfer_id))

    def _accept_control(self, peer: str, transfer_id: str) -> TransferState:
        with self._store.transaction() as tx:
            transfer = get_transfer(tx, peer, transfer_id)
            if transfer.state is TransferState.CLOSED:
                return transfer.state
            if transfer.state is not TransferState.HANDED_OVER:
                raise KmsError(Code.TRANSFER_STATE, "control cannot be accepted before it was handed over")
            domain, initial = self._get_initial_set(tx, transfer)
            # Claimed like a step of a visit, so that neither undoes what the other writes about the card.
            tx.cards.claim(tx.cards.get(domain.card_id))
            now = self._clock.now()
            gone = replace(initial, state=KeyState.DEACTIVATED, delivery=Delivery.REPLACED, replaced_at=now)
            tx.key_sets.save(gone)
            tx.security_domains.save(replace(domain, state=DomainState.HANDED_OVER))
            tx.transfers.save(replace(transfer, state=TransferState.CLOSED, closed_at=now))
            self._log(tx, "transfer.control", transfer, "accepted by the provider", initial)
        return TransferState.CLOSED

    def _admit(self, tx: Transaction, peer: str, request: TransferRequest, card: Card) -> Transfer:
        now = self._clock.now()
        check_policy(self._peers[peer], request, card)
        if tx.transfers.count_open(peer) >= self._peers[peer].max_open_transfers:
            raise KmsError(Code.PEER_QUOTA, "too many transfers are open: bring some to their end first")
        if tx.transfers.count_since(peer, now - timedelta(days=1)) >= self._peers[peer].max_transfers_per_day:
            raise KmsError(Code.PEER_QUOTA, "no more transfers may be asked for today")
        domain = tx.security_domains.find_by_aid(card.id, request.aid)
        before = tx.transfers.list_for_card(card.identity)
        mine = [item for item in before if domain is not None and item.security_domain_id == domain.id]
        check_ownership(domain, peer, request.reason, mine)
        tx.cards.claim(card)  # as a step of a visit does, so that neither undoes what the other writes
        if domain is None:
            domain = self._plan_domain(tx, peer, request, card)
        else:
            tx.security_domains.save(replace(domain, state=_reopened(domain), key_type=request.key_type))
        for earlier in mine:
            if earlier.state in OPEN_TRANSFERS:
                superseded = replace(earlier, state=TransferState.REFUSED, refusal="a later request took its place")
                tx.transfers.save(superseded)
                self._log(tx, "transfer.refuse", earlier, superseded.refusal)
        transfer = Transfer(
            id=request.transfer_id,
            side=TransferSide.ISSUER,
            peer=peer,
            reason=request.reason,
            card_identity=card.identity,
            aid=request.aid,
            privileges=request.privileges,
            key_type=request.key_type,
            state=TransferState.REQUESTED,
            requested_at=now,
            security_domain_id=domain.id,
        )
        tx.transfers.add(transfer)
        if not any(update.state in OPEN_STATES for update in tx.key_updates.list_for_domain(domain.id)):
            tx.key_updates.add(self._plan_update(peer, request, domain))
        self._log(tx, "transfer.request", transfer, "admitted")
        return transfer

    def _plan_domain(self, tx: Transaction, peer: str, request: TransferRequest, card: Card) -> SecurityDomain:
        isd = next(item for item in tx.security_domains.list_for_card(card.id) if item.kind is DomainKind.ISD)
        domain = SecurityDomain(
            id=self._identifiers.new(),
            card_id=card.id,
            parent_id=isd.id,
            aid=request.aid,
            kind=DomainKind.SSD,
            state=DomainState.PLANNED,
            managed_by=peer,
            privileges=request.privileges,
            last_generation=-1,
            created_at=self._clock.now(),
            key_type=request.key_type,
        )
        tx.security_domains.add(domain)
        return domain

    def _plan_update(self, peer: str, request: TransferRequest, domain: SecurityDomain) -> KeyUpdate:
        now = self._clock.now()
        reason = UpdateReason.COMPROMISE if request.reason is TransferReason.REKEY else UpdateReason.INITIAL
        return KeyUpdate(self._identifiers.new(), domain.id, reason, UpdateState.PENDING, now, f"peer {peer}", now)

    def _open_visit(self, tx: Transaction, transfer: Transfer, counterpart: Terminal) -> Transfer:
        card = get_served_card(tx, transfer.card_identity)
        transfer = replace(transfer, session_id=str(uuid.uuid4()))
        tx.transfers.save(transfer)
        self._visits.open_visit(tx, counterpart, card, transfer.session_id)
        return transfer

    def _conclude(self, transfer: Transfer) -> TransferState:
        """After the visit's end: the initial keys are proved, the card refused for good, or a later visit goes on."""
        with self._store.transaction() as tx:
            transfer = tx.transfers.get(transfer.id)
            if transfer.state is not TransferState.REQUESTED:
                return transfer.state
            last = tx.key_updates.list_for_domain(transfer.security_domain_id or "")[-1]
            if last.state is UpdateState.DONE:
                tx.transfers.save(replace(transfer, state=TransferState.PROVED))
                _, initial = self._get_initial_set(tx, transfer)
                self._log(tx, "transfer.prove", transfer, "initial keys in force", initial)
                return TransferState.PROVED
            if last.state is UpdateState.FAILED:
                tx.transfers.save(replace(transfer, state=TransferState.REFUSED, refusal=last.failure))
                self._log(tx, "transfer.refuse", transfer, last.failure)
                return TransferState.REFUSED
            return TransferState.REQUESTED

    def _get_counterpart(self, tx: Transaction, peer: str) -> Terminal:
        """The peer in the terminal's place. Its fingerprint is no certificate's, so that nobody can log in by it."""
        name = f"peer {peer}"
        counterpart = tx.terminals.find_by_name(name)
        if counterpart is None:
            mark = hashlib.sha256(name.encode()).digest()
            now = self._clock.now()
            counterpart = Terminal(self._identifiers.new(), name, mark, TerminalState.ENROLLED, now)
            tx.terminals.add(counterpart)
        if counterpart.state is not TerminalState.ENROLLED:
            raise KmsError(Code.TERMINAL_REFUSED, f"the peer is {counterpart.state}: {counterpart.reason}")
        return counterpart

    @staticmethod
    def _get_initial_set(tx: Transaction, transfer: Transfer) -> tuple[SecurityDomain, KeySet]:
        domain = tx.security_domains.get(transfer.security_domain_id or "")
        initial = [
            item
            for item in tx.key_sets.list_for_domain(domain.id)
            if item.purpose is DerivationPurpose.SSD_INITIAL and item.delivery is Delivery.PROVED
        ]
        if not initial:
            raise KmsError(Code.TRANSFER_STATE, "the initial keys are not proved on the card yet")
        return domain, initial[-1]

    def _record_refusal(self, peer: str, request: TransferRequest, error: KmsError) -> None:
        subject = f"SSD {request.aid.hex().upper()}"
        detail = f"card {request.card_identity.hex().upper()}; transfer {request.transfer_id}; {error.detail}"
        with self._store.transaction() as tx:
            event = AuditEvent(
                self._identifiers.new(),
                self._clock.now(),
                f"peer {peer}",
                "transfer.request",
                subject,
                f"refused: {error.code}",
                detail=detail,
            )
            tx.audit.append(event)

    def _log(
        self, tx: Transaction, action: str, transfer: Transfer, result: str, key_set: KeySet | None = None
    ) -> None:
        where = f"card {transfer.card_identity.hex().upper()}, SSD {transfer.aid.hex().upper()}"
        kcv = ""
        if key_set is not None:
            where += f", key version {key_set.kvn:02X}"
            kcv = build_kcv_text(key_set.kcv_method, key_set.kcvs)
        subject = f"transfer {transfer.id}"
        actor = f"peer {transfer.peer}"
        tx.audit.append(
            AuditEvent(self._identifiers.new(), self._clock.now(), actor, action, subject, result, kcv, where)
        )


def get_transfer(tx: Transaction, peer: str, transfer_id: str) -> Transfer:
    """Get a peer's own transfer. Raises `transfer.unknown`, for another peer's too."""
    transfer = tx.transfers.find(transfer_id)
    if transfer is None or transfer.peer != peer:
        raise KmsError(Code.TRANSFER_UNKNOWN, "there is no transfer with this id: ask for the security domain first")
    return transfer


def check_handing_over(transfer: Transfer) -> None:
    """Check that an envelope may be issued. Raises `transfer.state`."""
    if transfer.state not in (TransferState.PROVED, TransferState.HANDED_OVER):
        raise KmsError(Code.TRANSFER_STATE, f"the transfer is {transfer.state}: there is nothing to hand over")


def check_same_request(transfer: Transfer, peer: str, request: TransferRequest) -> None:
    """Check that a repeated request is the same one. Raises `transfer.unknown`, `transfer.conflict`."""
    if transfer.peer != peer:
        raise KmsError(Code.TRANSFER_UNKNOWN, "there is no transfer with this id: ask for the security domain first")
    known = (transfer.reason, transfer.card_identity, transfer.aid, transfer.privileges, transfer.key_type)
    if known != (request.reason, request.card_identity, request.aid, request.privileges, request.key_type):
        raise KmsError(Code.TRANSFER_CONFLICT, "another request was made under this transfer id: choose a new one")


def check_policy(policy: PeerConfig, request: TransferRequest, card: Card) -> None:
    """Check what the configuration lets this peer ask for. Raises `transfer.refused`."""
    if not any(request.aid.startswith(prefix) for prefix in policy.allowed_aids):
        raise KmsError(Code.PEER_NOT_ALLOWED, "the AID is not among those this peer may ask for")
    if request.privileges not in policy.allowed_privileges:
        raise KmsError(Code.PEER_NOT_ALLOWED, "the privileges are not among those this peer may ask for")
    key_type = request.key_type
    if key_type is KeyType.DES3:
        raise refuse("security domains take DES2 or AES keys")
    if card.is_known:
        try:
            key_type = choose_key_type(card, key_type)
        except KmsError as error:
            raise refuse(error.detail) from error
    if not policy.allow_unbound_cards and not names_domain(card, key_type):
        # docs/adr/0068: with a random challenge a lying terminal may get the keys into the ISD and prove them there.
        option = card.find_i(get_scp(key_type))
        which = f"a card of option i={option:02X}" if option is not None else "a card that was not recognized yet"
        raise KmsError(Code.PEER_NOT_ALLOWED, f"{which} does not prove which domain took its keys")


def check_ownership(
    domain: SecurityDomain | None, peer: str, reason: TransferReason, earlier: Sequence[Transfer] = ()
) -> None:
    """Check that the security domain is this peer's to ask for. `earlier`: its transfers. Raises `transfer.refused`."""
    if domain is None:
        if reason is TransferReason.REKEY:
            raise refuse("there is no such security domain to re-key")
        return
    if domain.managed_by != peer:
        raise refuse("the security domain belongs to another platform")
    if reason is TransferReason.CREATE and domain.state is DomainState.HANDED_OVER:
        raise refuse("the security domain was handed over already: if its keys are compromised ask for a re-keying")
    if reason is TransferReason.REKEY and not any(item.state is TransferState.CLOSED for item in earlier):
        raise refuse("the security domain was not handed over yet: there is nothing to re-key")


def refuse(why: str) -> KmsError:
    """A refusal, with its reason for the peer."""
    return KmsError(Code.TRANSFER_REFUSED, f"the request is refused: {why}")


def _reopened(domain: SecurityDomain) -> DomainState:
    """A handed-over domain gets initial keys once more; one under way stays where it is."""
    return DomainState.CREATING if domain.state is DomainState.HANDED_OVER else domain.state
