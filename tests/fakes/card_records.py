"""A card's record in memory, as a step of a visit sees it: an ISD under the vendor's set, and what a test adds."""

from dataclasses import replace

from kms.card.keys import DerivationPurpose
from kms.card.profile import CardProfile
from kms.domain.cards import DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKind
from kms.domain.updates import KeyUpdate
from kms.service.card_record import CardRecord
from kms.service.plan import Planner
from tests.fakes.records import (
    NOW,
    CountingIdentifiers,
    build_card,
    build_domain,
    build_isd,
    build_key_set,
    build_master,
    build_update,
)

PROFILE = CardProfile(name="default")
ISD = build_isd(2)
SSD = build_domain(1, state=DomainState.PLANNED)
MASTERS = {
    kind: build_master(number, kind=kind, name=str(kind))
    for number, kind in enumerate((MasterKind.VENDOR, MasterKind.ISD, MasterKind.SSD_INITIAL, MasterKind.SSD), start=1)
}
VENDOR_SET = build_key_set(
    1,
    security_domain_id=ISD.id,
    kvn=0x01,
    purpose=None,
    generation=0,
    master_id=MASTERS[MasterKind.VENDOR].id,
    delivery=Delivery.FACTORY,
    kcvs=(),
    proved_at=None,
    expires_at=None,
)


def build_record(
    *key_sets: KeySet, ssd: SecurityDomain = SSD, isd: SecurityDomain = ISD, updates: tuple[KeyUpdate, ...] = ()
) -> CardRecord:
    """The vendor's set is in force on the ISD unless a set of the same id is given."""
    sets = {item.id: item for item in (VENDOR_SET, *key_sets)}
    return CardRecord(
        card=build_card(1),
        domains={isd.id: isd, ssd.id: ssd},
        key_sets=sets,
        updates={item.id: item for item in updates},
        applications={},
        visits={},
        masters={item.id: item for item in MASTERS.values()},
    )


def build_planner(profile: CardProfile = PROFILE) -> Planner:
    return Planner("issuer", profile, CountingIdentifiers(70_000), NOW)


def initial_set(**changes: object) -> KeySet:
    fields: dict[str, object] = {
        "security_domain_id": SSD.id,
        "kvn": 0x20,
        "generation": 0,
        "purpose": DerivationPurpose.SSD_INITIAL,
        "master_id": MASTERS[MasterKind.SSD_INITIAL].id,
    }
    return build_key_set(2, **(fields | changes))


def ssd_set(generation: int = 1, **changes: object) -> KeySet:
    fields: dict[str, object] = {
        "security_domain_id": SSD.id,
        "kvn": 0x20 + generation,
        "generation": generation,
        "master_id": MASTERS[MasterKind.SSD].id,
    }
    return build_key_set(10 + generation, **(fields | changes))


def isd_set(generation: int = 1, **changes: object) -> KeySet:
    fields: dict[str, object] = {
        "security_domain_id": ISD.id,
        "kvn": 0x20 + generation,
        "generation": generation,
        "purpose": DerivationPurpose.ISD,
        "master_id": MASTERS[MasterKind.ISD].id,
    }
    return build_key_set(40 + generation, **(fields | changes))


def planned(key_set: KeySet, *, sent: bool = False) -> KeySet:
    """As it stands before a proof; `sent`: a batch with it left and it was not seen in force."""
    kcvs = key_set.kcvs if sent else ()
    return replace(
        key_set,
        delivery=Delivery.PLANNED,
        state=KeyState.PRE_ACTIVATION,
        kcvs=kcvs,
        proved_at=None,
        expires_at=None,
    )


def in_doubt(key_set: KeySet) -> KeySet:
    return replace(planned(key_set, sent=True), delivery=Delivery.IN_DOUBT)


def update_of(domain: SecurityDomain, **changes: object) -> KeyUpdate:
    return build_update(1, **({"security_domain_id": domain.id} | changes))
