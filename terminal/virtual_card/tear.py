"""Power lost at a chosen moment, once: before the card acted on a command, or after it did and before its answer left.

`before`: the card never acted; its memory is as it was. `after`: the card acted and its memory holds the result; the
host hears nothing in either case.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TEARABLE_COMMANDS: Final = {
    "INITIALIZE-UPDATE": 0x50,
    "EXTERNAL-AUTHENTICATE": 0x82,
    "PUT-KEY": 0xD8,
    "STORE-DATA": 0xE2,
    "DELETE": 0xE4,
    "INSTALL": 0xE6,
    "SET-STATUS": 0xF0,
}


class Moment(StrEnum):
    """Which side of the card's commit the power is lost on."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class Tear:
    """When to lose power: at the `at`-th APDU since the card was put in (the first is 1), or the first with `ins`."""

    moment: Moment = Moment.AFTER
    at: int | None = None
    ins: int | None = None

    def is_due(self, count: int, command: bytes) -> bool:
        """Whether the `count`-th APDU is the one."""
        return count == self.at or (self.ins is not None and command[1:2] == bytes([self.ins]))


def parse_tear_at(text: str) -> Tear:
    """Read `N` or `N:before|after`; raise ValueError."""
    number, moment = _split_moment(text)
    if not number.isdecimal() or int(number) < 1:
        raise ValueError("give the number of an APDU, counted from 1, as N, N:before or N:after")
    return Tear(moment, at=int(number))


def parse_tear_during(text: str) -> Tear:
    """Read `COMMAND` or `COMMAND:before|after`; raise ValueError."""
    name, moment = _split_moment(text)
    if name.upper() not in TEARABLE_COMMANDS:
        raise ValueError(f"the command is one of {', '.join(TEARABLE_COMMANDS)}")
    return Tear(moment, ins=TEARABLE_COMMANDS[name.upper()])


def _split_moment(text: str) -> tuple[str, Moment]:
    head, separator, moment = text.partition(":")
    if not separator:
        return head, Moment.AFTER
    if moment not in set(Moment):
        raise ValueError("after the colon stands before or after")
    return head, Moment(moment)
