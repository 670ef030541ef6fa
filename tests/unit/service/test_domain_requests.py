"""Asking an issuer for a security domain: on record before it leaves, the same again after anything went wrong."""

from dataclasses import replace

import pytest

from kms.config import CatalogueEntry
from kms.domain.card_ranges import CardRange
from kms.domain.cards import CardState, DomainKind, DomainState
from kms.domain.keys import KeyState
from kms.domain.transfers import Transfer, TransferReason, TransferState
from kms.errors import Code, Fault, KmsError
from kms.service.domain_requests import DomainRequests
from kms.service.relay import Relay
from tests.fakes.issuer import IDENTITY, KDD
from tests.fakes.provider import APPLICATION, SSD
from tests.fakes.records import CountingIdentifiers
from tests.fakes.transfer_scene import TransferScene, build_transfer_scene

ENTRY = CatalogueEntry(aid=APPLICATION, name="purse", ssd_aid=SSD, privileges=b"\x80", managed_by="provider")
MINE = (CardRange(bytes(len(IDENTITY)), b"\xff" * len(IDENTITY), "issuer"),)


@pytest.fixture
def scene() -> TransferScene:
    return build_transfer_scene()


def build(
    scene: TransferScene, *, ranges: tuple[CardRange, ...] = MINE, profiles: tuple[str, ...] = ("default",)
) -> DomainRequests:
    return DomainRequests(
        store=scene.provider.store,
        clock=scene.provider.clock,
        identifiers=CountingIdentifiers(800_000),
        relay=Relay({"issuer": scene.provider.line}),
        card_ranges=ranges,
        platform="provider",
        profiles=profiles,
    )


def ensure(scene: TransferScene, requests: DomainRequests | None = None) -> None:
    (requests or build(scene)).ensure(scene.provider.terminal, IDENTITY, ENTRY)


def transfers(scene: TransferScene) -> list[Transfer]:
    with scene.provider.store.transaction() as tx:
        return list(tx.transfers.list_for_card(IDENTITY))


def lose(_name: str) -> None:
    raise KmsError(Code.PEER_UNREACHABLE, "away: try again")


def test_the_first_application_makes_the_cards_row_from_the_issuers_answer(scene: TransferScene) -> None:
    ensure(scene)
    with scene.provider.store.transaction() as tx:
        card = tx.cards.find_by_identity(IDENTITY)
        assert card is not None
        (domain,) = tx.security_domains.list_for_card(card.id)
    assert (card.kdd, card.scp02_i, card.scp03_i, card.state) == (KDD, 0x55, None, CardState.ENROLLED)
    assert (domain.kind, domain.aid, domain.state) == (DomainKind.SSD, SSD, DomainState.PLANNED)
    assert (domain.managed_by, domain.parent_id) == ("provider", None)
    assert [item.security_domain_id for item in transfers(scene)] == [domain.id]
    results = [event.result for event in scene.events("provider", "transfer.request")]
    assert results == ["asked for", "admitted by issuer"]


def test_asking_again_is_the_same_transfer_and_calls_nobody(scene: TransferScene) -> None:
    requests = build(scene)
    ensure(scene, requests)
    scene.provider.line.disturb = scene.cut
    ensure(scene, requests)
    assert len(transfers(scene)) == 1


def test_a_request_that_was_lost_is_made_again_under_its_id(scene: TransferScene) -> None:
    requests = build(scene)
    scene.provider.line.disturb = lose
    for _ in range(2):
        with pytest.raises(KmsError) as error:
            ensure(scene, requests)
        assert error.value.code is Code.PEER_UNREACHABLE
    (planned,) = transfers(scene)
    assert (planned.state, planned.security_domain_id) == (TransferState.REQUESTED, None)
    scene.provider.line.disturb = lambda _name: None
    ensure(scene, requests)
    assert [item.id for item in transfers(scene)] == [planned.id]
    with scene.issuer.store.transaction() as tx:
        assert tx.transfers.find(planned.id) is not None


def test_a_refusal_is_recorded_with_its_reason_and_the_next_request_is_another(scene: TransferScene) -> None:
    def refuse(_name: str) -> None:
        fault = Fault(Code.TRANSFER_REFUSED, "not today")
        raise KmsError(Code.PEER_REFUSED, "issuer answered HTTP 409", faults=(fault,))

    scene.provider.line.disturb = refuse
    requests = build(scene)
    with pytest.raises(KmsError) as error:
        ensure(scene, requests)
    assert error.value.code is Code.PEER_REFUSED
    (refused,) = transfers(scene)
    assert (refused.state, refused.refusal) == (TransferState.REFUSED, "not today")
    assert scene.events("provider", "transfer.request")[-1].result == "refused by issuer: not today"
    scene.provider.line.disturb = lambda _name: None
    scene.issuer.clock.move(minutes=1)
    ensure(scene, requests)
    assert [item.state for item in transfers(scene)] == [TransferState.REFUSED, TransferState.REQUESTED]


def test_a_card_of_no_configured_issuer_is_unknown_and_nothing_is_recorded(scene: TransferScene) -> None:
    with pytest.raises(KmsError) as error:
        ensure(scene, build(scene, ranges=()))
    assert error.value.code is Code.CARD_UNKNOWN
    assert transfers(scene) == []


def test_a_card_profile_that_is_not_configured_here_is_named(scene: TransferScene) -> None:
    with pytest.raises(KmsError) as error:
        ensure(scene, build(scene, profiles=("other",)))
    assert error.value.code is Code.CONFIG_INVALID
    assert "default" in error.value.detail
    with scene.provider.store.transaction() as tx:
        assert tx.cards.find_by_identity(IDENTITY) is None


def test_a_card_that_is_set_aside_here_is_not_asked_for(scene: TransferScene) -> None:
    requests = build(scene)
    ensure(scene, requests)
    with scene.provider.store.transaction() as tx:
        card = tx.cards.find_by_identity(IDENTITY)
        assert card is not None
        tx.cards.save(replace(card, state=CardState.QUARANTINED))
    scene.provider.line.disturb = scene.cut
    with pytest.raises(KmsError) as error:
        scene.provider.apply()
    assert error.value.code is Code.CARD_QUARANTINED


def test_a_keyed_domain_asks_nobody(scene: TransferScene) -> None:
    scene.hand_over()
    scene.provider.line.disturb = scene.cut
    ensure(scene)


def test_a_domain_of_compromised_keys_is_asked_for_as_a_re_keying(scene: TransferScene) -> None:
    scene.hand_over()
    scene.issuer.clock.move(minutes=1)
    key_sets = scene.provider.key_sets()
    with scene.provider.store.transaction() as tx:
        for item in key_sets:
            tx.key_sets.save(replace(item, state=KeyState.COMPROMISED))
    ensure(scene)
    assert transfers(scene)[-1].reason is TransferReason.REKEY
