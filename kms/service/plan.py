"""What a card needs next: from its records to the program to run, or to the end of an update.

Rules: the plan follows from the records alone, so a visit that broke anywhere is taken up by the next one. What is in
doubt is reconciled before anything else touches that security domain or, for an SSD without keys, its parent.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, cast

from kms.card.channel import ChannelParameters, SecurityLevel, get_max_command_data
from kms.card.commands import KVN_FACTORY
from kms.card.keys import DerivationPurpose, KeyType
from kms.card.profile import CardProfile
from kms.card.programs.create_ssd import CreateSsd, SsdRecipe
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import ProgramState
from kms.domain.cards import SCP02, SCP03, Card, DomainKind, DomainState, SecurityDomain, choose_key_type, get_scp
from kms.domain.keys import Delivery, KeySet, KeyState
from kms.domain.transfers import Transfer
from kms.domain.updates import KeyUpdate
from kms.errors import Code, KmsError
from kms.service.card_record import IN_DOUBT, CardRecord
from kms.service.key_refs import build_candidate, find_hand_over
from kms.service.new_key_sets import MASTER_KINDS, NewKeySet, plan_key_set
from kms.service.ports import Identifiers

R_MAC_OPTION = 0x20  # "i" parameter bit 6: R-MAC supported (GP 2.3.1 Table E-1; Amendment D section 5.1)
R_ENC_OPTION = 0x40  # SCP03 bit 7: with bit 6, R-MAC and R-ENCRYPTION supported
# The card challenge follows from AID, counter and a static key: SCP02 bit 7, SCP03 bit 5.
KNOWN_CHALLENGE_OPTION = {SCP02: 0x40, SCP03: 0x10}


@dataclass(frozen=True)
class Planner:
    """Plans for one card. `platform`: the name in every derivation."""

    platform: str
    profile: CardProfile
    identifiers: Identifiers
    now: datetime

    def plan(self, record: CardRecord, update: KeyUpdate) -> ProgramState | Transfer | None:
        """The next program for an update; None when its new key set is in force and nothing old is left.

        A transfer, where the issuer of the card has to act first: its batches are to be relayed. Plans new key sets
        into the record. Raises `key.missing`, `key.state`, `input.conflict`.
        """
        domain = record.domains[update.security_domain_id]
        current = record.find_current_set(domain)
        if record.sets_in_doubt(domain) and not is_blind(record, domain):
            return self.reconcile(record, domain)
        if current is not None and domain.managed_by != self.platform:
            return None  # the initial keys are in: from here on the security domain is its provider's
        new = record.key_sets[update.new_key_set_id] if update.new_key_set_id else None
        if new is not None and new.delivery is Delivery.PROVED:
            return self._plan_removal(record, domain, new)
        if domain.kind is DomainKind.SSD and record.find_isd() is None and self._needs_issuer(record, domain, current):
            return self._find_transfer(record, domain)
        if current is None:
            return self._plan_first_keys(record, domain)
        if new is None:
            new = self._plan_operative_set(record, domain, update, current)
        return ReplaceKeys(
            parameters=self.parameters(record, domain, current.key_type),
            current=build_candidate(self.platform, record, current),
            new=build_candidate(self.platform, record, new),
            add=must_add(current, new.key_type),
            aes_block_form=self._aes_block_form,
            new_parameters=self.parameters(record, domain, new.key_type),
        )

    def reconcile(self, record: CardRecord, domain: SecurityDomain) -> Reconcile:
        """Ask which of the domain's sets is in force; an SSD that may have no keys answers with its parent's."""
        may_be_keyless = domain.kind is DomainKind.SSD and record.find_current_set(domain) is None
        isd = record.find_isd()
        asked = [*(record.sets_of(isd) if may_be_keyless and isd is not None else []), *record.sets_of(domain)]
        possible = [item for item in asked if may_be_on_card(item) or left_by_word(record, item)]
        known = [item for item in possible if item.state is not KeyState.COMPROMISED]
        # The set in doubt last: when it turns out to be in force, the next program goes on with its channel.
        known.sort(key=lambda item: (item.security_domain_id == domain.id, _likelihood(record, item)))
        candidates = tuple(build_candidate(self.platform, record, item) for item in known)
        types = {item.key_type.is_aes: item.key_type for item in reversed(known)}
        parameters = tuple(self.parameters(record, domain, key_type) for key_type in types.values())
        return Reconcile(parameters=parameters[0], candidates=candidates, others=parameters[1:])

    def parameters(self, record: CardRecord, domain: SecurityDomain, key_type: KeyType) -> ChannelParameters:
        """How channels to a security domain of this card are run under keys of a type, which decides the protocol.

        The profile's level, with response protection where the card offers it. Raises `key.state` for a protocol that
        the card is not known to speak.
        """
        scp = get_scp(key_type)
        i = record.card.get_i(scp)
        return ChannelParameters(scp, i, find_level(self.profile, scp, i), domain.aid)

    def _needs_issuer(self, record: CardRecord, domain: SecurityDomain, current: KeySet | None) -> bool:
        """Whether the issuer must make initial keys first, or hand them over again after the envelope's end."""
        if current is None:
            return True
        if current.purpose is not DerivationPurpose.SSD_INITIAL or current.delivery is not Delivery.FACTORY:
            return False
        hand_over = find_hand_over(record, domain)
        return hand_over is None or hand_over.expires_at <= self.now

    @staticmethod
    def _find_transfer(record: CardRecord, domain: SecurityDomain) -> Transfer:
        transfer = record.find_transfer(domain)
        if transfer is None:
            raise KmsError(Code.KEY_STATE, "the issuer was not asked for this security domain: apply for it again")
        return transfer

    @property
    def _aes_block_form(self) -> Literal["long", "short"]:
        return cast(Literal["long", "short"], self.profile.aes_block_form)

    def _plan_operative_set(
        self, record: CardRecord, domain: SecurityDomain, update: KeyUpdate, current: KeySet
    ) -> KeySet:
        purpose = DerivationPurpose.ISD if domain.kind is DomainKind.ISD else DerivationPurpose.SSD
        key_type = self._choose_operative_type(record, domain, update, current)
        new = self._find_planned(record, domain, purpose, key_type)
        if new is None:
            new = self._plan_key_set(record, domain, purpose, key_type)
        if update.key_type is not None:
            domain = record.domains[domain.id]
            record.save(replace(domain, key_type=update.key_type))
        record.save(replace(update, new_key_set_id=new.id))
        return new

    def _choose_operative_type(
        self, record: CardRecord, domain: SecurityDomain, update: KeyUpdate, current: KeySet
    ) -> KeyType:
        """As the update asks; our first keys as the security domain is to have them; else as the keys in force."""
        ours = current.purpose in (DerivationPurpose.ISD, DerivationPurpose.SSD)
        wanted = update.key_type or (None if ours else self._find_wanted_type(domain)) or current.key_type
        return choose_key_type(record.card, wanted)

    def _find_wanted_type(self, domain: SecurityDomain) -> KeyType | None:
        """The type of first keys: what the card product takes at all comes before what the catalogue says."""
        is_ssd = domain.kind is DomainKind.SSD
        return (self.profile.ssd_key_type if is_ssd else None) or domain.key_type

    def _find_planned(
        self, record: CardRecord, domain: SecurityDomain, purpose: DerivationPurpose, key_type: KeyType
    ) -> KeySet | None:
        """A set planned before and not seen on the card: a retry installs the same keys.

        One that was sent comes first, whatever its master and type: a withheld batch may still bring it. One that never
        left is used only while its master is the newest and its type the one wanted, else a master's rotation or a move
        to another type would install keys of the old one.
        """
        planned = [
            item
            for item in record.sets_of(domain)
            if item.delivery is Delivery.PLANNED and item.purpose is purpose and item.state is not KeyState.COMPROMISED
        ]
        sent = next((item for item in planned if was_sent(item)), None)
        if sent is not None or not planned:
            return sent
        newest = record.get_active_master(MASTER_KINDS[purpose]).id
        fitting = (item for item in planned if (item.master_id, item.key_type) == (newest, key_type))
        return next(fitting, None)

    def _plan_key_set(
        self, record: CardRecord, domain: SecurityDomain, purpose: DerivationPurpose, key_type: KeyType
    ) -> KeySet:
        new = NewKeySet(self.identifiers.new(), purpose, key_type, self.now)
        return plan_key_set(record, domain, self.profile, new)

    def _plan_first_keys(self, record: CardRecord, domain: SecurityDomain) -> ProgramState:
        isd = record.isd
        if domain.kind is DomainKind.ISD:
            raise KmsError(Code.KEY_STATE, "no key set of the card's ISD is on record: enrol the card again")
        if record.sets_in_doubt(isd):
            return self.reconcile(record, isd)
        parent = record.find_current_set(isd)
        if parent is None:
            raise KmsError(Code.KEY_STATE, "no key set of the card's ISD is known to be in force")
        self._check_route(record, domain, parent)
        if is_blind(record, domain) and self.profile.initial_key_route == "put-key":
            # PUT KEY under the parent's keys reaches an SSD only while it has none of its own (GP 2.3.1 section 7.1).
            raise KmsError(
                Code.KEY_STATE,
                "compromised keys are replaced through the ISD by the route store-data alone: if the card takes it, set"
                " initial_key_route in the card's profile",
            )
        purpose = DerivationPurpose.SSD_INITIAL
        key_type = choose_key_type(record.card, self._find_wanted_type(domain) or parent.key_type)
        initial = self._find_planned(record, domain, purpose, key_type)
        if initial is None:
            initial = self._plan_key_set(record, domain, purpose, key_type)
        profile = self.profile
        parameters = self.parameters(record, isd, parent.key_type)
        recipe = SsdRecipe(
            aid=domain.aid,
            load_file_aid=profile.ssd_load_file_aid,
            module_aid=profile.ssd_module_aid,
            privileges=domain.privileges,
            install_parameters=profile.ssd_install_parameters,
            route=cast(Literal["store-data", "put-key"], profile.initial_key_route),
            max_command_data=min(profile.max_command_data, get_max_command_data(parameters)),
            set_personalized=profile.set_status_personalized,
        )
        return CreateSsd(
            parameters=parameters,
            recipe=recipe,
            parent=build_candidate(self.platform, record, parent),
            initial=build_candidate(self.platform, record, initial),
            resume=domain.state is not DomainState.PLANNED,
            aes_block_form=self._aes_block_form,
            initial_parameters=self.parameters(record, domain, initial.key_type),
        )

    def _check_route(self, record: CardRecord, domain: SecurityDomain, parent: KeySet) -> None:
        """Refuse the route that a lying terminal can bend, where the keys are to be another platform's.

        PUT KEY under the parent's keys goes to whatever is selected, and SELECT is not authenticated. Only a card
        challenge made from the AID (`names_domain`) tells; without it a dropped SELECT puts the SSD's initial keys into
        the ISD, which whoever gets these keys could then open.
        """
        bound = names_domain(record.card, parent.key_type)
        if self.profile.initial_key_route == "put-key" and not bound and domain.managed_by != self.platform:
            raise KmsError(
                Code.KEY_STATE,
                "initial keys for another platform need the route store-data on a card whose challenge is random:"
                " set initial_key_route in the card's profile",
            )

    def _plan_removal(self, record: CardRecord, domain: SecurityDomain, new: KeySet) -> DeleteKeys | None:
        left = find_left_over(record, domain)
        if left is None:
            return None
        return DeleteKeys(
            parameters=self.parameters(record, domain, new.key_type),
            current=build_candidate(self.platform, record, new),
            old_kvn=left.kvn,
            by_kvn=self.profile.delete_key_by_kvn,
        )


_MAY_BE_ON_CARD = (Delivery.PROVED, Delivery.FACTORY, *IN_DOUBT)


def may_be_on_card(key_set: KeySet) -> bool:
    """Whether the card holds the set, or may come to hold it by a batch that left."""
    return key_set.delivery in _MAY_BE_ON_CARD or was_sent(key_set)


def left_by_word(record: CardRecord, key_set: KeySet) -> bool:
    """Whether only the answers to DELETE and GET DATA E0, which can be forged, say that the set is gone.

    PUT KEY replaced the others: their place is taken by what was proved after them.
    """
    if key_set.delivery is not Delivery.REPLACED:
        return False
    successor = _find_successor(record, key_set)
    return key_set.kvn == KVN_FACTORY or (successor is not None and must_add(key_set, successor.key_type))


def _find_successor(record: CardRecord, key_set: KeySet) -> KeySet | None:
    """The set that took a set's place: the next of its security domain that was in force."""
    sets = record.sets_of(record.domains[key_set.security_domain_id])
    later = sets[sets.index(key_set) + 1 :]
    return next((item for item in later if item.proved_at is not None), None)


def is_blind(record: CardRecord, domain: SecurityDomain) -> bool:
    """Whether the SSD holds keys of which none is known to be in force and to be trusted.

    They were compromised, or are its provider's. No answer of the SSD would tell anything, so new initial keys go in
    through the ISD, as often as it takes: each attempt brings the same ones, until they are proved.
    """
    held = (KeyState.COMPROMISED, KeyState.DEACTIVATED)
    is_keyed = any(item.state in held for item in record.sets_of(domain))
    return domain.kind is DomainKind.SSD and is_keyed and record.find_current_set(domain) is None


def was_sent(key_set: KeySet) -> bool:
    """Whether a batch with this set ever left and it was not seen in force: it may come yet (DESIGN section 3, i=55).

    Check values are written with the write-ahead and never before.
    """
    return key_set.delivery is Delivery.PLANNED and bool(key_set.kcvs)


def _likelihood(record: CardRecord, key_set: KeySet) -> int:
    return 2 if key_set.delivery in IN_DOUBT else 0 if was_sent(key_set) or left_by_word(record, key_set) else 1


def must_add(current: KeySet, new_type: KeyType) -> bool:
    """Whether PUT KEY cannot put keys of a type in the place of a set, so that they are added and the set is deleted.

    The factory version FF cannot be named (it has the chaining bit set), and keys of another type or length need a
    place of their own (GP 2.3.1 section 11.8.2.3.1).
    """
    return current.kvn == KVN_FACTORY or current.key_type is not new_type


def names_domain(card: Card, key_type: KeyType) -> bool:
    """Whether a channel under keys of a type proves with which security domain it is: its challenge holds the AID.

    SCP02 i=55, 75 (GP 2.3.1 section E.4.2.3); SCP03 with the pseudo-random challenge (Amendment D section 6.2.2.1).
    """
    scp = get_scp(key_type)
    option = card.find_i(scp)
    return option is not None and bool(option & KNOWN_CHALLENGE_OPTION[scp])


def find_level(profile: CardProfile, scp: int, i: int) -> SecurityLevel:
    """Find the security level of a card's channels: the profile's, less what the "i" parameter does not offer."""
    if scp == SCP02:
        r_mac = SecurityLevel.R_MAC if profile.r_mac and i & R_MAC_OPTION else 0
        return SecurityLevel(profile.security_level | r_mac)
    level = profile.scp03_level
    if not i & R_MAC_OPTION:
        level &= SecurityLevel.C_MAC_C_DEC  # neither R-MAC nor what needs it
    elif not i & R_ENC_OPTION:
        level &= SecurityLevel.C_MAC_C_DEC_R_MAC
    return SecurityLevel(level)


def find_left_over(record: CardRecord, domain: SecurityDomain) -> KeySet | None:
    """A set that another took the place of and that is still on the card; a compromised one, if it may be there."""
    for item in record.sets_of(domain):
        if item.state is KeyState.DEACTIVATED and item.delivery in (Delivery.PROVED, Delivery.FACTORY):
            return item
        if item.state is KeyState.COMPROMISED and may_be_on_card(item):
            return item
    return None
