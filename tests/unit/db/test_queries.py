from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kms.db.queries import UpdateSelection
from kms.db.store import SqlStore
from kms.domain.updates import OPEN_STATES, UpdateReason, UpdateState
from tests.fakes.records import (
    NOW,
    build_card,
    build_domain,
    build_isd,
    build_key_set,
    build_master,
    build_terminal,
    build_update,
    build_visit,
)
from tests.fakes.stores import DATABASES, open_store_on

ONE, TWO = build_card(1).identity, build_card(2).identity


@pytest.fixture(params=DATABASES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    """Two cards: the first with an ISD, an SSD, three updates and a visit; the second bare but for its ISD."""
    with open_store_on(request.param, tmp_path) as store:
        fill(store)
        yield store


def fill(store: SqlStore) -> None:
    with store.transaction() as transaction:
        transaction.cards.add_all([build_card(1), build_card(2)])
        transaction.security_domains.add_all([build_domain(1), build_isd(2), build_isd(3, card_id=build_card(2).id)])
        transaction.master_keys.add(build_master(1, name="acme"))
        transaction.key_sets.add_all([build_key_set(1), build_key_set(2)])
        transaction.key_updates.add_all(
            [
                build_update(1, deadline=NOW),
                build_update(2, state=UpdateState.DONE),
                build_update(3, security_domain_id=build_isd(3).id),
            ]
        )
        transaction.terminals.add(build_terminal())
        transaction.visits.add(build_visit(1, order="secret", program="secret"))


def test_cards_come_newest_first_with_their_numbers(store: SqlStore) -> None:
    with store.reading() as reading:
        rows = reading.queries.list_cards(limit=10, offset=0)
        second = reading.queries.list_cards(limit=1, offset=1)
    assert [(row["identity"], row["security_domains"], row["open_updates"]) for row in rows] == [
        (TWO, 1, 1),
        (ONE, 2, 1),
    ]
    assert [row["identity"] for row in second] == [ONE]


def test_security_domains_can_be_narrowed_to_a_card(store: SqlStore) -> None:
    with store.reading() as reading:
        assert len(reading.queries.list_security_domains(limit=10, offset=0)) == 3
        rows = reading.queries.list_security_domains(limit=10, offset=0, card=ONE)
    assert [row["id"] for row in rows] == [build_isd(2).id, build_domain(1).id]


def test_key_sets_name_their_master_newest_first(store: SqlStore) -> None:
    with store.reading() as reading:
        rows = reading.queries.list_key_sets(security_domain_id=build_domain(1).id)
    assert [(row["id"], row["master"]) for row in rows] == [
        (build_key_set(2).id, "acme"),
        (build_key_set(1).id, "acme"),
    ]


def test_updates_can_be_narrowed_to_a_card_and_to_open_ones(store: SqlStore) -> None:
    with store.reading() as reading:
        assert len(reading.queries.list_key_updates(limit=10, offset=0)) == 3
        rows = reading.queries.list_key_updates(limit=10, offset=0, card=ONE, only=UpdateSelection(states=OPEN_STATES))
    assert [(row["id"], row["card"], row["aid"]) for row in rows] == [(build_update(1).id, ONE, build_domain(1).aid)]


def test_updates_can_be_narrowed_by_state_reason_deadline_and_campaign(store: SqlStore) -> None:
    def count(**only: Any) -> int:  # noqa: ANN401 - those of UpdateSelection
        with store.reading() as reading:
            return len(reading.queries.list_key_updates(limit=10, offset=0, only=UpdateSelection(**only)))

    assert count(states={UpdateState.DONE}) == 1
    assert count(reasons={UpdateReason.FORCED}) == 3
    assert count(reasons={UpdateReason.EXPIRY}) == 0
    assert count(overdue_at=NOW) == 1
    assert count(overdue_at=NOW - timedelta(seconds=1)) == 0
    assert count(campaign="none") == 0


def test_visits_come_without_orders_and_programs(store: SqlStore) -> None:
    with store.reading() as reading:
        (row,) = reading.queries.list_visits(limit=10, offset=0, card=ONE)
        assert not reading.queries.list_visits(limit=10, offset=0, card=TWO)
    assert (row["card"], row["terminal"]) == (ONE, "counter-1")
    assert "secret" not in row.values()
