"""Enrolling cards as a manufacturer delivers them.

Rules: a file is checked whole before anything is written, and written in one transaction: all or nothing. A card that
is enrolled already with the same values is skipped, with other values it is a fault, so a file can be imported again
without harm. One audit event stands for a file, with its SHA-256 and its numbers.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from kms.card.channel import OPTIONS
from kms.card.key_sets import gp_kcv_method
from kms.card.keys import Diversification, KeyType
from kms.card.profile import CardProfile
from kms.domain.audit import AuditEvent
from kms.domain.card_file import NAME, CardLine, build_where, parse_card_file
from kms.domain.cards import SCP02, SCP03, Card, CardState, DomainKind, DomainState, SecurityDomain, get_scp
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKey, MasterKind
from kms.domain.updates import KeyUpdate, UpdateReason, UpdateState
from kms.errors import Code, Fault, KmsError
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.recovery import check_normal

BATCH = 1000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CardSettings:
    """What enrolment needs of the configuration. `profiles`: the card profiles that exist, by name.

    `take_over_isd`: whether an enrolled card is owed the ISD's change from the vendor's keys to the issuer's own.
    """

    platform: str
    profiles: Mapping[str, CardProfile]
    take_over_isd: bool


@dataclass(frozen=True)
class ImportResult:
    """What an import did: cards in the file, enrolled by it, and skipped because they were enrolled already."""

    cards: int
    enrolled: int
    skipped: int


def ignore_progress(_done: int, _total: int) -> None:
    """Take no notice of progress."""


class CardService:
    """The use cases of a card's record."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers, settings: CardSettings) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._settings = settings

    def import_file(
        self, content: bytes, *, actor: str, batch: str = "", progress: Progress = ignore_progress
    ) -> ImportResult:
        """Enrol the cards of a file (`kms.domain.card_file`). `progress` gets (done, total), in lines.

        `batch`: the name by which policies and campaigns know these cards; those enrolled before keep theirs.
        Raises `input.invalid` with every fault of the file and its line; nothing is enrolled then.
        """
        if batch and not NAME.match(batch):
            text = "A batch's name has letters, digits, dots, dashes and underscores, at most 64."
            raise KmsError(Code.INPUT_INVALID, text)
        file = parse_card_file(content)
        with self._store.transaction() as transaction:
            check_normal(transaction, "Enrolling cards")
            importer = _Importer(self._settings, self._identifiers, self._clock.now(), actor, transaction, batch=batch)
            faults = [*file.faults, *importer.find_faults(file.lines)]
            if faults:
                faults.sort(key=_find_line)
                what = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
                text = f"The card file has {what}; nothing was enrolled. Mend each and import again."
                raise KmsError(Code.INPUT_INVALID, text, faults=tuple(faults))
            result = importer.enrol(file.lines, progress)
            transaction.audit.append(importer.build_event(result, hashlib.sha256(content).hexdigest()))
        return result

    def release(self, identity: bytes, *, actor: str) -> Card:
        """Serve a quarantined card again; what counted against it counts no more.

        Raises `card.unknown`, `input.conflict` for a card that is not quarantined.
        """
        with self._store.transaction() as transaction:
            card = transaction.cards.find_by_identity(identity)
            if card is None:
                raise KmsError(Code.CARD_UNKNOWN, "No card with this identity is enrolled: `kms cards list`.")
            if card.state is not CardState.QUARANTINED:
                raise KmsError(Code.CONFLICT, f"The card is {card.state}: there is nothing to release.")
            now = self._clock.now()
            transaction.cards.claim(card)  # a step of a visit that is under way knew another card
            released = replace(
                card,
                state=CardState.ENROLLED,
                quarantine_reason="",
                quarantine_code="",
                trusted_since=now,
                version=card.version + 1,
            )
            transaction.cards.save(released)
            subject = f"card {identity.hex().upper()}"
            event = AuditEvent(
                self._identifiers.new(), now, actor, "card.release", subject, "done", detail=card.quarantine_reason
            )
            transaction.audit.append(event)
        return released

    def set_protocols(self, identity: bytes, scp02_i: int | None, scp03_i: int | None, *, actor: str) -> Card:
        """Say which protocols a card speaks, where its own word is not to be taken; what is fixed stays.

        Raises `card.unknown`, `input.invalid` without any or for an option that is not supported, `input.conflict` for
        another "i" than one by which a channel was opened or that the card's file gave.
        """
        for scp, option in ((SCP02, scp02_i), (SCP03, scp03_i)):
            if option is not None and option not in OPTIONS[scp]:
                known = ", ".join(f"{item:02X}" for item in sorted(OPTIONS[scp]))
                raise KmsError(
                    Code.INPUT_INVALID, f"That is no supported option of SCP{scp:02d}; take one of: {known}."
                )
        if scp02_i is None and scp03_i is None:
            raise KmsError(Code.INPUT_INVALID, "Say of at least one protocol which option the card has.")
        with self._store.transaction() as transaction:
            card = transaction.cards.find_by_identity(identity)
            if card is None:
                raise KmsError(Code.CARD_UNKNOWN, "No card with this identity is enrolled: `kms cards list`.")
            for scp, option in ((SCP02, scp02_i), (SCP03, scp03_i)):
                if card.is_fixed(scp) and option != card.find_i(scp):
                    raise KmsError(Code.CONFLICT, f"The card's SCP{scp:02d} is known for i={card.get_i(scp):02X}.")
            transaction.cards.claim(card)  # a step of a visit that is under way knew another card
            known_card = replace(
                card,
                scp02_i=scp02_i,
                scp03_i=scp03_i,
                scp02_claimed=False,
                scp03_claimed=False,
                version=card.version + 1,
            )
            transaction.cards.save(known_card)
            said = " ".join(
                f"SCP{scp:02d} i={option:02X}" for scp, option in ((2, scp02_i), (3, scp03_i)) if option is not None
            )
            subject = f"card {identity.hex().upper()}"
            event = AuditEvent(
                self._identifiers.new(), self._clock.now(), actor, "card.set-protocols", subject, "done", detail=said
            )
            transaction.audit.append(event)
        return known_card


class _Importer:
    """One import: the masters it may use and what each line becomes."""

    def __init__(
        self,
        settings: CardSettings,
        identifiers: Identifiers,
        now: datetime,
        actor: str,
        transaction: Transaction,
        *,
        batch: str,
    ) -> None:
        self._settings = settings
        self._identifiers = identifiers
        self._now = now
        self._actor = actor
        self._transaction = transaction
        self._batch = batch
        self._masters: dict[str, MasterKey | None] = {}
        self._names: dict[str, str] = {}
        self._known: set[bytes] = set()

    def find_faults(self, lines: Sequence[CardLine]) -> Iterator[Fault]:
        """Everything about the lines that only this installation can know."""
        for batch in split_batches(lines):
            for line in batch:
                yield from self._find_line_faults(line)
            yield from self._find_conflicts(batch)

    def enrol(self, lines: Sequence[CardLine], progress: Progress) -> ImportResult:
        """Write the lines that `find_faults` did not find enrolled."""
        done = 0
        for batch in split_batches(lines):
            self._write([line for line in batch if line.identity not in self._known])
            done += len(batch)
            progress(done, len(lines))
        return ImportResult(cards=done, enrolled=done - len(self._known), skipped=len(self._known))

    def build_event(self, result: ImportResult, digest: str) -> AuditEvent:
        """Build the audit event of the whole file."""
        detail = f"{result.cards} cards, {result.enrolled} enrolled, {result.skipped} enrolled before"
        subject = f"card-file sha256:{digest}"
        return AuditEvent(
            self._identifiers.new(), self._now, self._actor, "cards.import", subject, "done", detail=detail
        )

    def _find_line_faults(self, line: CardLine) -> Iterator[Fault]:
        if line.profile not in self._settings.profiles:
            yield Fault(build_where(line.line, "profile"), "there is no such card profile in the configuration")
        where = build_where(line.line, "vendor_master")
        master = self._find_master(line.vendor_master)
        if master is None:
            yield Fault(where, "there is no ACTIVE vendor master of this name; import it with `kms keys import`")
            return
        if master.key_type is KeyType.DES3:
            # SCP02 keys are two-key triple DES (GP Card Specification 2.3.1 appendix E.4.1).
            yield Fault(where, f"is of type {master.key_type}; a card's keys are DES2 or AES")
        elif line.is_given and line.find_i(get_scp(master.key_type)) is None:
            scp = get_scp(master.key_type)
            what = f"is of type {master.key_type}, whose keys open SCP{scp:02d}; the line gives no scp{scp:02d}_i"
            yield Fault(where, what)
        if master.key_type.is_aes != (line.diversification is Diversification.KDF3):
            # As `kms.card.diversification`: one AES key may not be all three of a card, VISA2 and EMV are triple DES.
            what = f"does not go with a vendor master of type {master.key_type}: AES masters take kdf3, others do not"
            yield Fault(build_where(line.line, "diversification"), what)

    def _find_conflicts(self, batch: Sequence[CardLine]) -> Iterator[Fault]:
        """Faults of cards that are enrolled with other values; those with the same are remembered as known."""
        cards = {
            card.identity: card
            for card in self._transaction.cards.find_by_identities([line.identity for line in batch])
        }
        if not cards:
            return
        domains = self._transaction.security_domains.list_for_cards([card.id for card in cards.values()])
        isds = {domain.card_id: domain for domain in domains if domain.kind is DomainKind.ISD}
        key_sets = self._transaction.key_sets.list_for_domains([domain.id for domain in isds.values()])
        factory = {key_set.security_domain_id: key_set for key_set in key_sets if key_set.purpose is None}
        for line in batch:
            card = cards.get(line.identity)
            if card is None:
                continue
            isd = isds.get(card.id)
            differing = self._list_differences(line, card, isd, factory.get(isd.id) if isd else None)
            for column in differing:
                yield Fault(build_where(line.line, column), "the card is enrolled with another value")
            if not differing:
                self._known.add(line.identity)

    def _list_differences(
        self, line: CardLine, card: Card, isd: SecurityDomain | None, factory: KeySet | None
    ) -> list[str]:
        same = {
            "kdd": line.kdd == card.kdd,
            "isd_aid": isd is not None and line.isd_aid == isd.aid,
            "isd_kvn": factory is not None and line.isd_kvn == factory.kvn,
            "scp02_i": _is_same_option(line, card, SCP02),
            "scp03_i": _is_same_option(line, card, SCP03),
            "vendor_master": factory is not None and line.vendor_master == self._get_master_name(factory.master_id),
            "diversification": line.diversification == card.diversification,
            "profile": line.profile == card.profile,
        }
        return [column for column, is_same in same.items() if not is_same]

    def _find_master(self, name: str) -> MasterKey | None:
        if name not in self._masters:
            self._masters[name] = self._transaction.master_keys.find_active(MasterKind.VENDOR, name)
        return self._masters[name]

    def _get_master_name(self, master_id: str) -> str:
        # By name: the vendor's master may have a newer generation than the one this card was enrolled with.
        if master_id not in self._names:
            self._names[master_id] = self._transaction.master_keys.get(master_id).name
        return self._names[master_id]

    def _write(self, lines: Iterable[CardLine]) -> None:
        cards: list[Card] = []
        isds: list[SecurityDomain] = []
        key_sets: list[KeySet] = []
        for line in lines:
            card = self._build_card(line)
            isd = self._build_isd(line, card)
            cards.append(card)
            isds.append(isd)
            key_sets.append(self._build_factory_set(line, isd))
        self._transaction.cards.add_all(cards)
        self._transaction.security_domains.add_all(isds)
        self._transaction.key_sets.add_all(key_sets)
        if self._settings.take_over_isd:
            self._transaction.key_updates.add_all([self._build_takeover(isd) for isd in isds])

    def _build_card(self, line: CardLine) -> Card:
        return Card(
            id=self._identifiers.new(),
            identity=line.identity,
            kdd=line.kdd,
            scp02_i=line.scp02_i,
            scp03_i=line.scp03_i,
            profile=line.profile,
            diversification=line.diversification,
            state=CardState.ENROLLED,
            enrolled_at=self._now,
            batch=self._batch,
        )

    def _build_isd(self, line: CardLine, card: Card) -> SecurityDomain:
        return SecurityDomain(
            id=self._identifiers.new(),
            card_id=card.id,
            parent_id=None,
            aid=line.isd_aid,
            kind=DomainKind.ISD,
            state=DomainState.KEYED,  # by its vendor
            managed_by=self._settings.platform,
            privileges=b"",
            last_generation=0,  # the vendor's set; our first is 1
            created_at=self._now,
            key_type=self._settings.profiles[line.profile].isd_key_type,
        )

    def _build_factory_set(self, line: CardLine, isd: SecurityDomain) -> KeySet:
        master = self._find_master(line.vendor_master)
        if master is None:
            raise KmsError(Code.KEY_MISSING, "The vendor master is gone since the file was checked. Import again.")
        return KeySet(
            id=self._identifiers.new(),
            security_domain_id=isd.id,
            kvn=line.isd_kvn,
            key_type=master.key_type,
            purpose=None,
            master_id=master.id,
            generation=0,
            delivery=Delivery.FACTORY,
            state=KeyState.ACTIVE,
            kcvs=(),
            kcv_method=gp_kcv_method(master.key_type),
            created_at=self._now,
        )

    def _build_takeover(self, isd: SecurityDomain) -> KeyUpdate:
        return KeyUpdate(
            id=self._identifiers.new(),
            security_domain_id=isd.id,
            reason=UpdateReason.VENDOR_TAKEOVER,
            state=UpdateState.PENDING,
            requested_at=self._now,
            requested_by=self._actor,
            due_at=self._now,
        )


def split_batches(lines: Iterable[CardLine]) -> Iterator[list[CardLine]]:
    """Split into lists of at most `BATCH`, so that memory and statements stay bounded."""
    iterator = iter(lines)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _is_same_option(line: CardLine, card: Card, scp: int) -> bool:
    """Whether the file says of a protocol what is on record; a line that gives none contradicts nothing."""
    return not line.is_given or line.find_i(scp) == card.find_i(scp)


def _find_line(fault: Fault) -> int:
    number = fault.where.removeprefix("line ").split(",")[0]
    return int(number)
