"""The flows of an issuer's cards, on every database: what a visit leaves there is what the next one goes on from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kms.domain.cards import ApplicationState
from kms.domain.keys import Delivery
from kms.domain.updates import UpdateState
from kms.errors import Code, KmsError
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import build_factory_state
from tests.fakes.agent import VOID, Agent
from tests.fakes.issuer import APPLICATION_AID, IDENTITY, ISD_AID, SSD_AID, Issuer, build_issuer
from tests.fakes.stores import DATABASES, open_store_on


@pytest.fixture(params=DATABASES)
def issuer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Issuer]:
    with open_store_on(request.param, tmp_path) as store:
        yield build_issuer(store=store)


@pytest.fixture
def card() -> VirtualCard:
    return VirtualCard(build_factory_state(kvn=0x01, scp02_i=0x55))


def build_agent(issuer: Issuer, card: VirtualCard) -> Agent:
    return Agent(issuer.visits, issuer.terminal, card, IDENTITY)


def apply(issuer: Issuer) -> str:
    return issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID).session_id


def read_kvns(card: VirtualCard, aid: bytes) -> list[int]:
    return [s.kvn for domain in card.state.domains if domain.aid == aid for s in domain.key_sets]


def test_from_the_vendors_keys_to_replaced_operative_ones(issuer: Issuer, card: VirtualCard) -> None:
    issuer.updates.force(IDENTITY, ISD_AID, actor="test")
    assert build_agent(issuer, card).run("take-over").notification == "done"
    assert read_kvns(card, ISD_AID) == [0x21]

    assert build_agent(issuer, card).run(apply(issuer)).notification == "done"
    assert read_kvns(card, SSD_AID) == [0x21]
    assert issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID).state is ApplicationState.READY

    issuer.updates.force(IDENTITY, SSD_AID, actor="test")
    agent = build_agent(issuer, card)
    assert agent.run("rotation").notification == "done"
    assert (agent.requests, agent.apdus) == (4, 5)
    assert read_kvns(card, SSD_AID) == [0x22]
    assert issuer.sets_in_force(SSD_AID) == [0x22]
    assert issuer.last_update(SSD_AID).state is UpdateState.DONE
    with issuer.store.transaction() as transaction:
        visit = transaction.visits.find_by_session("rotation")
        assert visit is not None
        events = transaction.visits.list_events(visit.id)
        assert [event.number for event in events] == list(range(1, visit.events + 1))


def test_what_a_lost_answer_leaves_in_doubt_the_next_visit_settles(issuer: Issuer, card: VirtualCard) -> None:
    build_agent(issuer, card).run(apply(issuer))
    issuer.updates.force(IDENTITY, SSD_AID, actor="test")
    agent = build_agent(issuer, card)
    card.reset()
    agent.handshake("broken")
    opened = agent.report("broken", VOID)
    agent.transmit(agent.report("broken", agent.answer(opened)).commands)
    assert Delivery.IN_FLIGHT in {item.delivery for item in issuer.key_sets(SSD_AID)}
    issuer.clock.move(minutes=10)
    build_agent(issuer, card).run("later")
    assert issuer.sets_in_force(SSD_AID) == read_kvns(card, SSD_AID) == [0x22]


def test_a_session_belongs_to_its_terminal(issuer: Issuer, card: VirtualCard) -> None:
    session = apply(issuer)
    stranger = Agent(issuer.visits, issuer.other_terminal, card, IDENTITY)
    with pytest.raises(KmsError) as error:
        stranger.handshake(session)
    assert error.value.code is Code.SESSION_UNKNOWN


def test_asking_twice_for_an_update_leaves_one(issuer: Issuer, card: VirtualCard) -> None:
    build_agent(issuer, card).run(apply(issuer))
    first = issuer.updates.force(IDENTITY, SSD_AID, actor="test")
    again = issuer.updates.force(IDENTITY, SSD_AID, actor="test")
    assert (first.created, again.created) == (True, False)
    assert again.update == first.update
