"""The step of a program: its next state with a batch, or its outcome."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kms.card.programs.base import Batch, Evidence, Outcome

if TYPE_CHECKING:  # the states import Step
    from kms.card.programs.state import ProgramState


@dataclass(frozen=True)
class Step:
    """What a program says after each advance: `state` and `batch` to go on, or `outcome` at its end.

    `proved`: key sets whose proof this step brought, to be recorded whatever comes after.
    """

    state: "ProgramState | None" = None
    batch: Batch | None = None
    outcome: Outcome | None = None
    proved: tuple[Evidence, ...] = ()
