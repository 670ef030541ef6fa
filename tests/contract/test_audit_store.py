"""The audit log in every store: chains of their writers, checkpoints."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kms.domain.audit_check import LogCheck
from kms.errors import Code, KmsError
from kms.service.ports import Store
from tests.fakes.audit_log import build_log
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, build_audit_event
from tests.fakes.stores import DATABASES, open_store_on


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store_on(request.param, tmp_path) as real:
        yield real


def check_refused(error: pytest.ExceptionInfo[KmsError], code: Code) -> None:
    assert error.value.code is code
    assert error.value.detail


class TestAudit:
    def test_the_newest_comes_first_even_at_the_same_time(self, store: Store) -> None:
        for number in (2, 1, 3):
            with store.transaction() as transaction:
                transaction.audit.append(build_audit_event(number))
        with store.transaction() as transaction:
            assert [item.subject for item in transaction.audit.list()] == ["card 3", "card 1", "card 2"]
            assert transaction.audit.list(limit=1, offset=1) == [build_audit_event(1)]

    def test_a_record_is_written_once(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.audit.append(build_audit_event())
        with pytest.raises(KmsError) as error, store.transaction() as transaction:
            transaction.audit.append(build_audit_event())
        check_refused(error, Code.CONFLICT)

    def test_events_of_one_writer_make_one_chain_across_transactions(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.audit.append_all([build_audit_event(1), build_audit_event(2)])
        with pytest.raises(KmsError), store.transaction() as transaction:
            transaction.audit.append_all([build_audit_event(3), build_audit_event(1)])
        with store.transaction() as transaction:
            transaction.audit.append(build_audit_event(4))
        with store.reading() as reading:
            (head,) = reading.audit.list_heads()
            records = reading.audit.list_records(head.chain, after=0, up_to=head.sequence)
            assert reading.audit.list_records(head.chain, after=1, up_to=3, limit=1) == [records[1]]
        assert [record.event for record in records] == [build_audit_event(number) for number in (1, 2, 4)]
        check = LogCheck("bank", b"")
        for record in records:
            check.take_record(record)
        assert (check.finish().uncovered, records[-1].head) == (3, head)

    def test_chains_that_grew_since_a_moment(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.audit.append(build_audit_event(1))
        with store.reading() as reading:
            assert len(reading.audit.list_heads(NOW)) == 1
            assert not reading.audit.list_heads(NOW + timedelta(seconds=1))

    def test_checkpoints_come_back_as_they_were_written_and_each_number_once(self, store: Store) -> None:
        first, second, third = build_log().checkpoints
        with store.transaction() as transaction:
            assert transaction.audit.find_last_checkpoint() is None
            for checkpoint in (first, second):
                transaction.audit.add_checkpoint(checkpoint)
        with pytest.raises(KmsError) as error, store.transaction() as transaction:
            transaction.audit.add_checkpoint(replace(third, number=2))
        check_refused(error, Code.CONFLICT)
        with store.transaction() as transaction:
            transaction.audit.add_checkpoint(third)
            assert transaction.audit.find_last_checkpoint() == third
            assert transaction.audit.list_checkpoints(after=1) == [second, third]
            assert transaction.audit.list_checkpoints(limit=1) == [first]
