"""Actions about cards."""

import hashlib
from typing import Annotated, Any

from pydantic import Field

from kms.domain.permissions import Action
from kms.service.action_definitions.forms import Identity, Name, Why, say_bytes
from kms.service.actions import ActionDefinition, Parameters, Performer
from kms.service.cards import CardService, Progress
from kms.service.plain_values import build_record
from kms.service.repair import RepairReport, RepairService

OptionByte = Annotated[int, Field(ge=0, le=255)]


class ImportCards(Parameters):
    """`content`: the manufacturer's file, whole."""

    content: bytes
    batch: str = ""


class QuarantineCard(Parameters):
    """A card and why it is set aside."""

    card: Identity
    reason: Why


class OneCard(Parameters):
    """A card by its identity."""

    card: Identity


class SetProtocols(Parameters):
    """What a card speaks: the option "i" of each protocol, None: not at all."""

    card: Identity
    scp02_i: OptionByte | None = None
    scp03_i: OptionByte | None = None


class OrderRepair(Parameters):
    """A card to be looked at, at one terminal or any."""

    card: Identity
    terminal: Name | None = None


def define_cards(cards: CardService, repair: RepairService, progress: Progress) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of cards.*."""
    return (
        ActionDefinition(
            Action.CARDS_IMPORT,
            ImportCards,
            lambda given: (
                f"Enrol the cards of a file of {len(given.content)} bytes, SHA-256 "
                f"{hashlib.sha256(given.content).hexdigest()}, batch {given.batch or '(none)'}."
            ),
            lambda given, by: build_record(
                cards.import_file(given.content, actor=by.actor, batch=given.batch, progress=progress)
            ),
        ),
        ActionDefinition(
            Action.CARDS_QUARANTINE,
            QuarantineCard,
            lambda given: f"Set card {say_bytes(given.card)} aside: {given.reason}",
            lambda given, by: build_record(repair.quarantine(given.card, reason=given.reason, actor=by.actor)),
        ),
        ActionDefinition(
            Action.CARDS_RELEASE,
            OneCard,
            lambda given: f"Serve card {say_bytes(given.card)} again.",
            lambda given, by: build_record(cards.release(given.card, actor=by.actor)),
        ),
        ActionDefinition(
            Action.CARDS_PROTOCOLS,
            SetProtocols,
            _describe_protocols,
            lambda given, by: build_record(
                cards.set_protocols(given.card, given.scp02_i, given.scp03_i, actor=by.actor)
            ),
        ),
        *_define_repair(repair),
    )


def _define_repair(repair: RepairService) -> tuple[ActionDefinition[Any], ...]:
    def order(given: OrderRepair, by: Performer) -> dict[str, object]:
        repair.order(given.card, given.terminal, actor=by.actor)
        return build_repair_record(repair.show(given.card))

    return (
        ActionDefinition(
            Action.CARDS_REPAIR,
            OrderRepair,
            _describe_order,
            order,
        ),
        ActionDefinition(
            Action.CARDS_REPAIR_CONFIRM,
            OneCard,
            lambda given: (
                f"Set the records of card {say_bytes(given.card)} to what was found on it, and serve it again."
            ),
            lambda given, by: build_repair_record(repair.confirm(given.card, actor=by.actor)),
        ),
        ActionDefinition(
            Action.CARDS_REPAIR_CANCEL,
            OneCard,
            lambda given: f"Drop the repair of card {say_bytes(given.card)} with what it found.",
            lambda given, by: build_record(repair.cancel(given.card, actor=by.actor)),
        ),
    )


def build_repair_record(report: RepairReport) -> dict[str, object]:
    """A repair as people read it: the card, the order, and each finding."""
    order = {name: value for name, value in build_record(report.order).items() if name != "card_id"}
    findings = [
        {
            "security_domain": report.aids.get(item.security_domain_id, b""),
            "found": item.kind,
            "kvn": f"{item.kvn:02X}" if item.kvn else "",
            "key_set": item.key_set_id,
            "purpose": item.purpose,
            "generation": item.generation,
            "key_type": item.key_type,
            "counter": item.counter,
        }
        for item in report.findings
    ]
    return {
        "card": report.card.identity,
        "card_state": report.card.state,
        "quarantine_code": report.card.quarantine_code,
        "quarantine_reason": report.card.quarantine_reason,
        **order,
        "terminal": report.terminal.name if report.terminal is not None else "any",
        "findings": findings,
    }


def _describe_order(given: OrderRepair) -> str:
    where = f"terminal {given.terminal}" if given.terminal is not None else "any terminal"
    return f"Look at card {say_bytes(given.card)} at {where}, to find out which keys it holds."


def _describe_protocols(given: SetProtocols) -> str:
    said = [
        f"{name} with i={option:02X}" if option is not None else f"no {name}"
        for name, option in (("SCP02", given.scp02_i), ("SCP03", given.scp03_i))
    ]
    return f"Card {say_bytes(given.card)} speaks {' and '.join(said)}."
