"""Asking for key updates; visits carry them out.

Rules: a security domain has at most one open update by an operator's hand: asking again gives the open one back. An
update because of a compromise never runs under the compromised set: the set is marked in the same transaction, visits
under way end, and new initial keys go in through the card's ISD, at another issuer's card asked for over the leased
line. An ISD has nothing above it: its compromise is for people, at a terminal that is trusted.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kms.card.keys import KeyType
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.cards import Card, CardState, DomainKind, DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeyState
from kms.domain.transfers import (
    OPEN_TRANSFERS,
    Transfer,
    TransferReason,
    TransferSide,
    TransferState,
)
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateReason, UpdateState, allow_past_end, cancel_update
from kms.domain.visits import VisitState
from kms.errors import Code, KmsError
from kms.service.plan import may_be_on_card
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.visits import until_claimed

FORCEABLE = frozenset(
    {
        UpdateReason.FORCED,
        UpdateReason.EXPIRY,
        UpdateReason.COMPROMISE,
        UpdateReason.MASTER_ROTATION,
        UpdateReason.KEY_TYPE,
        UpdateReason.VENDOR_TAKEOVER,
    }
)


@dataclass(frozen=True)
class Wanted:
    """What a forced update is to bring. `deadline`: when it is overdue; `key_type`: of the new keys (`key-type`)."""

    reason: UpdateReason = UpdateReason.FORCED
    deadline: datetime | None = None
    key_type: KeyType | None = None


@dataclass(frozen=True)
class ForcedUpdate:
    """The update that a security domain is owed. `created` False: it was open already and nothing changed."""

    update: KeyUpdate
    domain: SecurityDomain
    created: bool


class UpdateService:
    """The use cases of key updates."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers

    def force(
        self,
        card_identity: bytes,
        aid: bytes,
        *,
        actor: str,
        reason: UpdateReason = UpdateReason.FORCED,
        deadline: datetime | None = None,
        key_type: KeyType | None = None,
    ) -> ForcedUpdate:
        """Ask for new keys in one security domain; an ISD under its vendor's keys is taken over.

        For a compromise its present key sets become COMPROMISED at once, and what else was to replace them is
        cancelled. Raises `input.invalid` (reason), `card.unknown`, `card.quarantined`, `input.not-found` (no such
        security domain), `key.state` (it holds no keys yet; a compromised ISD), `visit.conflict` (visits of the card
        come in between again and again: force it once more).
        """
        wanted = Wanted(reason, deadline, key_type)
        self._check_wanted(wanted)
        return until_claimed(lambda: self._force(card_identity, aid, actor, wanted))

    def _force(self, card_identity: bytes, aid: bytes, actor: str, wanted: Wanted) -> ForcedUpdate:
        with self._store.transaction() as transaction:
            card = _get_card(transaction, card_identity)
            domain = transaction.security_domains.find_by_aid(card.id, aid)
            if domain is None:
                raise KmsError(Code.NOT_FOUND, "The card has no security domain with this AID on record.")
            if wanted.reason is UpdateReason.COMPROMISE:
                return self._replace_compromised(transaction, card, domain, actor, wanted)
            if domain.state is not DomainState.KEYED:
                raise _build_keyless(domain)
            return self._ask(transaction, domain, actor, wanted)

    def force_ssds(
        self,
        card_identity: bytes,
        *,
        actor: str,
        reason: UpdateReason = UpdateReason.FORCED,
        deadline: datetime | None = None,
        key_type: KeyType | None = None,
    ) -> Sequence[ForcedUpdate]:
        """Ask for new keys in every SSD of the card that holds keys. Raises as `force`; `input.not-found` for none."""
        wanted = Wanted(reason, deadline, key_type)
        self._check_wanted(wanted)
        return until_claimed(lambda: self._force_ssds(card_identity, actor, wanted))

    def count_forced(self, card_identity: bytes, aid: bytes | None) -> int:
        """How many updates people would have forced by themselves within a day, with these (`force`, `force_ssds`)."""
        with self._store.transaction() as transaction:
            before = transaction.key_updates.count_forced(self._clock.now() - timedelta(days=1))
            card = transaction.cards.find_by_identity(card_identity)
            if aid is not None or card is None:
                return before + 1
            domains = transaction.security_domains.list_for_card(card.id)
        return before + sum(item.kind is DomainKind.SSD and item.state is DomainState.KEYED for item in domains)

    def cancel(self, update_id: str, *, actor: str, why: str) -> KeyUpdate:
        """Cancel an open update; what a visit sent of it already is reconciled all the same.

        Raises `input.not-found`, `input.conflict` for one that is finished, `visit.conflict` as `force`.
        """
        return until_claimed(lambda: self._change(update_id, actor, why, "update.cancel"))

    def allow_past_end(self, update_id: str, *, actor: str, why: str) -> KeyUpdate:
        """Record that an update may run under a key set past its end and grace. Raises as `cancel`, and `key.state`."""
        return until_claimed(lambda: self._change(update_id, actor, why, "update.allow-past-end"))

    def _change(self, update_id: str, actor: str, why: str, action: str) -> KeyUpdate:
        with self._store.transaction() as transaction:
            update = transaction.key_updates.get(update_id)
            domain = transaction.security_domains.get(update.security_domain_id)
            # Claimed like any step, so that a Report that is served at the same time does not undo it.
            transaction.cards.claim(transaction.cards.get(domain.card_id))
            now = self._clock.now()
            if action == "update.cancel":
                changed = cancel_update(update, now, f"{actor}: {why}")
            else:
                changed = allow_past_end(update, actor, why)
            transaction.key_updates.save(changed)
            subject, detail = f"update {update.id}", f"{update.reason}: {why}"
            transaction.audit.append(
                AuditEvent(self._identifiers.new(), now, actor, action, subject, str(changed.state), "", detail)
            )
        return changed

    def _check_wanted(self, wanted: Wanted) -> None:
        _check_reason(wanted.reason)
        if (wanted.key_type is not None) is not (wanted.reason is UpdateReason.KEY_TYPE):
            raise KmsError(Code.INPUT_INVALID, "A new key type and the reason key-type go together.")
        if wanted.deadline is not None and wanted.deadline <= self._clock.now():
            raise KmsError(Code.INPUT_INVALID, "The deadline is over already.")

    def _force_ssds(self, card_identity: bytes, actor: str, wanted: Wanted) -> Sequence[ForcedUpdate]:
        with self._store.transaction() as transaction:
            card = _get_card(transaction, card_identity)
            domains = [
                domain
                for domain in transaction.security_domains.list_for_card(card.id)
                if domain.kind is DomainKind.SSD and domain.state is DomainState.KEYED
            ]
            if not domains:
                raise KmsError(Code.NOT_FOUND, "The card has no supplementary security domain that holds keys.")
            if wanted.reason is UpdateReason.COMPROMISE:
                return [self._replace_compromised(transaction, card, domain, actor, wanted) for domain in domains]
            return [self._ask(transaction, domain, actor, wanted) for domain in domains]

    def _ask(self, transaction: Transaction, domain: SecurityDomain, actor: str, wanted: Wanted) -> ForcedUpdate:
        for update in transaction.key_updates.list_for_domain(domain.id):
            if update.state in OPEN_STATES:
                return ForcedUpdate(update, domain, created=False)
        return self._add(transaction, domain, actor, wanted)

    def _replace_compromised(
        self, transaction: Transaction, card: Card, domain: SecurityDomain, actor: str, wanted: Wanted
    ) -> ForcedUpdate:
        key_sets = transaction.key_sets.list_for_domain(domain.id)
        marked_before = any(item.state is KeyState.COMPROMISED for item in key_sets)
        if domain.kind is DomainKind.ISD:
            text = "An ISD's compromised keys cannot be replaced through another security domain: retire the card."
            raise KmsError(Code.KEY_STATE, text)
        if domain.state is not DomainState.KEYED and not marked_before:
            raise _build_keyless(domain)
        for update in transaction.key_updates.list_for_domain(domain.id):
            if update.state not in OPEN_STATES:
                continue
            if update.reason is UpdateReason.COMPROMISE:
                return ForcedUpdate(update, domain, created=False)
            why = "the key set it would have run under is compromised"
            gone = replace(update, state=UpdateState.CANCELLED, failure=why, finished_at=self._clock.now())
            transaction.key_updates.save(gone)
        # A step of a visit that read the card before writes nothing, and no visit goes on under these keys.
        transaction.cards.claim(transaction.cards.get(card.id))
        for visit in transaction.visits.list_open_for_card(card.id):
            transaction.visits.save(replace(visit, state=VisitState.FENCED, order=None, program=None))
        if domain.state is DomainState.KEYED:
            self._mark_compromised(transaction, domain, actor)
        if domain.parent_id is None:
            self._plan_transfer(transaction, card, domain, actor)
        return self._add(transaction, domain, actor, wanted)

    def _mark_compromised(self, transaction: Transaction, domain: SecurityDomain, actor: str) -> None:
        """Mark the sets that are or may come to be on the card: one on its way was sent under the one in force."""
        for item in transaction.key_sets.list_for_domain(domain.id):
            if may_be_on_card(item) and item.state is not KeyState.COMPROMISED:
                transaction.key_sets.save(replace(item, state=KeyState.COMPROMISED))
                what = f"SSD {domain.aid.hex().upper()}, key version {item.kvn:02X}, generation {item.generation}"
                kcv = build_kcv_text(item.kcv_method, item.kcvs)
                event = AuditEvent(
                    self._identifiers.new(),
                    self._clock.now(),
                    actor,
                    "key-set.compromise",
                    f"key set {item.id}",
                    "compromised",
                    kcv,
                    what,
                )
                transaction.audit.append(event)

    def _plan_transfer(self, transaction: Transaction, card: Card, domain: SecurityDomain, actor: str) -> None:
        """The request that the card's next visit sends to its issuer; one under way is gone on with."""
        transfers = transaction.transfers.list_for_card(card.identity)
        mine = [item for item in transfers if item.security_domain_id == domain.id]
        if not mine:
            raise KmsError(Code.KEY_STATE, "No transfer of this security domain is on record: nobody can be asked.")
        last = mine[-1]
        if last.state in OPEN_TRANSFERS and last.state is not TransferState.CONTROLLED:
            return
        transfer = Transfer(
            id=str(uuid.uuid4()),
            side=TransferSide.PROVIDER,
            peer=last.peer,
            reason=TransferReason.REKEY,
            card_identity=card.identity,
            aid=domain.aid,
            privileges=last.privileges,
            key_type=last.key_type,
            state=TransferState.REQUESTED,
            requested_at=self._clock.now(),
            security_domain_id=domain.id,
        )
        transaction.transfers.add(transfer)
        where = f"card {card.identity.hex().upper()}, SSD {domain.aid.hex().upper()}"
        subject = f"transfer {transfer.id}"
        transaction.audit.append(
            AuditEvent(
                self._identifiers.new(),
                self._clock.now(),
                actor,
                "transfer.request",
                subject,
                "asked for",
                detail=where,
            )
        )

    def _add(self, transaction: Transaction, domain: SecurityDomain, actor: str, wanted: Wanted) -> ForcedUpdate:
        now = self._clock.now()
        update = KeyUpdate(
            id=self._identifiers.new(),
            security_domain_id=domain.id,
            reason=_find_reason(transaction, domain, wanted.reason),
            state=UpdateState.PENDING,
            requested_at=now,
            requested_by=actor,
            due_at=now,
            deadline=wanted.deadline,
            key_type=wanted.key_type,
        )
        transaction.key_updates.add(update)
        subject = f"security-domain {domain.id}"
        detail = f"{update.reason}: update {update.id}"
        transaction.audit.append(
            AuditEvent(self._identifiers.new(), now, actor, "update.force", subject, "done", detail=detail)
        )
        return ForcedUpdate(update, domain, created=True)


def _build_keyless(domain: SecurityDomain) -> KmsError:
    text = f"The security domain is {domain.state} and holds no keys to replace; apply for its application."
    return KmsError(Code.KEY_STATE, text)


def _check_reason(reason: UpdateReason) -> None:
    if reason not in FORCEABLE:
        known = ", ".join(sorted(FORCEABLE))
        raise KmsError(Code.INPUT_INVALID, f"An update cannot be forced for this reason; take one of: {known}.")


def _get_card(transaction: Transaction, identity: bytes) -> Card:
    card = transaction.cards.find_by_identity(identity)
    if card is None or card.state is CardState.RETIRED:
        raise KmsError(Code.CARD_UNKNOWN, "No card with this identity is enrolled: `kms cards list`.")
    if card.state is CardState.QUARANTINED:
        raise KmsError(Code.CARD_QUARANTINED, "The card is quarantined; officers decide about it first.")
    return card


def _find_reason(transaction: Transaction, domain: SecurityDomain, asked: UpdateReason) -> UpdateReason:
    """An ISD that never held a set of ours is taken over, whatever it was called."""
    if domain.kind is not DomainKind.ISD or asked is not UpdateReason.FORCED:
        return asked
    ours = [
        key_set
        for key_set in transaction.key_sets.list_for_domain(domain.id)
        if key_set.purpose is not None and key_set.delivery in {Delivery.PROVED, Delivery.REPLACED}
    ]
    return asked if ours else UpdateReason.VENDOR_TAKEOVER
