"""Reads what OpenSC's pkcs11-spy wrote: one `Call` for each PKCS#11 call, with every value that it printed.

Rules: the spy prints a buffer as rows of 16 bytes; here it is bytes again, so that a value is found wherever the rows
break. A row that belongs to no argument raises: what this reader does not understand it must not overlook. The spy
prints a mechanism's parameter as it lies in memory and does not follow pointers in it: the data that a key is derived
from (never a key, here) is not seen.
"""

import re
from dataclasses import dataclass, field

_START = re.compile(r"(\d+): (C_\w+)$")
_RETURNED = re.compile(r"Returned:  \d+ (\w+)")
_ARGUMENT = re.compile(r"\[(in|out)\] \*?(p?\w+(?:->\w+)?)(?:\[[^\]]*\])?:?(?: =)? *(.*?) *$")
_ATTRIBUTE = re.compile(r"    (CKA_\w+|CKA_\? \(0x[0-9a-fA-F]+\)) +(.*?) *$")
_MATCH = re.compile(r"Object (0x[0-9a-f]+) matches$")
_ROW = re.compile(r"    [0-9A-F]{8}  ")
_ROW_BYTES = slice(14, 62)  # the columns of a row's 16 bytes


class SpyLogError(Exception):
    """The log is not as this reader knows it."""


@dataclass
class Buffer:
    """Bytes that crossed. `name`: the argument or attribute; `lines`: the numbers of the log's lines that show them."""

    direction: str
    name: str
    value: bytes = field(default=b"", repr=False)
    lines: list[int] = field(default_factory=list, repr=False)


@dataclass
class Call:
    """One call. `arguments` and `attributes` (of templates): as printed, by direction and name."""

    number: int
    name: str
    result: str = ""
    arguments: dict[tuple[str, str], str] = field(default_factory=dict)
    attributes: dict[tuple[str, str], str] = field(default_factory=dict)
    matches: list[str] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)

    def find_buffer(self, direction: str, name: str) -> Buffer | None:
        return next((item for item in self.buffers if (item.direction, item.name) == (direction, name)), None)

    def get_argument(self, *names: str) -> str:
        """The first of these arguments that the call has, whichever way it went; empty when it has none."""
        found = (self.arguments.get((way, name)) for name in names for way in ("in", "out"))
        return next((value for value in found if value is not None), "")


def parse_spy_log(text: str) -> list[Call]:
    """The calls in order. Raises SpyLogError at a row of bytes that belongs to nothing."""
    calls: list[Call] = []
    direction = name = ""
    for number, line in enumerate(text.splitlines()):
        if started := _START.match(line):
            calls.append(Call(int(started[1]), started[2]))
            direction = name = ""
        elif _ROW.match(line):
            if not name:
                raise SpyLogError(f"line {number + 1}: bytes of no argument")
            buffers = calls[-1].buffers
            if not (buffers and buffers[-1].lines[-1] == number - 1):
                buffers.append(Buffer(direction, name))
            buffers[-1].value += bytes.fromhex(line[_ROW_BYTES])
            buffers[-1].lines.append(number)
        elif calls:
            direction, name = _read_line(calls[-1], line, direction, name)
    return calls


def _read_line(call: Call, line: str, direction: str, name: str) -> tuple[str, str]:
    """Take up a line that is not bytes; what the rows after it would belong to."""
    if argument := _ARGUMENT.match(line):
        direction, name = argument[1], argument[2]
        call.arguments[direction, name] = argument[3]
    elif attribute := _ATTRIBUTE.match(line):
        name = attribute[1]
        call.attributes[direction, name] = attribute[2]
    elif match := _MATCH.match(line):
        call.matches.append(match[1])
    elif returned := _RETURNED.match(line):
        call.result = returned[1]
        name = ""
    return direction, name
