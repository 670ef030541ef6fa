"""Which key sets a security domain may hold besides those on record, and what a look at it showed.

Rules: every candidate is a set on record or one that this platform's masters (or the card's vendor's) derive; a valid
card cryptogram decides, off-line. A label names a candidate: its row's id, or how it is derived.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kms.card.commands import KVN_FACTORY
from kms.card.key_sets import compute_kcv, derive_static_key, gp_kcv_method
from kms.card.keys import DerivationPurpose, DerivedKeys, KeyPort, KeyRole, KeySetRef, KeyType, KeyUse, VendorKeys
from kms.card.programs.base import Candidate, Evidence, Probed
from kms.card.programs.probe import Probe
from kms.card.programs.reconcile import Reconcile
from kms.domain.cards import SCP02, SCP03, DomainKind, SecurityDomain, get_scp
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKey, MasterKind
from kms.domain.recovery import GENERATIONS_AHEAD, FindingKind, KeyFinding
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord
from kms.service.key_refs import build_candidate, build_master_ref
from kms.service.new_key_sets import MASTER_KINDS
from kms.service.plan import Planner

TYPES = {SCP02: (KeyType.DES2,), SCP03: (KeyType.AES128, KeyType.AES192, KeyType.AES256)}
NO_LIVE_MASTER = frozenset({KeyState.PRE_ACTIVATION, KeyState.DESTROYED})


@dataclass(frozen=True)
class Derivable:
    """A key set that is not on record and that this platform could have put in, or its vendor (`purpose` None)."""

    kvn: int
    key_type: KeyType
    purpose: DerivationPurpose | None
    master_id: str
    generation: int

    @property
    def label(self) -> str:
        """The candidate's name."""
        return f"derived:{self.kvn}:{self.key_type}:{self.purpose or 'vendor'}:{self.master_id}:{self.generation}"


def parse_label(label: str) -> Derivable | None:
    """The set that a label names; None for one on record."""
    if not label.startswith("derived:"):
        return None
    _, kvn, key_type, purpose, master_id, generation = label.split(":")
    known = None if purpose == "vendor" else DerivationPurpose(purpose)
    return Derivable(int(kvn), KeyType(key_type), known, master_id, int(generation))


def build_probe(planner: Planner, record: CardRecord, domain: SecurityDomain, *, whole: bool) -> Probe | None:
    """The program that looks at a security domain; None where nothing could be there that we would know.

    `whole`: every generation from 0 and every key type, for a repair; else those that a database which was restored
    does not know of: later generations, of the types that the security domain has or is to have.
    """
    candidates = list(_list_recorded(planner, record, domain))
    candidates += [
        build_derived_candidate(planner.platform, record, domain, item)
        for item in list_derivable(planner, record, domain, whole=whole)
    ]
    if not candidates:
        return None
    types = {item.ref.key_type.is_aes: item.ref.key_type for item in candidates}
    parameters = [planner.parameters(record, domain, key_type) for key_type in types.values()]
    return Probe(Reconcile(parameters[0], tuple(candidates), others=tuple(parameters[1:])))


def list_derivable(planner: Planner, record: CardRecord, domain: SecurityDomain, *, whole: bool) -> Iterator[Derivable]:
    """The sets that this platform could have put into a security domain and that are not on record."""
    recorded = {(item.purpose, item.generation) for item in record.sets_of(domain)}
    first = 0 if whole else domain.last_generation + 1
    for purpose in _list_purposes(planner, record, domain):
        for master in _list_live(record, MASTER_KINDS[purpose]):
            for key_type in _list_types(planner, record, domain, whole=whole):
                for generation in range(first, domain.last_generation + 1 + GENERATIONS_AHEAD):
                    if (purpose, generation) not in recorded:
                        kvn = planner.profile.get_kvn(get_scp(key_type), generation)
                        yield Derivable(kvn, key_type, purpose, master.id, generation)
    if whole and domain.kind is DomainKind.ISD:
        yield from _list_vendor_sets(record, domain)


def build_derived_candidate(
    platform: str, record: CardRecord, domain: SecurityDomain, derivable: Derivable
) -> Candidate:
    """A set that is not on record, as programs name it."""
    master = build_master_ref(record.masters[derivable.master_id])
    card = record.card
    if derivable.purpose is None:
        vendor = VendorKeys(master, card.diversification, card.kdd)
        return Candidate(derivable.label, KeySetRef(derivable.kvn, derivable.key_type, vendor))
    source = DerivedKeys(master, platform, derivable.purpose, card.identity, domain.aid, derivable.generation)
    return Candidate(derivable.label, KeySetRef(derivable.kvn, derivable.key_type, source))


def build_found_set(
    keys: KeyPort, planner: Planner, record: CardRecord, derivable: Derivable, planned: KeySet
) -> KeySet:
    """The row of a set that a look found and nobody had on record. `planned`: its id and time; KCVs are computed."""
    domain = record.domains[planned.security_domain_id]
    ref = build_derived_candidate(planner.platform, record, domain, derivable).ref
    method = gp_kcv_method(ref.key_type)
    kcvs: tuple[bytes, ...] = ()
    if derivable.purpose is not None:  # the vendor's sets are known by their master alone
        kcvs = tuple(compute_kcv(keys, derive_static_key(keys, ref, role, KeyUse.ENCRYPT), method) for role in KeyRole)
    return replace(planned, kcvs=kcvs, kcv_method=method)


def plan_found_set(planner: Planner, domain: SecurityDomain, derivable: Derivable) -> KeySet:
    """The same without check values, before it counts as in force."""
    return KeySet(
        id=planner.identifiers.new(),
        security_domain_id=domain.id,
        kvn=derivable.kvn,
        key_type=derivable.key_type,
        purpose=derivable.purpose,
        master_id=derivable.master_id,
        generation=derivable.generation,
        delivery=Delivery.FACTORY if derivable.purpose is None else Delivery.PLANNED,
        state=KeyState.ACTIVE if derivable.purpose is None else KeyState.PRE_ACTIVATION,
        kcvs=(),
        kcv_method=gp_kcv_method(derivable.key_type),
        created_at=planner.now,
    )


def build_findings(
    planner: Planner, record: CardRecord, domain: SecurityDomain, visit_id: str, found: Probed
) -> tuple[KeyFinding, ...]:
    """What a look showed, line by line, for people."""
    base = KeyFinding(
        id="",
        card_id=record.card.id,
        security_domain_id=domain.id,
        visit_id=visit_id,
        found_at=planner.now,
        kind=FindingKind.NONE,
        repair_order_id=record.repair.id if record.repair is not None else None,
    )
    lines = list(_list_lines(record, domain, base, found))
    return tuple(replace(line, id=planner.identifiers.new()) for line in lines)


def own_evidence(record: CardRecord, domain: SecurityDomain, found: Probed) -> tuple[Evidence, ...]:
    """The evidence about the security domain's own sets: one without keys answers with its parent's."""
    return tuple(item for item in found.in_force if _is_own(record, domain, item.label))


def _list_lines(record: CardRecord, domain: SecurityDomain, base: KeyFinding, found: Probed) -> Iterator[KeyFinding]:
    if not found.present:
        yield replace(base, kind=FindingKind.ABSENT)
        return
    seen: set[int] = set(found.strange)
    for evidence in own_evidence(record, domain, found):
        derivable = parse_label(evidence.label)
        if derivable is None:
            key_set = record.key_sets[evidence.label]
            line = replace(base, kind=FindingKind.RECORDED, kvn=key_set.kvn, key_set_id=key_set.id)
            line = replace(line, purpose=key_set.purpose, key_type=key_set.key_type, generation=key_set.generation)
        else:
            line = replace(base, kind=FindingKind.DERIVED, kvn=derivable.kvn, purpose=derivable.purpose)
            line = replace(line, key_type=derivable.key_type, generation=derivable.generation)
            line = replace(line, master_id=derivable.master_id)
        seen.add(line.kvn)
        yield replace(line, counter=evidence.counter)
    for kvn in found.strange:
        yield replace(base, kind=FindingKind.UNKNOWN, kvn=kvn)
    claimed = [kvn for kvn in found.key_versions or () if kvn not in seen]
    for kvn in claimed:
        yield replace(base, kind=FindingKind.CLAIMED, kvn=kvn)
    if not seen and not claimed:
        yield base


def _is_own(record: CardRecord, domain: SecurityDomain, label: str) -> bool:
    known = record.key_sets.get(label)
    return known is None or known.security_domain_id == domain.id


def _list_recorded(planner: Planner, record: CardRecord, domain: SecurityDomain) -> Iterator[Candidate]:
    isd = record.find_isd()
    parents = record.sets_of(isd) if domain.kind is DomainKind.SSD and isd is not None else []
    for item in (*parents, *record.sets_of(domain)):
        try:
            candidate = build_candidate(planner.platform, record, item)
        except KmsError as error:
            # A peer's keys were erased, once our own had taken their place; a compromised master's derive nothing.
            if error.code not in (Code.KEY_MISSING, Code.KEY_STATE):
                raise
        else:
            if record.card.find_i(get_scp(item.key_type)) is not None:
                yield candidate


def _list_purposes(planner: Planner, record: CardRecord, domain: SecurityDomain) -> tuple[DerivationPurpose, ...]:
    if domain.kind is DomainKind.ISD:
        return (DerivationPurpose.ISD,)
    initial = (DerivationPurpose.SSD_INITIAL,) if record.find_isd() is not None else ()
    return (*initial, DerivationPurpose.SSD) if domain.managed_by == planner.platform else initial


def _list_live(record: CardRecord, kind: MasterKind) -> list[MasterKey]:
    return [item for item in record.masters.values() if item.kind is kind and item.state not in NO_LIVE_MASTER]


def _list_types(planner: Planner, record: CardRecord, domain: SecurityDomain, *, whole: bool) -> list[KeyType]:
    """Types that the card can hold: all of them for a repair, else those on record and those that are wanted."""
    spoken = [item for scp, types in TYPES.items() if record.card.find_i(scp) is not None for item in types]
    if whole:
        return spoken
    wanted = {item.key_type for item in record.sets_of(domain)}
    wanted |= {item.key_type for item in record.updates.values() if item.key_type is not None}
    isd = record.find_isd()
    if isd is not None and domain.kind is DomainKind.SSD:
        wanted |= {item.key_type for item in record.sets_of(isd)}
    profile_type = planner.profile.isd_key_type if domain.kind is DomainKind.ISD else planner.profile.ssd_key_type
    wanted |= {item for item in (domain.key_type, profile_type) if item is not None}
    return [item for item in spoken if item in wanted]


def _list_vendor_sets(record: CardRecord, isd: SecurityDomain) -> Iterator[Derivable]:
    """The vendor's keys under every vendor master of a fitting type, at the version it delivered and at FF."""
    known = [item for item in record.sets_of(isd) if item.purpose is None]
    asked = {(item.master_id, item.kvn) for item in known}
    for master in _list_live(record, MasterKind.VENDOR):
        for kvn in sorted({KVN_FACTORY, *(item.kvn for item in known)}):
            if (master.id, kvn) not in asked and record.card.find_i(get_scp(master.key_type)) is not None:
                yield Derivable(kvn, master.key_type, None, master.id, 0)
