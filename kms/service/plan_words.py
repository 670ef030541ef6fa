"""What would be sent to a card if it came now, in words: the planner's own answer, for people.

Rules: plans from the records as a visit would, in memory, and writes nothing. One line an open update, in the order in
which a visit takes them up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kms.card.profile import CardProfile
from kms.card.programs.create_ssd import CreateSsd
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import ProgramState
from kms.domain.cards import Card, CardState
from kms.domain.transfers import Transfer
from kms.domain.updates import KeyUpdate
from kms.errors import KmsError
from kms.service.card_record import CardRecord, load_card_record
from kms.service.plan import Planner
from kms.service.ports import Identifiers, Transaction
from kms.service.recognizing import needs_recognition


@dataclass(frozen=True)
class PlannedStep:
    """What the next visit would do first for an update. `aid`: of its security domain."""

    update_id: str
    aid: bytes
    words: str


def describe_next(
    tx: Transaction,
    card: Card,
    *,
    platform: str,
    profiles: Mapping[str, CardProfile],
    identifiers: Identifiers,
    now: datetime,
) -> Sequence[PlannedStep]:
    """Say for each open update of a card what would be sent first. Empty for a card that is not served."""
    profile = profiles.get(card.profile)
    if card.state is not CardState.ENROLLED or profile is None:
        return []
    record = load_card_record(tx, card, ())
    planner = Planner(platform=platform, profile=profile, identifiers=identifiers, now=now)
    steps = []
    for update in sorted(record.updates.values(), key=lambda item: item.attempts):
        aid = record.domains[update.security_domain_id].aid
        steps.append(PlannedStep(update.id, aid, _plan(planner, record, update)))
    return steps


def _plan(planner: Planner, record: CardRecord, update: KeyUpdate) -> str:
    try:
        if needs_recognition(record, update):
            return "Ask the card first which secure channel protocols it speaks (GET DATA); then plan."
        return _describe(planner.plan(record, update))
    except KmsError as error:
        return f"Nothing can be sent: {error.detail}"


def _describe(planned: ProgramState | Transfer | None) -> str:  # noqa: PLR0911 - one for each kind of program
    match planned:
        case None:
            return "Nothing: the new keys are in force, and the update is done when the card is next seen."
        case Transfer():
            return f"Relay what the platform {planned.peer} sends: the issuer of the card acts first."
        case ReplaceKeys():
            how = "added beside" if planned.add else "in the place of"
            new, old = planned.new.ref, planned.current.ref
            return (
                f"Open a channel under key set {old.kvn:02X} ({old.key_type}); PUT KEY: key set {new.kvn:02X} "
                f"({new.key_type}) {how} it; prove it by a new channel."
            )
        case DeleteKeys():
            return f"DELETE the replaced key set {planned.old_kvn:02X}, in a channel under the new one."
        case CreateSsd():
            how = "STORE DATA" if planned.recipe.route == "store-data" else "PUT KEY"
            made = "Give the security domain" if planned.resume else "Make the security domain (INSTALL) and give it"
            return f"{made} its initial keys {planned.initial.ref.kvn:02X} by {how}, through the card's ISD."
        case Reconcile():
            versions = ", ".join(f"{item.ref.kvn:02X}" for item in planned.candidates)
            return f"Find out which key set is in force, by trying channels only: {versions}."
    return "Look at the card first, and change nothing."
