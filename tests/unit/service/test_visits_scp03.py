"""Visits of cards that speak SCP03, or both protocols: the flows, and a security domain's move to another key type."""

import pytest

from kms.card.keys import KeyType
from kms.card.profile import CardProfile
from kms.domain.keys import Delivery
from kms.domain.updates import UpdateReason
from tests.fakes.issuer import IDENTITY
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene

AES_TYPES = (KeyType.AES128, KeyType.AES192, KeyType.AES256)
OPTIONS = (0x00, 0x10, 0x20, 0x30, 0x60, 0x70, 0x01, 0x11, 0x21, 0x31, 0x61, 0x71)
LEVELS = (0x01, 0x03, 0x11, 0x13, 0x33)


def types_on_card(scene: Scene, aid: bytes) -> list[tuple[int, int]]:
    """(key version, bytes of a key, negative for triple DES) of what the card really holds."""
    domain = scene.card.state.find_domain(aid)
    assert domain is not None
    return [(s.kvn, len(s.keys[0].value) * (1 if s.keys[0].is_aes else -1)) for s in domain.key_sets]


def force_type(scene: Scene, key_type: KeyType, aid: bytes = SSD_AID) -> None:
    scene.issuer.updates.force(IDENTITY, aid, actor="test", reason=UpdateReason.KEY_TYPE, key_type=key_type)


@pytest.mark.parametrize("route", ["store-data", "put-key"])
@pytest.mark.parametrize("i", OPTIONS)
def test_first_keys_and_a_rotation_on_every_variant_of_scp03(i: int, route: str) -> None:
    scene = build_scene(
        scp_i=None,
        scp03_i=i,
        vendor_type=KeyType.AES128,
        ssd_key_type=KeyType.AES256,
        profile=CardProfile(name="default", initial_key_route=route),
    )
    scene.make_ssd()
    scene.force()
    agent = scene.agent()
    assert scene.visit(agent) == "done"
    assert (agent.requests, agent.apdus) == (4, 5)
    assert types_on_card(scene, SSD_AID) == [(0x32, 32)]
    scene.assert_in_step()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("i", [0x70, 0x71, 0x00])
@pytest.mark.parametrize("key_type", AES_TYPES)
def test_every_level_and_key_size(key_type: KeyType, i: int, level: int) -> None:
    scene = build_scene(
        scp_i=None,
        scp03_i=i,
        vendor_type=key_type,
        ssd_key_type=key_type,
        profile=CardProfile(name="default", scp03_level=level),
    )
    scene.make_ssd()
    scene.force()
    assert scene.visit() == "done"
    (authenticate,) = [command for command in scene.card.log if command[1] == 0x82]
    assert authenticate[2] == (level if i & 0x60 == 0x60 else level & 0x03)
    scene.assert_in_step()


@pytest.mark.parametrize("vendor_type", AES_TYPES)
@pytest.mark.parametrize("kvn", [0x01, 0xFF])
def test_the_isd_is_taken_over_to_keys_of_the_same_size(kvn: int, vendor_type: KeyType) -> None:
    scene = build_scene(scp_i=None, scp03_i=0x70, vendor_type=vendor_type, kvn=kvn)
    scene.force(ISD_AID)
    assert scene.visit() == "done"
    assert types_on_card(scene, ISD_AID) == [(0x31, vendor_type.length)]
    scene.assert_in_step(ISD_AID)


@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_a_card_of_both_protocols_gets_aes_keys_for_its_ssd_under_triple_des_keys_of_its_isd(route: str) -> None:
    profile = CardProfile(name="default", initial_key_route=route)
    scene = build_scene(scp_i=0x55, scp03_i=0x70, ssd_key_type=KeyType.AES256, profile=profile)
    scene.make_ssd()
    assert types_on_card(scene, SSD_AID) == [(0x31, 32)]
    assert types_on_card(scene, ISD_AID) == [(0x01, -16)]


def test_triple_des_keys_for_an_ssd_under_aes_keys_of_its_isd() -> None:
    scene = build_scene(scp_i=0x55, scp03_i=0x70, vendor_type=KeyType.AES128, ssd_key_type=KeyType.DES2)
    scene.make_ssd()
    assert types_on_card(scene, SSD_AID) == [(0x21, -16)]


@pytest.mark.parametrize("scp03_i", [0x70, 0x71])
@pytest.mark.parametrize("target", AES_TYPES)
def test_an_ssd_moves_from_triple_des_to_aes_by_adding_proving_and_deleting(target: KeyType, scp03_i: int) -> None:
    scene = build_scene(scp_i=0x55, scp03_i=scp03_i, ssd_key_type=KeyType.DES2)
    scene.make_ssd()
    force_type(scene, target)
    assert scene.visit() == "done"
    ins = [command[1] for command in scene.card.log]
    assert ins == [0xA4, 0x50, 0x82, 0xD8, 0x50, 0x82, 0xE4, 0xCA]
    assert types_on_card(scene, SSD_AID) == [(0x32, target.length)]
    assert [item.delivery for item in scene.issuer.key_sets(SSD_AID)][-2:] == [Delivery.REPLACED, Delivery.PROVED]
    scene.assert_reached()
    assert types_on_card(scene, SSD_AID) == [(0x33, target.length)]


def test_an_ssd_moves_back_and_from_one_aes_size_to_another() -> None:
    scene = build_scene(scp_i=0x55, scp03_i=0x70)
    scene.make_ssd()
    for target in (KeyType.AES256, KeyType.DES2, KeyType.AES192):
        force_type(scene, target)
        assert scene.visit() == "done"
        scene.assert_in_step()
    assert types_on_card(scene, SSD_AID) == [(0x34, 24)]


def test_the_isd_moves_to_aes_as_its_profile_says() -> None:
    scene = build_scene(scp_i=0x55, scp03_i=0x70)
    force_type(scene, KeyType.AES256, ISD_AID)
    assert scene.visit() == "done"
    assert types_on_card(scene, ISD_AID) == [(0x31, 32)]
    scene.assert_in_step(ISD_AID)


def test_a_move_to_a_protocol_that_the_card_does_not_speak_is_not_begun() -> None:
    scene = build_scene(scp_i=None, scp03_i=0x70, vendor_type=KeyType.AES128)
    scene.make_ssd()
    force_type(scene, KeyType.DES2)
    assert "is not known to speak SCP02" in scene.visit()
    assert scene.card.log == []
    assert types_on_card(scene, SSD_AID) == [(0x31, 16)]


@pytest.mark.parametrize("at", range(1, 4))
@pytest.mark.parametrize("index", range(5))
def test_a_move_whose_answers_are_lost_anywhere_ends_with_one_proved_set(at: int, index: int) -> None:
    scene = build_scene(scp_i=0x55, scp03_i=0x70, ssd_key_type=KeyType.DES2)
    scene.make_ssd()
    force_type(scene, KeyType.AES256)

    def lose(order: object, answers: list[bytes]) -> list[bytes]:
        number = getattr(order, "number", 0)
        return [b"" if number == at and place >= index else answer for place, answer in enumerate(answers)]

    scene.visit(scene.agent(tamper=lose))
    held = {kvn for kvn, _ in types_on_card(scene, SSD_AID)}
    assert held <= {item.kvn for item in scene.issuer.key_sets(SSD_AID)}
    scene.assert_reached()
    assert types_on_card(scene, SSD_AID) == [(0x33, 32)]


def test_the_old_set_that_a_lying_terminal_kept_on_the_card_is_found_and_goes() -> None:
    """DELETE is answered by the terminal: the triple DES set stays, and the next doubt finds it."""
    scene = build_scene(scp_i=0x55, scp03_i=0x20, ssd_key_type=KeyType.DES2, profile=_unprotected())
    scene.make_ssd()
    force_type(scene, KeyType.AES128)
    agent = scene.agent()
    real = agent.transmit

    def transmit(commands: object) -> list[bytes]:
        answers: list[bytes] = []
        for command in commands:  # type: ignore[attr-defined] # a sequence of commands
            if command[1] == 0xE4:
                answers.append(b"\x00\x90\x00")
            elif command[1] == 0xCA and 0xE4 in {item[1] for item in commands}:  # type: ignore[attr-defined] # as above
                answers.append(bytes.fromhex("E012C00401328810C00402328810C004033288109000"))
            else:
                answers += real([command])
        return answers

    agent.transmit = transmit  # type: ignore[method-assign] # a terminal that answers for the card
    assert scene.visit(agent) == "done"
    assert {kvn for kvn, _ in types_on_card(scene, SSD_AID)} == {0x21, 0x32}
    scene.force()

    def lose(order: object, answers: list[bytes]) -> list[bytes]:
        return [b""] * len(answers) if getattr(order, "number", 0) == 2 else answers

    scene.visit(scene.agent(tamper=lose))
    scene.visit()
    assert {kvn for kvn, _ in types_on_card(scene, SSD_AID)} == {0x33}
    scene.assert_in_step()


def _unprotected() -> CardProfile:
    return CardProfile(name="default", scp03_level=0x03, security_level=1)


def test_cards_of_scp03_alone_take_no_triple_des_keys() -> None:
    scene = build_scene(scp_i=None, scp03_i=0x70, vendor_type=KeyType.AES128, ssd_key_type=KeyType.DES2)
    assert "SCP02" in scene.visit(session=scene.apply())
    assert scene.card.log == []


def test_what_the_profile_says_of_ssd_keys_comes_before_the_catalogue() -> None:
    profile = CardProfile(name="default", ssd_key_type=KeyType.AES192)
    scene = build_scene(scp_i=0x55, scp03_i=0x70, ssd_key_type=KeyType.AES256, profile=profile)
    scene.make_ssd()
    assert types_on_card(scene, SSD_AID) == [(0x31, 24)]


def test_a_key_type_that_opens_no_channel_is_never_planned() -> None:
    scene = build_scene()
    scene.make_ssd()
    force_type(scene, KeyType.DES3)
    assert "DES3 opens no secure channel" in scene.visit()
    assert scene.card.log == []
