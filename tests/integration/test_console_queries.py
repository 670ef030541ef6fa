"""The pages' searches and figures, on both databases: what fits, in which order, page by page."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from kms.db.store import SqlStore
from kms.domain.cards import CardState
from kms.domain.keys import Delivery
from kms.domain.updates import UpdateReason, UpdateState
from tests.fakes.records import (
    NOW,
    build_audit_event,
    build_card,
    build_domain,
    build_key_set,
    build_master,
    build_terminal,
    build_update,
    build_visit,
)
from tests.fakes.stores import DATABASES, open_store_on


@pytest.fixture(scope="module", params=DATABASES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    with open_store_on(request.param, tmp_path_factory.mktemp(request.param)) as opened:
        _fill(opened)
        yield opened


def _fill(store: SqlStore) -> None:
    """Five cards with a security domain each; the third is set aside, the second has a key set in doubt."""
    with store.transaction() as tx:
        tx.master_keys.add(build_master(1))
        tx.terminals.add(build_terminal(1))
        for number in range(1, 6):
            state = CardState.QUARANTINED if number == 3 else CardState.ENROLLED
            card = build_card(number, state=state, batch="spring" if number < 3 else "")
            domain = build_domain(number, card_id=card.id)
            key_set = build_key_set(number, security_domain_id=domain.id, expires_at=NOW + timedelta(days=30 * number))
            doubted = replace(key_set, delivery=Delivery.IN_DOUBT) if number == 2 else key_set
            tx.cards.add(card)
            tx.security_domains.add(domain)
            tx.key_sets.add(doubted)
            tx.visits.add(build_visit(number, card_id=card.id))
        update = build_update(1, deadline=NOW)
        done = build_update(2, state=UpdateState.DONE, finished_at=NOW, security_domain_id=build_domain(2).id)
        failed = replace(done, id=build_update(3).id, state=UpdateState.FAILED, reason=UpdateReason.EXPIRY)
        for item in (update, done, failed):
            tx.key_updates.add(item)
        for number in range(1, 8):
            at = NOW + timedelta(minutes=number)
            subject = "card 100%" if number == 7 else f"card {number}"
            tx.audit.append(replace(build_audit_event(number), at=at, subject=subject))


def _number(row: object) -> int:
    assert isinstance(row, dict)
    return int(row["identity"][-1])


def test_cards_are_found_by_how_their_identity_begins(store: SqlStore) -> None:
    with store.reading() as tx:
        assert [_number(row) for row in tx.console.search_cards()] == [5, 4, 3, 2, 1]
        assert [_number(row) for row in tx.console.search_cards(begins=build_card(4).identity[:5])] == [5, 4, 3, 2, 1]
        assert [_number(row) for row in tx.console.search_cards(begins=build_card(4).identity)] == [4]
        assert tx.console.search_cards(begins=b"\xff") == []


def test_cards_are_found_by_state_batch_and_doubt(store: SqlStore) -> None:
    with store.reading() as tx:
        assert [_number(row) for row in tx.console.search_cards(state=CardState.QUARANTINED)] == [3]
        assert [_number(row) for row in tx.console.search_cards(batch="spring")] == [2, 1]
        assert [_number(row) for row in tx.console.search_cards(in_doubt=True)] == [2]


def test_a_page_begins_where_the_last_one_ended(store: SqlStore) -> None:
    with store.reading() as tx:
        first = tx.console.search_cards(limit=2)
        assert [_number(row) for row in tx.console.search_cards(limit=2, before=first[-1]["id"])] == [3, 2]


def test_a_card_says_what_is_open(store: SqlStore) -> None:
    with store.reading() as tx:
        rows = {_number(row): row for row in tx.console.search_cards()}
        assert [rows[number]["open_updates"] for number in (1, 2)] == [1, 0]
        sets = tx.console.list_key_sets(build_card(1).id)
        assert [(row["master"], row["kvn"], row["aid"]) for row in sets] == [("vendor-1", 0x21, build_domain(1).aid)]
        assert [row["terminal"] for row in tx.console.list_visits(card_id=build_card(1).id)] == ["counter-1"]
        assert len(tx.console.list_visits(terminal_id=build_terminal(1).id)) == 5


def test_updates_are_found_by_state_reason_and_deadline(store: SqlStore) -> None:
    with store.reading() as tx:
        assert len(tx.console.search_updates()) == 3
        assert [row["id"] for row in tx.console.search_updates(states=(UpdateState.FAILED,))] == [build_update(3).id]
        assert len(tx.console.search_updates(reason=UpdateReason.EXPIRY)) == 1
        assert [row["id"] for row in tx.console.search_updates(overdue_at=NOW)] == [build_update(1).id]
        assert tx.console.search_updates(overdue_at=NOW - timedelta(days=1)) == []
        assert len(tx.console.search_updates(card_id=build_card(2).id)) == 2
        assert tx.console.search_updates(campaign="none") == []
        assert [row["id"] for row in tx.console.search_updates(before=build_update(2).id)] == [build_update(1).id]


def test_ends_are_counted_between_bounds(store: SqlStore) -> None:
    bounds = [NOW + timedelta(days=days) for days in (31, 100, 200)]
    with store.reading() as tx:
        # Card 2's set is in doubt, so it is not in force.
        assert list(tx.console.count_ends(bounds)) == [1, 1, 2]


def test_outcomes_are_counted_between_bounds(store: SqlStore) -> None:
    bounds = [NOW - timedelta(days=7), NOW, NOW + timedelta(days=7)]
    with store.reading() as tx:
        counts = {state: list(values) for state, values in tx.console.count_outcomes(bounds).items()}
    assert counts == {UpdateState.DONE: [0, 1], UpdateState.FAILED: [0, 1], UpdateState.CANCELLED: [0, 0]}


def test_dependants_are_counted_by_master(store: SqlStore) -> None:
    with store.reading() as tx:
        assert tx.console.count_dependants() == {build_master(1).id: {"live": 5, "planned": 0, "past": 0}}
        assert tx.console.count_transfers() == []


def test_audit_events_are_found_by_all_that_is_given(store: SqlStore) -> None:
    with store.reading() as tx:
        assert len(tx.console.search_audit(actor="OPERATOR")) == 7
        assert tx.console.search_audit(actor="nobody") == []
        assert len(tx.console.search_audit(action="card.")) == 7
        assert [row["subject"] for row in tx.console.search_audit(subject="card 100%")] == ["card 100%"]
        assert [row["subject"] for row in tx.console.search_audit(subject="card 1")] == ["card 100%", "card 1"]
        assert tx.console.search_audit(subject="%") == []
        since, until = NOW + timedelta(minutes=2), NOW + timedelta(minutes=4)
        assert [row["subject"] for row in tx.console.search_audit(since=since, until=until)] == ["card 3", "card 2"]


def test_older_audit_events_come_on_the_next_page(store: SqlStore) -> None:
    with store.reading() as tx:
        seen: list[str] = []
        before = None
        while page := tx.console.search_audit(limit=3, before=before):
            seen += [row["subject"] for row in page]
            before = (page[-1]["at"], page[-1]["chain"], page[-1]["sequence"])
    assert seen == ["card 100%", *(f"card {number}" for number in range(6, 0, -1))]
