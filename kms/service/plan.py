"""What a card needs next: from its records to the program to run, or to the end of an update.

Rules: the plan follows from the records alone, so a visit that broke anywhere is taken up by the next one. What is in
doubt is reconciled before anything else touches that security domain or, for an SSD without keys, its parent.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, cast

from kms.card.channel import ChannelParameters, SecurityLevel
from kms.card.commands import KVN_FACTORY
from kms.card.keys import DerivationPurpose, KeyType
from kms.card.profile import CardProfile
from kms.card.programs.create_ssd import CreateSsd, SsdRecipe
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import ProgramState
from kms.domain.cards import DomainKind, DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState
from kms.domain.transfers import Transfer
from kms.domain.updates import KeyUpdate
from kms.errors import Code, KmsError
from kms.service.card_record import IN_DOUBT, CardRecord
from kms.service.key_refs import build_candidate, find_hand_over
from kms.service.new_key_sets import MASTER_KINDS, NewKeySet, plan_key_set
from kms.service.ports import Identifiers

R_MAC_OPTION = 0x20  # "i" parameter bit 6: R-MAC supported (GP 2.3.1 Table E-1)
KNOWN_CHALLENGE_OPTION = 0x40  # bit 7: the card challenge follows from AID, counter and MAC key


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
            parameters=self.parameters(record, domain),
            current=build_candidate(self.platform, record, current),
            new=build_candidate(self.platform, record, new),
            add=must_add(current),
            aes_block_form=self._aes_block_form,
        )

    def reconcile(self, record: CardRecord, domain: SecurityDomain) -> Reconcile:
        """Ask which of the domain's sets is in force; an SSD that may have no keys answers with its parent's."""
        may_be_keyless = domain.kind is DomainKind.SSD and record.find_current_set(domain) is None
        isd = record.find_isd()
        asked = [*(record.sets_of(isd) if may_be_keyless and isd is not None else []), *record.sets_of(domain)]
        possible = [item for item in asked if may_be_on_card(item) or left_by_word(item)]
        known = [item for item in possible if item.state is not KeyState.COMPROMISED]
        # The set in doubt last: when it turns out to be in force, the next program goes on with its channel.
        known.sort(key=lambda item: (item.security_domain_id == domain.id, _likelihood(item)))
        candidates = tuple(build_candidate(self.platform, record, item) for item in known)
        return Reconcile(parameters=self.parameters(record, domain), candidates=candidates)

    def parameters(self, record: CardRecord, domain: SecurityDomain) -> ChannelParameters:
        """How channels to a security domain of this card are run: the profile's level, R-MAC where both offer it."""
        level = SecurityLevel(self.profile.security_level)
        if self.profile.r_mac and record.card.scp_i & R_MAC_OPTION:
            level = SecurityLevel(level | SecurityLevel.R_MAC)
        return ChannelParameters(record.card.scp, record.card.scp_i, level, domain.aid)

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
        new = self._find_planned(record, domain, purpose)
        if new is None:
            new = self._plan_key_set(record, domain, purpose, current.key_type)
        record.save(replace(update, new_key_set_id=new.id))
        return new

    def _find_planned(self, record: CardRecord, domain: SecurityDomain, purpose: DerivationPurpose) -> KeySet | None:
        """A set planned before and not seen on the card: a retry installs the same keys.

        One that was sent comes first, whatever its master: a withheld batch may still bring it. One that never left is
        used only while its master is the newest, else a master's rotation would install keys of the old one.
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
        return next((item for item in planned if item.master_id == newest), None)

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
        self._check_route(record, domain)
        if is_blind(record, domain) and self.profile.initial_key_route == "put-key":
            # PUT KEY under the parent's keys reaches an SSD only while it has none of its own (GP 2.3.1 section 7.1).
            raise KmsError(
                Code.KEY_STATE,
                "compromised keys are replaced through the ISD by the route store-data alone: if the card takes it, set"
                " initial_key_route in the card's profile",
            )
        purpose = DerivationPurpose.SSD_INITIAL
        initial = self._find_planned(record, domain, purpose)
        if initial is None:
            initial = self._plan_key_set(record, domain, purpose, parent.key_type)
        profile = self.profile
        recipe = SsdRecipe(
            aid=domain.aid,
            load_file_aid=profile.ssd_load_file_aid,
            module_aid=profile.ssd_module_aid,
            privileges=domain.privileges,
            install_parameters=profile.ssd_install_parameters,
            route=cast(Literal["store-data", "put-key"], profile.initial_key_route),
            max_command_data=profile.max_command_data,
            set_personalized=profile.set_status_personalized,
        )
        return CreateSsd(
            parameters=self.parameters(record, isd),
            recipe=recipe,
            parent=build_candidate(self.platform, record, parent),
            initial=build_candidate(self.platform, record, initial),
            resume=domain.state is not DomainState.PLANNED,
            aes_block_form=self._aes_block_form,
        )

    def _check_route(self, record: CardRecord, domain: SecurityDomain) -> None:
        """Refuse the route that a lying terminal can bend, where the keys are to be another platform's.

        PUT KEY under the parent's keys goes to whatever is selected, and SELECT is not authenticated. Only a card
        challenge made from the AID (i=55, 75; GP 2.3.1 section E.4.2.3) tells; without it a dropped SELECT puts the
        SSD's initial keys into the ISD, which whoever gets these keys could then open.
        """
        bound = record.card.scp_i & KNOWN_CHALLENGE_OPTION
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
            parameters=self.parameters(record, domain),
            current=build_candidate(self.platform, record, new),
            old_kvn=left.kvn,
            by_kvn=self.profile.delete_key_by_kvn,
        )


_MAY_BE_ON_CARD = (Delivery.PROVED, Delivery.FACTORY, *IN_DOUBT)


def may_be_on_card(key_set: KeySet) -> bool:
    """Whether the card holds the set, or may come to hold it by a batch that left."""
    return key_set.delivery in _MAY_BE_ON_CARD or was_sent(key_set)


def left_by_word(key_set: KeySet) -> bool:
    """Whether only the answers to DELETE and GET DATA E0, which can be forged, say that the set is gone."""
    return key_set.delivery is Delivery.REPLACED and must_add(key_set)


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


def _likelihood(key_set: KeySet) -> int:
    return 2 if key_set.delivery in IN_DOUBT else 0 if was_sent(key_set) or left_by_word(key_set) else 1


def must_add(current: KeySet) -> bool:
    """Whether PUT KEY cannot name the set it follows: the factory version FF has the chaining bit set."""
    return current.kvn == KVN_FACTORY


def find_left_over(record: CardRecord, domain: SecurityDomain) -> KeySet | None:
    """A set that another took the place of and that is still on the card; a compromised one, if it may be there."""
    for item in record.sets_of(domain):
        if item.state is KeyState.DEACTIVATED and item.delivery in (Delivery.PROVED, Delivery.FACTORY):
            return item
        if item.state is KeyState.COMPROMISED and may_be_on_card(item):
            return item
    return None
