"""Requests in the store, over the fake and the real databases; and two who approve at the same moment on each."""

import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from kms.domain.people import CredentialKind, Principal
from kms.domain.permissions import Action
from kms.domain.requests import Quorum, RequestState
from kms.domain.updates import UpdateState
from kms.errors import KmsError
from kms.service.actions import ActionDefinition, ActionRegistry, ActionService, Parameters, Performer
from kms.service.ports import Store
from kms.service.requests import RequestService, Signature
from tests.fakes.memory_store import MemoryStore
from tests.fakes.principals import ALICE, BOB, CAROL
from tests.fakes.records import NOW, TickingClock, build_card, build_domain, build_update
from tests.fakes.stores import DATABASES, open_store_on


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store_on(request.param, tmp_path) as real:
        yield real


class Naming(Parameters):
    name: str


class Anything:
    def check_approval(self, principal: Principal, digest: bytes, proof: Mapping[str, object]) -> Signature:  # noqa: ARG002 - as the port
        return Signature("credential", CredentialKind.TOTP, "totp")


class Random:
    """Identifiers that two threads may make at once."""

    def new(self) -> str:
        from kms.bootstrap import TimeOrderedIdentifiers  # noqa: PLC0415 - the real ones

        return TimeOrderedIdentifiers().new()


@pytest.mark.parametrize("quorum", [1, 2])
def test_two_who_approve_at_once_execute_it_once_and_neither_is_lost(store: Store, quorum: int) -> None:
    done: list[str] = []

    def execute(given: Naming, by: Performer) -> Mapping[str, object]:
        done.append(by.actor)
        return {"name": given.name}

    registry = ActionRegistry(ActionDefinition(Action.KEYS_GENERATE, Naming, lambda given: given.name, execute))
    clock, identifiers = TickingClock(), Random()
    if quorum > 1:
        with store.transaction() as transaction:
            transaction.requests.set_quorum(Quorum(Action.KEYS_GENERATE, quorum, NOW))
    actions = ActionService(
        store=store,
        clock=clock,
        identifiers=identifiers,
        registry=registry,
        valid_for=timedelta(hours=1),
        lab=False,
    )
    requests = RequestService(
        store=store, clock=clock, identifiers=identifiers, registry=registry, authenticator=Anything()
    )
    request = actions.submit(ALICE, Action.KEYS_GENERATE, {"name": "ssd"}).request
    assert request is not None
    barrier = threading.Barrier(2)
    refused: list[str] = []

    def approve(who: Principal) -> None:
        barrier.wait()
        try:
            requests.approve(who, request.id, request.digest, {})
        except KmsError as error:
            refused.append(str(error.code))

    threads = [threading.Thread(target=approve, args=(who,)) for who in (BOB, CAROL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record = requests.get(request.id)
    assert record.request.state is RequestState.EXECUTED
    assert len(done) == 1
    assert len(record.decisions) == quorum
    assert refused == (["request.state"] if quorum == 1 else [])


def test_updates_that_people_forced_by_themselves_are_counted(store: Store) -> None:
    before = NOW - timedelta(hours=1)
    asked = [
        ("person alice", NOW),
        ("person bob", NOW),
        ("person bob", before),
        ("person alice (request 0199)", NOW),
        ("cli:root (development login)", NOW),
    ]
    with store.transaction() as transaction:
        transaction.cards.add(build_card())
        transaction.security_domains.add(build_domain())
        for number, (who, at) in enumerate(asked, 1):
            update = build_update(number, state=UpdateState.DONE, requested_by=who, requested_at=at)
            transaction.key_updates.add(update)
    with store.reading() as reading:
        assert reading.key_updates.count_forced(NOW) == 2
        assert reading.key_updates.count_forced(before) == 3
