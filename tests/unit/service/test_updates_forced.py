"""How many updates people force by themselves within a day, and when that takes another's approval."""

from collections.abc import Callable

import pytest

from kms.domain.permissions import Action
from kms.domain.updates import UpdateState
from kms.service.action_definitions.updates import ForceUpdate, define_updates
from kms.service.updates import UpdateService
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import (
    NOW,
    CountingIdentifiers,
    TickingClock,
    build_card,
    build_domain,
    build_id,
    build_update,
)

IDENTITY = build_card().identity


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    with store.transaction() as transaction:
        transaction.cards.add(build_card())
        transaction.security_domains.add_all([build_domain(1), build_domain(2)])
    return store


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def count(store: MemoryStore, clock: TickingClock) -> Callable[[ForceUpdate], int]:
    """Approvals that forcing takes where two updates a day are free."""
    service = UpdateService(store=store, clock=clock, identifiers=CountingIdentifiers())
    definitions = {item.action: item for item in define_updates(service, 2)}
    return definitions[Action.UPDATES_FORCE].approvals


def force(store: MemoryStore, number: int, by: str, campaign: str | None = None) -> None:
    with store.transaction() as transaction:
        update = build_update(number, state=UpdateState.DONE, requested_by=by, requested_at=NOW, campaign_id=campaign)
        transaction.key_updates.add(update)


ONE = ForceUpdate(card=IDENTITY, aid=build_domain(1).aid)
ALL = ForceUpdate(card=IDENTITY)


def test_up_to_the_number_nobody_is_asked(store: MemoryStore, count: Callable[[ForceUpdate], int]) -> None:
    assert (count(ONE), count(ALL)) == (0, 0)
    force(store, 1, "person alice")
    assert count(ONE) == 0
    assert count(ALL) == 1  # one before, and two on this card


def test_one_by_one_is_no_way_around(
    store: MemoryStore, clock: TickingClock, count: Callable[[ForceUpdate], int]
) -> None:
    force(store, 1, "person alice")
    force(store, 2, "person bob")
    assert count(ONE) == 1
    clock.move(hours=24, seconds=1)
    assert count(ONE) == 0


def test_what_others_approved_or_nobody_asked_for_does_not_count(
    store: MemoryStore, count: Callable[[ForceUpdate], int]
) -> None:
    force(store, 1, "person alice (request 0199)")
    force(store, 2, "policy ssd")
    force(store, 3, "person alice", campaign=build_id(1))
    assert count(ONE) == 0


def test_a_card_that_is_not_there_is_left_to_the_service(count: Callable[[ForceUpdate], int]) -> None:
    assert count(ForceUpdate(card=b"\x01")) == 0
