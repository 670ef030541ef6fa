"""A channel that the last program left half open, and which program may go on with it."""

from dataclasses import dataclass

from kms.card.channel import Handshake
from kms.card.programs.create_ssd import CreateSsd
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import ProgramState


@dataclass(frozen=True)
class HalfOpen:
    """A channel that INITIALIZE UPDATE began: with the security domain `aid`, under the key set `label`."""

    aid: bytes
    label: str
    handshake: Handshake


def continues(program: ProgramState, half_open: HalfOpen) -> bool:
    """Whether a program begins with the channel that the last one left half open."""
    if isinstance(program, CreateSsd):
        label = program.parent.label
    elif isinstance(program, ReplaceKeys | DeleteKeys):
        label = program.current.label
    else:
        return False  # it asks anew
    return (program.parameters.aid, label) == (half_open.aid, half_open.label)
