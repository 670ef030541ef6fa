"""Setting a card's records to what a look at the card found in force.

Rules: what is adopted rests on a valid card cryptogram. Of several sets in force the operative one of the highest
generation counts, the others are left over and deleted later. Generations found are never given again. What a restored
database lost is taken for as old as that database, so that nothing lives longer for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from kms.card.keys import DerivationPurpose
from kms.card.programs.base import Evidence
from kms.domain.cards import DomainKind, DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState
from kms.domain.updates import OPEN_STATES, UpdateReason
from kms.service.card_record import CardRecord
from kms.service.settling import Settling

GONE = frozenset({Delivery.REPLACED, Delivery.PLANNED})


def adopt(
    settling: Settling,
    domain: SecurityDomain,
    in_force: Mapping[str, int],
    found: Sequence[KeySet],
    *,
    behind_since: datetime | None = None,
) -> None:
    """Record the sets in force (row id to sequence counter). `found`: those among them that were not on record.

    `behind_since`: of the newest record of a database that was restored; the sets found have been in force since then
    at the longest, and their ends are counted from there.
    """
    record = settling.record
    for item in found:
        record.add_key_set(item)
    last = max([domain.last_generation, *(item.generation for item in found)])
    record.save(replace(record.domains[domain.id], last_generation=last))
    if not in_force:
        return
    best = max((record.key_sets[label] for label in in_force), key=_rank)
    revived = best.delivery is Delivery.REPLACED or best.state is KeyState.DEACTIVATED
    if revived and best.state is not KeyState.COMPROMISED:
        record.save(replace(best, delivery=Delivery.PLANNED, state=KeyState.PRE_ACTIVATION, replaced_at=None))
    settling.prove(Evidence(best.id, in_force[best.id]))
    settling.settle(record.domains[domain.id], in_force)
    proved = record.key_sets[best.id]
    if behind_since is not None and best in found and proved.expires_at is not None:
        older = settling.now - behind_since
        rotate_at = proved.rotate_at - older if proved.rotate_at is not None else None
        record.save(replace(proved, expires_at=proved.expires_at - older, rotate_at=rotate_at))
    if behind_since is not None and best in found:
        _fulfil(record, domain, best, behind_since)


def clear_away(settling: Settling, domain: SecurityDomain, in_force: Mapping[str, int]) -> None:
    """After a look at the whole security domain: what did not answer is not on the card, whatever the records said."""
    record = settling.record
    current = record.find_current_set(domain)
    for item in record.sets_of(domain):
        if item.id in in_force:
            if current is not None and item.id != current.id and item.state is not KeyState.COMPROMISED:
                record.save(replace(item, delivery=Delivery.PROVED, state=KeyState.DEACTIVATED, replaced_at=None))
        elif item.delivery not in GONE:
            state = KeyState.COMPROMISED if item.state is KeyState.COMPROMISED else KeyState.DEACTIVATED
            record.save(replace(item, delivery=Delivery.REPLACED, state=state, replaced_at=settling.now))
    if not in_force and domain.kind is DomainKind.SSD:
        record.save(replace(record.domains[domain.id], state=DomainState.PLANNED))


def _rank(key_set: KeySet) -> tuple[bool, bool, int]:
    trusted = key_set.state is not KeyState.COMPROMISED
    operative = key_set.purpose in (DerivationPurpose.ISD, DerivationPurpose.SSD)
    return trusted, operative, key_set.generation


def _fulfil(record: CardRecord, domain: SecurityDomain, found: KeySet, behind_since: datetime) -> None:
    """What a restored database still owed was done before: the set found is what its open updates were for.

    Not so for what was asked for since, for initial keys, for a move to another type that did not come about, and for a
    master that has a successor.
    """
    if found.purpose in (None, DerivationPurpose.SSD_INITIAL):
        return
    for update in list(record.updates.values()):
        if update.security_domain_id != domain.id or update.state not in OPEN_STATES:
            continue
        if update.requested_at > behind_since:
            continue
        if update.key_type not in (None, found.key_type):
            continue
        if update.reason is UpdateReason.MASTER_ROTATION and _has_successor(record, found):
            continue
        record.save(replace(update, new_key_set_id=found.id))


def _has_successor(record: CardRecord, found: KeySet) -> bool:
    master = record.masters[found.master_id]
    same = [item for item in record.masters.values() if item.kind is master.kind and item.state is KeyState.ACTIVE]
    return any(item.generation > master.generation for item in same)
