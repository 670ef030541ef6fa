"""Visits over a virtual card: the flows, and what a bad terminal, a bad line or a bad card makes of them."""

import pytest

from kms.card.profile import CardProfile
from kms.domain.cards import ApplicationState, DomainState
from kms.domain.keys import Delivery
from kms.domain.updates import UpdateState
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import Personality, build_factory_state
from tests.fakes.agent import Agent
from tests.fakes.issuer import APPLICATION_AID, IDENTITY, ISD_AID, SSD_AID, Issuer, build_issuer


def build_card(kvn: int = 0x01, scp_i: int = 0x55, personality: Personality | None = None) -> VirtualCard:
    return VirtualCard(build_factory_state(kvn=kvn, scp02_i=scp_i), personality)


def build_agent(issuer: Issuer, card: VirtualCard) -> Agent:
    return Agent(issuer.visits, issuer.terminal, card, IDENTITY)


def kvns(card: VirtualCard, aid: bytes) -> list[int]:
    return [s.kvn for domain in card.state.domains if domain.aid == aid for s in domain.key_sets]


def apply(issuer: Issuer) -> str:
    return issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID).session_id


@pytest.mark.parametrize("scp_i", [0x15, 0x35, 0x55, 0x75])
@pytest.mark.parametrize("level", [1, 3])
@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_flow_2_puts_operative_keys_into_a_new_ssd(scp_i: int, level: int, route: str) -> None:
    profile = CardProfile(name="default", security_level=level, initial_key_route=route, r_mac=True)
    issuer, card = build_issuer(scp_i=scp_i, profile=profile), build_card(scp_i=scp_i)
    agent = build_agent(issuer, card)
    stop = agent.run(apply(issuer))
    assert stop.notification == "done"
    assert kvns(card, SSD_AID) == [0x21]
    assert issuer.sets_in_force(SSD_AID) == [0x21]
    assert issuer.domain(SSD_AID).state is DomainState.KEYED
    assert issuer.last_update(SSD_AID).state is UpdateState.DONE
    assert issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID).state is ApplicationState.READY


@pytest.mark.parametrize("keep", [True, False])
def test_the_isd_goes_from_factory_keys_to_the_issuers_own(keep: bool) -> None:
    issuer, card = build_issuer(kvn=0xFF), build_card(kvn=0xFF, personality=Personality(keep_factory_set=keep))
    issuer.updates.force(IDENTITY, ISD_AID, actor="test")
    build_agent(issuer, card).run("session")
    assert kvns(card, ISD_AID) == [0x21]
    assert sorted((s.kvn, s.delivery) for s in issuer.key_sets(ISD_AID)) == [
        (0x21, Delivery.PROVED),
        (0xFF, Delivery.REPLACED),
    ]


def test_a_rotation_takes_four_requests_and_five_apdus() -> None:
    issuer, card = build_issuer(), build_card()
    build_agent(issuer, card).run(apply(issuer))
    issuer.updates.force(IDENTITY, SSD_AID, actor="test")
    agent = build_agent(issuer, card)
    agent.run("session")
    assert (agent.requests, agent.apdus) == (4, 5)
    assert kvns(card, SSD_AID) == [0x22]
    assert issuer.sets_in_force(SSD_AID) == [0x22]
