"""From a key set's record to the reference by which the card core derives it."""

from kms.card.keys import DerivedKeys, KeySetRef, MasterRef, VendorKeys
from kms.card.programs.base import Candidate
from kms.domain.cards import Card, SecurityDomain
from kms.domain.keys import KeySet, MasterKey
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord


def build_master_ref(master: MasterKey) -> MasterRef:
    """How the HSM adapter finds the master."""
    return MasterRef(master.object_id, master.key_type, master.kcv, master.kcv_method)


def build_key_set_ref(
    platform: str, card: Card, domain: SecurityDomain, key_set: KeySet, master: MasterKey
) -> KeySetRef:
    """Say how a key set is derived: from the vendor's master by its scheme, or by SP 800-108 from one of ours."""
    ref = build_master_ref(master)
    if key_set.purpose is None:
        return KeySetRef(key_set.kvn, key_set.key_type, VendorKeys(ref, card.diversification, card.kdd))
    source = DerivedKeys(ref, platform, key_set.purpose, card.identity, domain.aid, key_set.generation)
    return KeySetRef(key_set.kvn, key_set.key_type, source)


def build_candidate(platform: str, record: CardRecord, key_set: KeySet) -> Candidate:
    """The key set as programs name it. Raises `key.missing` when its master is not on record."""
    master = record.masters.get(key_set.master_id)
    if master is None:
        raise KmsError(Code.KEY_MISSING, f"the master key of key set {key_set.id} is not on record")
    domain = record.domains[key_set.security_domain_id]
    return Candidate(key_set.id, build_key_set_ref(platform, record.card, domain, key_set, master))
