"""A whole log passes; whatever was changed, cut or put in is told with its place."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kms.domain.audit_chain import AuditRecord, Checkpoint, begin_chain, build_record, parse_log_line
from kms.domain.audit_check import MAX_LAG, Anchor, LogCheck, LogReport
from kms.errors import KmsError
from tests.fakes.audit_log import START, LogWriter, build_log

Items = list[AuditRecord | Checkpoint]


def read_items(log: LogWriter) -> Items:
    return [parse_log_line(line) for line in log.lines[1:]]


def check(log: LogWriter, items: Items, *anchors: Anchor, covered: bool = False) -> LogReport:
    running = LogCheck(log.platform, log.first_key, anchors)
    for item in items:
        if isinstance(item, Checkpoint):
            running.take_checkpoint(item)
        else:
            running.take_record(item)
    return running.finish(covered=covered)


def build_anchor(checkpoint: Checkpoint) -> Anchor:
    return Anchor(checkpoint.number, checkpoint.digest, checkpoint.at)


def test_a_whole_log_passes_across_a_change_of_key() -> None:
    log = build_log()
    anchors = [build_anchor(item) for item in log.checkpoints]
    report = check(log, read_items(log), *anchors, covered=True)
    assert (report.records, report.checkpoints, report.uncovered) == (18, 3, 0)
    assert report.key == log.public_key != log.first_key
    assert report.last_digest == log.checkpoints[-1].digest


def test_records_after_the_last_checkpoint_are_counted_and_refused_where_none_may_be() -> None:
    log = build_log()
    log.write("node-1/a")
    items = [*read_items(log), *(parse_log_line(line) for line in log.pending["node-1/a"])]
    assert check(log, items).uncovered == 1
    with pytest.raises(KmsError, match="1 records stand after the last checkpoint"):
        check(log, items, covered=True)


@pytest.mark.parametrize("index", range(18))
def test_a_record_that_is_missing_is_told(index: int) -> None:
    log = build_log()
    items = read_items(log)
    records = [place for place, item in enumerate(items) if isinstance(item, AuditRecord)]
    del items[records[index]]
    with pytest.raises(KmsError, match="changed"):
        check(log, items)


@pytest.mark.parametrize("index", range(3))
def test_a_checkpoint_that_is_missing_is_told(index: int) -> None:
    log = build_log()
    items = read_items(log)
    items.remove(log.checkpoints[index])
    with pytest.raises(KmsError, match="changed"):
        check(log, items, build_anchor(log.checkpoints[-1]), covered=True)


def test_the_end_cut_off_is_told_by_an_anchor_alone() -> None:
    log = build_log()
    items = read_items(log)
    cut = items[: items.index(log.checkpoints[1]) + 1]
    assert check(log, cut, covered=True).checkpoints == 2
    with pytest.raises(KmsError, match="checkpoint 3 is anchored outside and missing here: the end was cut off"):
        check(log, cut, build_anchor(log.checkpoints[2]))


def test_a_log_written_anew_by_whoever_has_the_key_differs_from_the_anchor() -> None:
    log, other = build_log(), build_log()
    with pytest.raises(KmsError, match="checkpoint 2 is not the one that is anchored outside"):
        check(log, read_items(log), build_anchor(other.checkpoints[1]))


def test_a_checkpoint_signed_by_another_key_is_refused() -> None:
    log, other = build_log(1), build_log(1)
    with pytest.raises(KmsError, match="names another key than the one that is due"):
        check(other, [*read_items(log)])
    forged = replace(log.checkpoints[0], signature=other.checkpoints[0].signature)
    with pytest.raises(KmsError, match="not signed by the platform's audit key"):
        check(log, [*read_items(log)[:-1], forged])


def test_another_platforms_log_is_refused() -> None:
    log = build_log(1)
    running = LogCheck("elsewhere", log.first_key)
    with pytest.raises(KmsError, match="another platform"):
        running.take_checkpoint(log.checkpoints[0])


def test_a_chain_put_in_behind_the_last_checkpoint_with_an_old_time_is_told() -> None:
    log = build_log()
    items = read_items(log)
    last = items[0]
    assert isinstance(last, AuditRecord)
    early = replace(last.event, id="forged", at=START - MAX_LAG - timedelta(minutes=1))
    with pytest.raises(KmsError, match="older than the last checkpoint"):
        check(log, [*items, build_record(begin_chain("forged/a"), early)])
