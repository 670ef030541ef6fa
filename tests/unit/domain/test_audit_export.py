"""An exported log is checked with public data alone; 10,000 random changes of one are all found."""

import random
from collections.abc import Callable

import pytest

from kms.domain.audit_check import Anchor
from kms.domain.audit_export import (
    build_anchor_line,
    build_header_line,
    check_export,
    check_fingerprint,
    parse_anchor_line,
    parse_header_line,
)
from kms.domain.signatures import fingerprint
from kms.errors import Code, KmsError
from tests.fakes.audit_log import START, build_log

MUTATIONS = 10_000
ANCHOR = Anchor(7, bytes(range(32)), START)


def change_a_byte(lines: list[bytes], chance: random.Random) -> None:
    index = chance.randrange(len(lines))
    line = bytearray(lines[index])
    line[chance.randrange(len(line))] ^= 1 << chance.randrange(8)
    lines[index] = bytes(line)


def insert_a_copy(lines: list[bytes], chance: random.Random) -> None:
    lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(lines))


def delete_a_line(lines: list[bytes], chance: random.Random) -> None:
    del lines[chance.randrange(len(lines))]


def swap_two_lines(lines: list[bytes], chance: random.Random) -> None:
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]


def cut_the_end(lines: list[bytes], chance: random.Random) -> None:
    del lines[chance.randrange(len(lines)) :]


def cut_a_line_short(lines: list[bytes], chance: random.Random) -> None:
    index = chance.randrange(len(lines))
    lines[index] = lines[index][: chance.randrange(len(lines[index]))]


KINDS: list[Callable[[list[bytes], random.Random], None]] = [
    change_a_byte,
    insert_a_copy,
    delete_a_line,
    swap_two_lines,
    cut_the_end,
    cut_a_line_short,
]


def test_every_one_of_ten_thousand_random_changes_is_found() -> None:
    log = build_log(2)
    last = log.checkpoints[-1]
    anchors = [Anchor(last.number, last.digest, last.at)]
    name = fingerprint(log.first_key)
    chance = random.Random(20261123)  # noqa: S311 - a seeded choice of changes, no secret
    assert check_export(log.lines, name, anchors).records == 12
    for number in range(MUTATIONS):
        lines = list(log.lines)
        kind = KINDS[number % len(KINDS)]
        kind(lines, chance)
        assert lines != log.lines
        with pytest.raises(KmsError) as failure:
            check_export(lines, name, anchors)
        assert failure.value.code is Code.AUDIT_BROKEN, f"{kind.__name__}, change {number}"


def test_without_a_fingerprint_the_headers_key_is_believed() -> None:
    log, other = build_log(1), build_log(1)
    assert check_export(other.lines).records == 6
    with pytest.raises(KmsError, match="another audit key"):
        check_export(other.lines, fingerprint(log.first_key))


def test_a_fingerprint_may_be_typed_without_spaces_and_in_lower_case() -> None:
    key = build_log(1).first_key
    check_fingerprint(key, fingerprint(key).replace(" ", "").lower())
    with pytest.raises(KmsError):
        check_fingerprint(key, "ü")


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\xff", b'{"type":"kms-audit-log"}'])
def test_a_file_that_is_no_log_is_told(line: bytes) -> None:
    with pytest.raises(KmsError, match="no exported audit log") as failure:
        parse_header_line(line)
    assert failure.value.code is Code.AUDIT_BROKEN


def test_header_and_anchor_are_read_back_as_written() -> None:
    assert parse_header_line(build_header_line("bank", b"\x01\x02")) == ("bank", b"\x01\x02")
    assert parse_anchor_line(build_anchor_line("bank", ANCHOR), "bank") == ANCHOR


@pytest.mark.parametrize("line", [b"", b"{}", b"nonsense", build_anchor_line("elsewhere", ANCHOR)])
def test_what_is_no_anchor_of_this_platform_is_refused(line: bytes) -> None:
    with pytest.raises(KmsError) as failure:
        parse_anchor_line(line, "bank")
    assert failure.value.code is Code.AUDIT_BROKEN
