"""Asking for key updates; visits carry them out.

Rules: a security domain has at most one open update by an operator's hand: asking again gives the open one back. An
update because of a compromise has a path of its own (it never runs under the compromised set) and is not asked here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kms.domain.audit import AuditEvent
from kms.domain.cards import Card, CardState, DomainKind, DomainState, SecurityDomain
from kms.domain.keys import Delivery
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateReason, UpdateState
from kms.errors import Code, KmsError
from kms.service.ports import Clock, Identifiers, Store, Transaction

FORCEABLE = frozenset(
    {UpdateReason.FORCED, UpdateReason.EXPIRY, UpdateReason.MASTER_ROTATION, UpdateReason.VENDOR_TAKEOVER}
)


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
        self, card_identity: bytes, aid: bytes, *, actor: str, reason: UpdateReason = UpdateReason.FORCED
    ) -> ForcedUpdate:
        """Ask for new keys in one security domain; an ISD under its vendor's keys is taken over.

        Raises `input.invalid` (reason), `card.unknown`, `card.quarantined`, `input.not-found` (no such security
        domain), `key.state` (it holds no keys yet).
        """
        _check_reason(reason)
        with self._store.transaction() as transaction:
            card = _get_card(transaction, card_identity)
            domain = transaction.security_domains.find_by_aid(card.id, aid)
            if domain is None:
                raise KmsError(Code.NOT_FOUND, "The card has no security domain with this AID on record.")
            if domain.state is not DomainState.KEYED:
                text = f"The security domain is {domain.state} and holds no keys to replace; apply for its application."
                raise KmsError(Code.KEY_STATE, text)
            return self._ask(transaction, domain, actor, reason)

    def force_ssds(
        self, card_identity: bytes, *, actor: str, reason: UpdateReason = UpdateReason.FORCED
    ) -> Sequence[ForcedUpdate]:
        """Ask for new keys in every SSD of the card that holds keys. Raises as `force`; `input.not-found` for none."""
        _check_reason(reason)
        with self._store.transaction() as transaction:
            card = _get_card(transaction, card_identity)
            domains = [
                domain
                for domain in transaction.security_domains.list_for_card(card.id)
                if domain.kind is DomainKind.SSD and domain.state is DomainState.KEYED
            ]
            if not domains:
                raise KmsError(Code.NOT_FOUND, "The card has no supplementary security domain that holds keys.")
            return [self._ask(transaction, domain, actor, reason) for domain in domains]

    def _ask(self, transaction: Transaction, domain: SecurityDomain, actor: str, reason: UpdateReason) -> ForcedUpdate:
        for update in transaction.key_updates.list_for_domain(domain.id):
            if update.state in OPEN_STATES:
                return ForcedUpdate(update, domain, created=False)
        now = self._clock.now()
        update = KeyUpdate(
            id=self._identifiers.new(),
            security_domain_id=domain.id,
            reason=_find_reason(transaction, domain, reason),
            state=UpdateState.PENDING,
            requested_at=now,
            requested_by=actor,
            due_at=now,
        )
        transaction.key_updates.add(update)
        subject = f"security-domain {domain.id}"
        detail = f"{update.reason}: update {update.id}"
        transaction.audit.append(
            AuditEvent(self._identifiers.new(), now, actor, "update.force", subject, "done", detail=detail)
        )
        return ForcedUpdate(update, domain, created=True)


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
