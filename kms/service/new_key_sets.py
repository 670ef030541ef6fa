"""New key sets for a security domain: the next generation, a free key version, the newest master of the kind.

Rules: a generation that was ever planned is never planned again (`last_generation` goes up with the plan, not with the
proof). A retry uses the set that is planned already, so that whichever batch reaches the card installs the same keys.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from kms.card.key_sets import gp_kcv_method
from kms.card.keys import DerivationPurpose, KeyType
from kms.card.profile import CardProfile
from kms.domain.cards import DomainKind, SecurityDomain, get_scp
from kms.domain.generations import next_generation
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKind
from kms.service.card_record import CardRecord
from kms.service.key_ends import check_issuing

MASTER_KINDS = {
    DerivationPurpose.ISD: MasterKind.ISD,
    DerivationPurpose.SSD_INITIAL: MasterKind.SSD_INITIAL,
    DerivationPurpose.SSD: MasterKind.SSD,
}
_UNSETTLED = (Delivery.PLANNED, Delivery.IN_FLIGHT, Delivery.IN_DOUBT)


@dataclass(frozen=True)
class NewKeySet:
    """What is asked for: the id of its row, the purpose and type of its keys, and when."""

    id: str
    purpose: DerivationPurpose
    key_type: KeyType
    at: datetime


def plan_key_set(record: CardRecord, domain: SecurityDomain, profile: CardProfile, new: NewKeySet) -> KeySet:
    """Plan the next key set of a security domain and write it into the record.

    Raises `key.missing` without an active master, `key.state` or `key.expired` for one that issues nothing any more,
    `input.conflict` without a free key version.
    """
    master = record.get_active_master(MASTER_KINDS[new.purpose])
    check_issuing(master, new.at)
    avoid = _taken_versions(record, domain, new.purpose)
    scp = get_scp(new.key_type)
    generation = next_generation(profile, scp, domain.last_generation, avoid)
    key_set = KeySet(
        id=new.id,
        security_domain_id=domain.id,
        kvn=profile.get_kvn(scp, generation),
        key_type=new.key_type,
        purpose=new.purpose,
        master_id=master.id,
        generation=generation,
        delivery=Delivery.PLANNED,
        state=KeyState.PRE_ACTIVATION,
        kcvs=(),
        kcv_method=gp_kcv_method(new.key_type),
        created_at=new.at,
    )
    record.add_key_set(key_set)
    record.save(replace(domain, last_generation=generation))
    return key_set


def _taken_versions(record: CardRecord, domain: SecurityDomain, purpose: DerivationPurpose) -> set[int]:
    taken = {item.kvn for item in record.sets_of(domain) if item.delivery is not Delivery.REPLACED}
    if purpose is DerivationPurpose.SSD_INITIAL:
        # STORE DATA passes through the ISD: were the SSD's part of it to fail, the ISD must not take it for its own.
        taken |= {item.kvn for item in record.sets_of(record.isd) if item.delivery is not Delivery.REPLACED}
    elif domain.kind is DomainKind.ISD:
        # The same seen from the other side: initial keys that may still be on their way keep their version.
        taken |= {
            item.kvn
            for item in record.key_sets.values()
            if item.purpose is DerivationPurpose.SSD_INITIAL and item.delivery in _UNSETTLED
        }
    return taken
