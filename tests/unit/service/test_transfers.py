"""Flow 3 and 5 over two platforms in one process: the provider ends up alone with its keys."""

from dataclasses import replace

import pytest

from kms.card.keys import KeyType
from kms.domain.cards import CardState, DomainState
from kms.domain.keys import Delivery, KeyState, MasterKind
from kms.domain.orders import Order
from kms.domain.transfers import TransferReason, TransferRequest, TransferState
from kms.domain.updates import UpdateState
from kms.errors import Code, KmsError
from kms.service.transfers import check_policy
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import build_factory_state
from tests.fakes.agent import Agent
from tests.fakes.issuer import IDENTITY, PROVIDER, build_issuer
from tests.fakes.provider import SSD, Provider, build_provider
from tests.fakes.transfer_scene import build_transfer_scene


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


def test_the_issuers_own_terminal_may_make_the_ssd_first() -> None:
    """What a provider asked for goes in wherever the card shows up; the provider takes over from there."""
    scene = build_transfer_scene()
    session = scene.provider.apply()
    own = Agent(scene.issuer.visits, scene.issuer.terminal, scene.card, IDENTITY)
    assert own.run("at-the-issuers") == Order(4, IDENTITY, stop=True, notification="done")
    assert kvns(scene.card, SSD) == [0x20]
    assert scene.visit(session=session) == "done"
    scene.assert_handed_over()


def test_a_card_set_aside_by_its_issuer_waits_at_the_provider() -> None:
    scene = build_transfer_scene()
    session = scene.provider.apply()
    with scene.issuer.store.transaction() as tx:
        tx.cards.save(replace(scene.issuer.card, state=CardState.QUARANTINED, quarantine_reason="seen twice"))
    assert "seen twice" in scene.visit(session=session)
    assert scene.provider.last_update().state is UpdateState.PENDING
    with scene.issuer.store.transaction() as tx:
        tx.cards.save(replace(tx.cards.get(scene.issuer.card.id), state=CardState.ENROLLED, quarantine_reason=""))
    scene.assert_reached()


def test_an_envelope_past_its_end_is_asked_for_again_and_holds_the_same_keys() -> None:
    scene = build_transfer_scene()

    def tamper(order: Order, answers: list[bytes]) -> list[bytes]:
        return [] if order.number > 3 else answers  # the provider's half is lost

    scene.apply(scene.agent(tamper=tamper))
    first = scene.provider.transfer()
    assert (first.state, first.envelope is not None) == (TransferState.HANDED_OVER, True)
    scene.issuer.clock.move(days=2)
    assert scene.visit() == "done"
    scene.assert_handed_over()
    assert [event.result for event in scene.events("issuer", "transfer.hand-over")] == ["issued", "issued again"]
    assert [event.result for event in scene.events("provider", "transfer.receive")] == [
        "handed over by issuer",
        "handed over again by issuer",
    ]


def test_a_kek_exchanged_anew_serves_the_same_transfer() -> None:
    scene = build_transfer_scene()

    def tamper(order: Order, answers: list[bytes]) -> list[bytes]:
        return [] if order.number > 3 else answers

    scene.apply(scene.agent(tamper=tamper))
    for store in (scene.issuer.store, scene.provider.store):
        with store.transaction() as tx:
            (old,) = [item for item in tx.master_keys.list() if item.kind is MasterKind.PEER_KEK]
            tx.master_keys.save(replace(old, state=KeyState.DEACTIVATED))
            new = replace(old, id=f"{old.id}-2", generation=2, object_id=b"kek-2...........", state=KeyState.ACTIVE)
            tx.master_keys.add(new)
    for vault in (scene.issuer.vault, scene.provider.vault):
        vault.masters[b"kek-2..........."] = vault.masters[b"kek............."]
        vault.keks[b"kek-2..........."] = vault.keks[b"kek............."]
    scene.issuer.clock.move(days=2)
    assert scene.visit() == "done"
    scene.assert_handed_over()


def test_the_issuer_cannot_make_the_keys_of_what_it_handed_over() -> None:
    scene = build_transfer_scene()
    scene.hand_over()
    with pytest.raises(KmsError) as error:
        scene.issuer.updates.force(IDENTITY, SSD, actor="test")
    assert error.value.code is Code.KEY_STATE
    own = Agent(scene.issuer.visits, scene.issuer.terminal, scene.card, IDENTITY)
    assert own.run("at-the-issuers").notification == "nothing is pending for this card"
