"""A record's digest binds its event, its place and what came before; lines have one form."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.audit import AuditEvent
from kms.domain.audit_chain import (
    AuditRecord,
    Checkpoint,
    begin_chain,
    build_checkpoint_line,
    build_record,
    build_record_line,
    compute_digest,
    parse_checkpoint_line,
    parse_log_line,
)
from kms.errors import Code, KmsError
from tests.fakes.audit_log import START, build_log

EVENT = AuditEvent(
    "id-1", START, "officer alice", "key.generate", "key 1", "done", "aes:0102", "a detail", "t-1", "r-1"
)


def test_the_digest_is_the_one_that_the_documentation_describes() -> None:
    """Recomputed here with nothing of the program: an auditor must be able to."""
    start = hashlib.sha256(b"kms-audit-chain 1 node/a").hexdigest()
    fields = {
        "action": "key.generate",
        "actor": "officer alice",
        "at": "2026-11-23T12:00:00.123456Z",
        "chain": "node/a",
        "detail": "a detail",
        "id": "id-1",
        "kcv": "aes:0102",
        "previous": start,
        "reason": "t-1",
        "request_id": "r-1",
        "result": "done",
        "sequence": 1,
        "subject": "key 1",
        "version": 1,
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    assert compute_digest(begin_chain("node/a"), EVENT).hex() == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("name", [name for name in AuditEvent.__dataclass_fields__ if name != "at"])
def test_every_field_of_an_event_is_bound(name: str) -> None:
    changed = replace(EVENT, **{name: getattr(EVENT, name) + "x"})
    assert compute_digest(begin_chain("a"), changed) != compute_digest(begin_chain("a"), EVENT)


def test_time_chain_place_and_predecessor_are_bound() -> None:
    head = begin_chain("a")
    others = [
        compute_digest(head, replace(EVENT, at=EVENT.at + timedelta(microseconds=1))),
        compute_digest(begin_chain("b"), EVENT),
        compute_digest(replace(head, sequence=1), EVENT),
        compute_digest(replace(head, digest=bytes(32)), EVENT),
    ]
    assert compute_digest(head, EVENT) not in others
    assert len(set(others)) == len(others)


@given(text=st.text(max_size=50))
def test_a_record_is_read_back_as_it_was_written(text: str) -> None:
    record = build_record(begin_chain("node/a"), replace(EVENT, detail=text))
    assert parse_log_line(build_record_line(record)) == record


def test_a_checkpoint_is_read_back_as_it_was_written() -> None:
    for checkpoint in build_log().checkpoints:
        assert parse_checkpoint_line(build_checkpoint_line(checkpoint)) == checkpoint
        assert isinstance(checkpoint, Checkpoint)


@given(line=st.binary(max_size=200))
def test_whatever_else_a_line_holds_is_refused_by_name(line: bytes) -> None:
    with pytest.raises(KmsError) as failure:
        parse_log_line(line)
    assert failure.value.code is Code.AUDIT_BROKEN


@pytest.mark.parametrize("change", [b" ", b"\t"])
def test_another_way_to_write_the_same_is_refused(change: bytes) -> None:
    line = build_record_line(build_record(begin_chain("a"), EVENT))
    assert isinstance(parse_log_line(line), AuditRecord)
    with pytest.raises(KmsError, match="not written as this program"):
        parse_log_line(line[:1] + change + line[1:])


def test_a_record_does_not_pass_for_a_checkpoint() -> None:
    with pytest.raises(KmsError) as failure:
        parse_checkpoint_line(build_record_line(build_record(begin_chain("a"), EVENT)))
    assert failure.value.code is Code.AUDIT_BROKEN
