"""Probe: which of all derivable key sets a security domain holds, found without spending an authentication attempt.

Rules: the same one batch as Reconcile, over more candidates: every set on record and every one that the platform could
have put in (other generations, other masters). It proves and changes nothing by itself; who asked decides what follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kms.card.channel import ChannelParameters
from kms.card.keys import KeyPort
from kms.card.programs import reconcile
from kms.card.programs.base import Probed, Reconciled
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.step import Step


@dataclass(frozen=True)
class Probe:
    """State of the program. `question`: what is asked, and of which candidates."""

    question: Reconcile
    kind: Literal["probe"] = "probe"

    @property
    def parameters(self) -> ChannelParameters:
        """Of the channel to the security domain that is looked at."""
        return self.question.parameters

    @property
    def may_have_changed_card(self) -> bool:
        """Never: it only asks."""
        return False


def start(state: Probe, host_challenge: bytes) -> Step:
    """Build the program's one batch. `host_challenge`: as for Reconcile."""
    step = reconcile.start(state.question, host_challenge)
    if not isinstance(step.state, Reconcile):
        return step
    return Step(state=replace(state, question=step.state), batch=step.batch)


def advance(state: Probe, responses: Sequence[bytes], keys: KeyPort) -> Step:
    """Read the answers and say what the security domain holds; nothing is in `proved`, since labels may be new."""
    outcome = reconcile.advance(state.question, responses, keys).outcome
    if not isinstance(outcome, Reconciled):
        return Step(outcome=outcome)
    found = Probed(
        present=outcome.present,
        in_force=outcome.in_force,
        key_versions=outcome.key_versions,
        strange=outcome.strange,
        lost=outcome.lost,
    )
    return Step(outcome=found)
