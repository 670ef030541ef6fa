"""Flow 3 and 5 on cards that speak SCP03: types of keys, and what the provider learns of the card."""

from dataclasses import replace

import pytest

from kms.card.keys import KeyType
from kms.domain.cards import Card
from kms.domain.transfers import TransferAnswer, TransferReason, TransferRequest, TransferState
from kms.errors import Code, KmsError
from kms.service.transfers import check_policy
from tests.fakes.issuer import IDENTITY, PROVIDER, build_issuer
from tests.fakes.provider import SSD
from tests.fakes.transfer_scene import TransferScene, build_transfer_scene


def provider_card(scene: TransferScene) -> Card:
    with scene.provider.store.transaction() as tx:
        card = tx.cards.find_by_identity(IDENTITY)
    assert card is not None
    return card


def key_lengths(scene: TransferScene) -> list[tuple[int, int]]:
    domain = scene.card.state.find_domain(SSD)
    assert domain is not None
    return [(s.kvn, len(s.keys[0].value) if s.keys[0].is_aes else 0) for s in domain.key_sets]


@pytest.mark.parametrize("recorded", [True, False], ids=["in the card's file", "recognized"])
@pytest.mark.parametrize(
    ("scp_i", "scp03_i", "vendor_type", "asked", "length"),
    [
        (None, 0x70, KeyType.AES128, KeyType.AES256, 32),
        (None, 0x11, KeyType.AES256, KeyType.AES128, 16),
        (0x55, 0x71, KeyType.DES2, KeyType.AES256, 32),
        (0x55, 0x70, KeyType.DES2, KeyType.DES2, 0),
        (0x55, None, KeyType.DES2, KeyType.AES256, 0),
    ],
)
def test_the_provider_gets_keys_of_the_type_it_asked_for_where_the_card_can(
    *, scp_i: int | None, scp03_i: int | None, vendor_type: KeyType, asked: KeyType, length: int, recorded: bool
) -> None:
    scene = build_transfer_scene(
        scp_i=scp_i, scp03_i=scp03_i, vendor_type=vendor_type, recorded=recorded, ssd_key_type=asked
    )
    scene.hand_over()
    assert key_lengths(scene) == [(0x31 if length else 0x21, length)]
    scene.assert_reached()
    assert key_lengths(scene) == [(0x32 if length else 0x22, length)]


def test_what_the_issuer_does_not_know_of_the_card_the_hand_over_says() -> None:
    scene = build_transfer_scene(scp_i=None, scp03_i=0x70, vendor_type=KeyType.AES128, recorded=False)
    session = scene.provider.apply()
    assert not provider_card(scene).is_known
    assert scene.visit(session=session) == "done"
    card = provider_card(scene)
    assert (card.scp02_i, card.scp03_i) == (None, 0x70)


def test_an_issuer_passes_no_claim_on_as_known() -> None:
    issuer = build_issuer()
    with issuer.store.transaction() as tx:
        tx.cards.save(replace(issuer.card, scp03_i=0x70, scp03_claimed=True))
    request = TransferRequest("t", TransferReason.CREATE, IDENTITY, SSD, b"\x80", KeyType.AES128)
    answer = issuer.transfers.request("provider", request)
    assert (answer.scp02_i, answer.scp03_i) == (None, None)


@pytest.mark.parametrize(("scp02_i", "scp03_i"), [(0x05, None), (None, 0x40), (0x55, 0x72)])
def test_an_issuer_that_names_options_which_do_not_exist_is_refused(scp02_i: int | None, scp03_i: int | None) -> None:
    scene = build_transfer_scene()
    line = scene.provider.line
    honest = line.request

    def lie(request: TransferRequest) -> TransferAnswer:
        return replace(honest(request), scp02_i=scp02_i, scp03_i=scp03_i)

    line.request = lie  # type: ignore[method-assign] # an issuer that lies
    with pytest.raises(KmsError) as error:
        scene.provider.apply()
    assert error.value.code is Code.PEER_PROTOCOL
    with scene.provider.store.transaction() as tx:
        assert tx.cards.find_by_identity(IDENTITY) is None
    line.request = honest  # type: ignore[method-assign] # honest again
    scene.assert_reached()


def test_a_hand_over_of_a_weaker_type_than_asked_for_is_refused_and_asked_for_again() -> None:
    scene = build_transfer_scene(scp_i=0x55, scp03_i=0x70, ssd_key_type=KeyType.AES128)
    scene.issue(lambda good: replace(good, scp=2, scp_i=0x55, key_type=KeyType.DES2))
    assert "keys are not AES128" in scene.apply()
    assert scene.provider.transfer().state is TransferState.REQUESTED
    scene.be_honest()
    scene.assert_reached()


@pytest.mark.parametrize(
    ("scp_i", "scp03_i", "asked", "bound"),
    [
        (0x55, 0x60, KeyType.AES128, False),
        (0x15, 0x70, KeyType.AES128, True),
        (0x55, 0x60, KeyType.DES2, True),
        (None, None, KeyType.AES128, False),
    ],
)
def test_whether_the_proof_names_the_domain_follows_from_the_protocol_of_the_keys(
    scp_i: int | None, scp03_i: int | None, asked: KeyType, bound: bool
) -> None:
    card = build_issuer(scp_i=scp_i, scp03_i=scp03_i).card
    request = TransferRequest("t", TransferReason.CREATE, IDENTITY, SSD, b"\x80", asked)
    check_policy(PROVIDER, request, card)
    careful = replace(PROVIDER, allow_unbound_cards=False)
    if bound:
        check_policy(careful, request, card)
        return
    with pytest.raises(KmsError) as refused:
        check_policy(careful, request, card)
    assert refused.value.code is Code.PEER_NOT_ALLOWED


def test_triple_des_on_a_card_of_scp03_alone_is_refused_with_the_reason() -> None:
    scene = build_transfer_scene(scp_i=None, scp03_i=0x70, vendor_type=KeyType.AES128, ssd_key_type=KeyType.DES2)
    with pytest.raises(KmsError) as refused:
        scene.provider.apply()
    assert refused.value.code is Code.PEER_REFUSED
    assert "SCP02" in refused.value.faults[0].what
