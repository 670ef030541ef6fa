"""Keeping house in the store, over the fake and the real databases."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kms.domain.cards import CardState
from kms.domain.housekeeping import Overdue
from kms.domain.keys import Delivery, KeyState
from kms.domain.updates import UpdateState
from kms.domain.visits import Visit, VisitState
from kms.errors import Code, KmsError
from kms.service.ports import Store
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import (
    build_alarm,
    build_card,
    build_domain,
    build_key_set,
    build_master,
    build_terminal,
    build_update,
    build_visit,
    build_visit_event,
)
from tests.fakes.stores import DATABASES, open_store_on

NOW = datetime.now(UTC).replace(microsecond=0)  # the databases' triggers go by their own clock
TEXT = "nothing was heard"


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store_on(request.param, tmp_path) as real:
        yield real


def open_visit(number: int, deadline: datetime = NOW - timedelta(minutes=1), **changes: object) -> Visit:
    return build_visit(
        number,
        session_id=f"session-{number}",
        state=VisitState.OPEN,
        deadline=deadline,
        order="{}",
        program="{}",
        update_id=build_update().id,
        events=0,
        mismatches=0,
        ended_at=None,
        **changes,
    )


@pytest.fixture
def visited(store: Store) -> Store:
    """A card whose visit was not reported any more: its update runs, its new set is in flight."""
    with store.transaction() as tx:
        tx.cards.add(build_card())
        tx.security_domains.add(build_domain())
        tx.master_keys.add(build_master())
        tx.key_sets.add(build_key_set(delivery=Delivery.IN_FLIGHT))
        tx.key_updates.add(build_update(state=UpdateState.RUNNING, application_id=None, new_key_set_id=None))
        tx.terminals.add(build_terminal())
        tx.visits.add(open_visit(1))
    return store


class TestExpiry:
    def test_a_visit_past_its_deadline_ends_and_leaves_nothing_hanging(self, visited: Store) -> None:
        with visited.transaction() as tx:
            expired = tx.housekeeping.expire_visits(NOW, NOW, TEXT, 10)
        assert expired.visit_ids == (open_visit(1).id,)
        assert expired.update_ids == (build_update().id,)
        assert [item.key_set_id for item in expired.doubted] == [build_key_set().id]
        assert build_card().identity.hex().upper() in expired.doubted[0].where
        with visited.transaction() as tx:
            visit = tx.visits.get(open_visit(1).id)
            assert (visit.state, visit.order, visit.program) == (VisitState.EXPIRED, None, None)
            assert (visit.result, visit.ended_at) == (TEXT, NOW)
            assert [(event.number, event.text) for event in tx.visits.list_events(visit.id)] == [(1, TEXT)]
            assert visit.events == 1
            assert tx.key_sets.get(build_key_set().id).delivery is Delivery.IN_DOUBT
            assert tx.key_updates.get(build_update().id).state is UpdateState.PENDING
            assert tx.cards.get(build_card().id).version == build_card().version + 1

    def test_a_step_that_read_the_card_before_writes_nothing(self, visited: Store) -> None:
        with visited.transaction() as tx:
            card = tx.cards.get(build_card().id)
        with visited.transaction() as tx:
            tx.housekeeping.expire_visits(NOW, NOW, TEXT, 10)
        with pytest.raises(KmsError) as error, visited.transaction() as tx:
            tx.cards.claim(card)
        assert error.value.code is Code.VISIT_CONFLICT

    def test_a_visit_within_its_deadline_and_one_that_is_over_stay(self, visited: Store) -> None:
        with visited.transaction() as tx:
            tx.visits.save(replace(open_visit(1), deadline=NOW + timedelta(seconds=1)))
            tx.visits.add(replace(open_visit(2), state=VisitState.ENDED, result="done"))
            assert tx.housekeeping.expire_visits(NOW, NOW, TEXT, 10).visit_ids == ()
            assert tx.cards.get(build_card().id).version == build_card().version
            assert tx.visits.get(open_visit(2).id).result == "done"

    def test_what_another_open_visit_works_on_is_left_to_it(self, visited: Store) -> None:
        with visited.transaction() as tx:
            tx.visits.add(open_visit(2, deadline=NOW + timedelta(minutes=4)))
            expired = tx.housekeeping.expire_visits(NOW, NOW, TEXT, 10)
        assert (len(expired.visit_ids), expired.doubted, expired.update_ids) == (1, (), ())
        with visited.transaction() as tx:
            assert tx.key_sets.get(build_key_set().id).delivery is Delivery.IN_FLIGHT
            assert tx.key_updates.get(build_update().id).state is UpdateState.RUNNING

    def test_a_batch_is_bounded_the_oldest_first(self, visited: Store) -> None:
        with visited.transaction() as tx:
            for number in (2, 3):
                tx.visits.add(open_visit(number, deadline=NOW - timedelta(minutes=number)))
            assert tx.housekeeping.expire_visits(NOW, NOW, TEXT, 2).visit_ids == (open_visit(3).id, open_visit(2).id)
            assert tx.housekeeping.expire_visits(NOW, NOW, TEXT, 2).visit_ids == (open_visit(1).id,)


class TestRetention:
    OLD = NOW - timedelta(days=40)

    @pytest.fixture
    def old(self, visited: Store) -> Store:
        with visited.transaction() as tx:
            tx.visits.save(replace(open_visit(1, deadline=self.OLD), state=VisitState.ENDED))
            tx.visits.add_event(build_visit_event(visit_id=open_visit(1).id))
        return visited

    def test_old_visits_go_with_their_journals(self, old: Store) -> None:
        with old.transaction() as tx:
            assert tx.housekeeping.delete_visits(NOW - timedelta(days=30), 10) == 1
            assert tx.visits.find(open_visit(1).id) is None
            assert list(tx.visits.list_events(open_visit(1).id)) == []

    @pytest.mark.parametrize(
        "changes", [{"state": VisitState.OPEN}, {"mismatches": 1}, {"deadline": NOW - timedelta(days=29)}]
    )
    def test_open_visits_evidence_and_younger_ones_stay(self, old: Store, changes: dict[str, object]) -> None:
        with old.transaction() as tx:
            visit = tx.visits.get(open_visit(1).id)
            tx.visits.save(replace(visit, **changes))  # type: ignore[arg-type] # fields of a visit by name
            assert tx.housekeeping.delete_visits(NOW - timedelta(days=30), 10) == 0
            assert tx.visits.find(visit.id)


@pytest.mark.parametrize("kind", DATABASES)
def test_the_database_itself_refuses_to_lose_a_young_journal(kind: str, tmp_path: Path) -> None:
    with open_store_on(kind, tmp_path) as store:
        with store.transaction() as tx:
            tx.cards.add(build_card())
            tx.terminals.add(build_terminal())
            tx.security_domains.add(build_domain())
            tx.key_updates.add(build_update(application_id=None, new_key_set_id=None))
            tx.visits.add(replace(open_visit(1), state=VisitState.ENDED, deadline=NOW - timedelta(days=6)))
            tx.visits.add_event(build_visit_event(visit_id=open_visit(1).id))
        with pytest.raises(KmsError) as error, store.transaction() as tx:
            tx.housekeeping.delete_visits(NOW, 10)
        assert error.value.code is Code.CONFLICT


def test_what_is_late_is_counted_with_its_oldest(visited: Store) -> None:
    day = timedelta(days=1)
    with visited.transaction() as tx:
        assert tx.housekeeping.count_overdue(NOW) == Overdue()
        update = tx.key_updates.get(build_update().id)
        tx.key_updates.save(replace(update, deadline=NOW - day))
        in_force: dict[str, Any] = {"delivery": Delivery.PROVED, "state": KeyState.ACTIVE}
        tx.key_sets.add(build_key_set(2, generation=5, expires_at=NOW - 2 * day, **in_force))
        tx.key_sets.add(build_key_set(3, generation=6, expires_at=NOW + day, **in_force))
        tx.key_sets.add(build_key_set(4, generation=7, expires_at=NOW - day, delivery=Delivery.REPLACED))
        assert tx.housekeeping.count_overdue(NOW) == Overdue(1, NOW - day, 1, NOW - 2 * day)


def test_the_figures_count_everything_once(visited: Store) -> None:
    with visited.transaction() as tx:
        tx.cards.save(replace(tx.cards.get(build_card().id), state=CardState.QUARANTINED))
        tx.visits.add(replace(open_visit(2), state=VisitState.ENDED, result="done"))
        tx.visits.add(replace(open_visit(3), state=VisitState.ENDED, result="the card refused"))
        tx.alarms.raise_(build_alarm(1))
        tx.alarms.raise_(build_alarm(2, subject="other", cleared_at=NOW))
        figures = tx.housekeeping.read_figures(NOW)
    assert figures.updates == {(str(build_update().reason), "RUNNING"): 1}
    assert figures.visits == {("OPEN", ""): 1, ("ENDED", "done"): 1, ("ENDED", ""): 1}
    assert (figures.quarantined, figures.in_doubt, figures.in_flight) == (1, 0, 1)
    assert figures.alarms == {"warning": 1}
