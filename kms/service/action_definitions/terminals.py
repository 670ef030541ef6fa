"""Actions about terminals."""

from typing import Any

from kms.domain.permissions import Action
from kms.domain.terminal_limits import TerminalLimits
from kms.service.action_definitions.forms import Fingerprint, Name, Why, say_bytes
from kms.service.actions import ActionDefinition, Parameters
from kms.service.plain_values import build_record
from kms.service.terminals import TerminalService


class EnrolTerminal(Parameters):
    """`fingerprint`: SHA-256 of the client certificate (DER)."""

    name: Name
    fingerprint: Fingerprint


class StopTerminal(Parameters):
    """A terminal and why it is served no more."""

    name: Name
    reason: Why


class OneTerminal(Parameters):
    """A terminal by its name."""

    name: Name


class LimitTerminal(Parameters):
    """What a terminal may serve from now on."""

    name: Name
    limits: TerminalLimits


def define_terminals(terminals: TerminalService) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of terminals.*."""
    return (
        ActionDefinition(
            Action.TERMINALS_ENROL,
            EnrolTerminal,
            lambda given: f"Enrol terminal {given.name} by the certificate {say_bytes(given.fingerprint)} (SHA-256).",
            lambda given, by: build_record(terminals.enrol(given.name, given.fingerprint, actor=by.actor)),
        ),
        ActionDefinition(
            Action.TERMINALS_LIMIT,
            LimitTerminal,
            _describe_limits,
            lambda given, by: build_record(terminals.limit(given.name, given.limits, actor=by.actor)),
        ),
        ActionDefinition(
            Action.TERMINALS_SUSPEND,
            StopTerminal,
            lambda given: f"Serve terminal {given.name} no more until it is resumed: {given.reason}",
            lambda given, by: build_record(terminals.suspend(given.name, reason=given.reason, actor=by.actor)),
        ),
        ActionDefinition(
            Action.TERMINALS_RESUME,
            OneTerminal,
            lambda given: f"Serve terminal {given.name} again.",
            lambda given, by: build_record(terminals.resume(given.name, actor=by.actor)),
        ),
        ActionDefinition(
            Action.TERMINALS_REVOKE,
            StopTerminal,
            lambda given: f"Serve terminal {given.name} never again: {given.reason}",
            lambda given, by: build_record(terminals.revoke(given.name, reason=given.reason, actor=by.actor)),
        ),
    )


def _describe_limits(given: LimitTerminal) -> str:
    cards = ", ".join(f"{say_bytes(span.first)}-{say_bytes(span.last)}" for span in given.limits.cards) or "all"
    aids = ", ".join(say_bytes(aid) for aid in given.limits.aids) or "all"
    return f"Terminal {given.name} may serve from now on cards: {cards}; security domains: {aids}."
