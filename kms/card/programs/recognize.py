"""Recognize: which secure channel protocols a card speaks, and of what types its ISD's key sets are, by its own word.

One batch: SELECT ISD, GET DATA 66 and GET DATA E0. Nothing of it is authenticated: it says what to try, and is proved
only by a channel that opens (`kms.card.protocols`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kms.card.apdu import ResponseApdu
from kms.card.commands import DataTag, build_get_data, build_select
from kms.card.keys import KeyType
from kms.card.programs.base import AnswerError, Batch, Recognized, card_answers, check_answer, parse_answers, to_bytes
from kms.card.programs.step import Step
from kms.card.protocols import list_protocols, list_set_types
from kms.card.status import INS_SELECT, StatusWord

NAMES = ("SELECT", "GET DATA 66", "GET DATA E0")


@dataclass(frozen=True)
class Recognize:
    """State of the program. `aid`: of the issuer security domain, 5 to 16 bytes."""

    aid: bytes
    kind: Literal["recognize"] = "recognize"

    @property
    def may_have_changed_card(self) -> bool:
        """Never: it only asks."""
        return False


def start(state: Recognize) -> Step:
    """Build the program's one batch."""
    commands = (
        build_select(state.aid),
        build_get_data(DataTag.CARD_RECOGNITION),
        build_get_data(DataTag.KEY_INFORMATION),
    )
    return Step(state=state, batch=Batch(to_bytes(commands)))


def advance(responses: Sequence[bytes]) -> Step:
    """Read what the card says. What it refuses to say is not in the outcome; what cannot be read ends the program."""
    select, recognition, information = parse_answers(responses, NAMES)
    check_answer(select, NAMES[0], INS_SELECT)
    data = _find_data(recognition, NAMES[1])
    protocols = None
    if data is not None:
        with card_answers(NAMES[1]):
            offered = list_protocols(data)
        protocols = tuple((scp, i) for scp, options in offered.items() for i in options)
    set_types: tuple[tuple[int, KeyType], ...] = ()
    data = _find_data(information, NAMES[2])
    if data is not None:
        with card_answers(NAMES[2]):
            set_types = tuple(list_set_types(data).items())
    return Step(outcome=Recognized(protocols, set_types))


def _find_data(answer: ResponseApdu | None, name: str) -> bytes | None:
    if answer is None:
        raise AnswerError(name, f"{name}: no answer from the card")
    return answer.data if answer.sw == StatusWord.OK else None
