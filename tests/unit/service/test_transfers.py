"""Flow 3 and 5 over two platforms in one process: the provider ends up alone with its keys."""

from dataclasses import replace

import pytest

from kms.card.keys import KeyType
from kms.domain.cards import DomainState
from kms.domain.keys import Delivery
from kms.domain.transfers import TransferReason, TransferRequest, TransferState
from kms.errors import Code, KmsError
from kms.service.transfers import check_policy
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import build_factory_state
from tests.fakes.agent import Agent
from tests.fakes.issuer import IDENTITY, PROVIDER, build_issuer
from tests.fakes.provider import SSD, Provider, build_provider


def kvns(card: VirtualCard, aid: bytes) -> list[int]:
    return [s.kvn for domain in card.state.domains if domain.aid == aid for s in domain.key_sets]


def agent(provider: Provider, card: VirtualCard) -> Agent:
    return Agent(provider.visits, provider.terminal, card, IDENTITY)


def test_flow_3_hands_an_ssd_over_in_one_visit() -> None:
    issuer, card = build_issuer(), VirtualCard(build_factory_state())
    provider = build_provider(issuer)
    stop = agent(provider, card).run(provider.apply())
    assert stop.notification == "done"
    assert kvns(card, SSD) == [0x21]
    assert [(s.kvn, s.delivery) for s in provider.key_sets() if s.delivery is Delivery.PROVED] == [
        (0x21, Delivery.PROVED)
    ]
    assert provider.domain().state is DomainState.KEYED
    assert provider.transfer().state is TransferState.CLOSED
    assert provider.transfer().envelope is None
    assert issuer.domain(SSD).state is DomainState.HANDED_OVER
    assert issuer.sets_in_force(SSD) == []


def test_flow_5_needs_no_issuer() -> None:
    issuer, card = build_issuer(), VirtualCard(build_factory_state())
    provider = build_provider(issuer)
    agent(provider, card).run(provider.apply())

    def cut(name: str) -> None:
        raise AssertionError(f"the issuer was called: {name}")

    provider.line.disturb = cut
    provider.updates.force(IDENTITY, SSD, actor="test")
    working = agent(provider, card)
    assert working.run("update").notification == "done"
    assert (working.requests, working.apdus) == (4, 5)
    assert kvns(card, SSD) == [0x22]


@pytest.mark.parametrize(("scp_i", "admitted"), [(0x15, False), (0x35, False), (0x55, True), (0x75, True)])
def test_cards_whose_proof_names_no_domain_are_for_peers_that_may_have_them(scp_i: int, admitted: bool) -> None:
    card = build_issuer(scp_i=scp_i).card
    request = TransferRequest("t", TransferReason.CREATE, IDENTITY, SSD, b"\x80", KeyType.DES2)
    check_policy(PROVIDER, request, card)
    careful = replace(PROVIDER, allow_unbound_cards=False)
    if admitted:
        check_policy(careful, request, card)
        return
    with pytest.raises(KmsError) as refused:
        check_policy(careful, request, card)
    assert refused.value.code is Code.PEER_NOT_ALLOWED
    assert f"i={scp_i:02X}" in refused.value.detail
