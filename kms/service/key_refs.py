"""From a key set's record to the reference by which the card core derives it."""

from kms.card.keys import DerivedKeys, KeySetRef, MasterRef, VendorKeys, WrappedKeys
from kms.card.programs.base import Candidate
from kms.domain.cards import Card, SecurityDomain
from kms.domain.keys import KeySet, MasterKey, MasterKind
from kms.domain.transfers import HandOver
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord
from kms.service.envelopes import load_envelope
from kms.service.key_ends import check_usable


def build_master_ref(master: MasterKey) -> MasterRef:
    """How the HSM adapter finds the master."""
    return MasterRef(master.object_id, master.key_type, master.kcv, master.kcv_method)


def build_key_set_ref(
    platform: str, card: Card, domain: SecurityDomain, key_set: KeySet, master: MasterKey
) -> KeySetRef:
    """Say how a key set is derived: from the vendor's master by its scheme, or by SP 800-108 from one of ours.

    Raises `key.state` for a master that nothing is derived from any more.
    """
    check_usable(master)
    ref = build_master_ref(master)
    if key_set.purpose is None:
        return KeySetRef(key_set.kvn, key_set.key_type, VendorKeys(ref, card.diversification, card.kdd))
    source = DerivedKeys(ref, platform, key_set.purpose, card.identity, domain.aid, key_set.generation)
    return KeySetRef(key_set.kvn, key_set.key_type, source)


def find_hand_over(record: CardRecord, domain: SecurityDomain) -> HandOver | None:
    """The hand-over that a provider keeps until its own keys are proved."""
    transfer = record.find_transfer(domain)
    return load_envelope(transfer.envelope) if transfer is not None and transfer.envelope is not None else None


def build_wrapped_ref(hand_over: HandOver, kek: MasterRef) -> KeySetRef:
    """The handed-over key set as the card core uses it."""
    enc, mac, dek = hand_over.wrapped
    return KeySetRef(hand_over.kvn, hand_over.key_type, WrappedKeys(kek, (enc, mac, dek)))


def build_candidate(platform: str, record: CardRecord, key_set: KeySet) -> Candidate:
    """The key set as programs name it. Raises `key.missing` when its master is not on record, `key.state`."""
    master = record.masters.get(key_set.master_id)
    if master is None:
        raise KmsError(Code.KEY_MISSING, f"the master key of key set {key_set.id} is not on record")
    domain = record.domains[key_set.security_domain_id]
    if master.kind is MasterKind.PEER_KEK:
        hand_over = find_hand_over(record, domain)
        if hand_over is None or hand_over.generation != key_set.generation:
            raise KmsError(Code.KEY_MISSING, "the handed-over keys were erased: they were replaced by our own")
        check_usable(master)
        return Candidate(key_set.id, build_wrapped_ref(hand_over, build_master_ref(master)))
    return Candidate(key_set.id, build_key_set_ref(platform, record.card, domain, key_set, master))
