"""Which protocols a card speaks, taken from its own word and fixed by a proof."""

import pytest

from kms.card.keys import KeyType
from kms.card.programs.base import Recognized
from kms.domain.cards import Card
from kms.domain.updates import UpdateReason, UpdateState
from kms.service.recognizing import describe_protocols, fix_claim, needs_recognition, take_claims
from tests.fakes.card_records import ISD, SSD, build_record, update_of
from tests.fakes.issuer import IDENTITY
from tests.fakes.records import build_card
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene, sw

RECOGNITION = 0x66


def known(card: Card) -> tuple[int | None, bool, int | None, bool]:
    return card.scp02_i, card.scp02_claimed, card.scp03_i, card.scp03_claimed


def build_unknown(**options: object) -> Scene:
    return build_scene(recorded=False, **options)  # type: ignore[arg-type] # those of the scene


def answer_of(tag: int, answer: bytes) -> object:
    """A terminal that answers GET DATA for the card."""

    def tamper(order: object, answers: list[bytes]) -> list[bytes]:
        commands = getattr(order, "commands", ())
        return [
            answer if command[1] == 0xCA and command[3] == tag else given
            for command, given in zip(commands, answers, strict=True)
        ]

    return tamper


def build_recognition(*protocols: str) -> bytes:
    """Tag 66 with one tag 64 for each protocol, `0255` is SCP02 i=55, and 9000."""
    oids = b"".join(bytes.fromhex(f"640B06092A864886FC6B04{text}") for text in protocols)
    inner = bytes([0x73, len(oids)]) + oids
    return bytes([0x66, len(inner)]) + inner + b"\x90\x00"


@pytest.mark.parametrize(
    ("scp_i", "scp03_i", "vendor_type", "after"),
    [
        (0x55, None, KeyType.DES2, (0x55, False, None, False)),
        (None, 0x71, KeyType.AES256, (None, False, 0x71, False)),
        # The SSD's AES keys are proved by SCP03, so that both are fixed in one visit.
        (0x15, 0x60, KeyType.DES2, (0x15, False, 0x60, False)),
    ],
)
def test_a_card_of_which_nothing_is_known_is_recognized_and_what_opens_is_fixed(
    scp_i: int | None, scp03_i: int | None, vendor_type: KeyType, after: tuple[object, ...]
) -> None:
    scene = build_unknown(scp_i=scp_i, scp03_i=scp03_i, vendor_type=vendor_type)
    agent = scene.agent()
    assert scene.visit(agent, scene.apply()) == "done"
    assert [command[1:4] for command in agent.orders[0].commands] == [
        b"\xa4\x04\x00",
        b"\xca\x00\x66",
        b"\xca\x00\xe0",
    ]
    assert known(scene.issuer.current_card()) == after
    assert "recognized" in scene.journal("session-1")
    assert "card.recognize" in scene.issuer.audit_actions()


def test_a_claim_that_no_channel_proved_is_taken_anew_by_the_next_visit() -> None:
    scene = build_unknown(scp_i=0x15)
    scene.force(ISD_AID)
    lie = scene.agent(tamper=answer_of(RECOGNITION, build_recognition("0255")))  # type: ignore[arg-type] # a tamper
    assert scene.visit(lie) != "done"
    assert known(scene.issuer.current_card()) == (0x55, True, None, False)
    assert scene.card.count(0x82) == 0  # no authentication attempt was spent
    assert scene.visit() == "done"
    assert known(scene.issuer.current_card()) == (0x15, False, None, False)
    scene.force(ISD_AID)
    agent = scene.agent()
    assert scene.visit(agent) == "done"
    assert (agent.requests, agent.apdus) == (4, 5)  # what is fixed is not asked for again


def test_a_claim_of_the_other_protocol_is_asked_for_again_before_it_is_used() -> None:
    scene = build_unknown(scp_i=0x55, scp03_i=0x70, ssd_key_type=KeyType.DES2)
    scene.make_ssd()
    assert known(scene.issuer.current_card()) == (0x55, False, 0x70, True)
    scene.issuer.updates.force(IDENTITY, SSD_AID, actor="test", reason=UpdateReason.KEY_TYPE, key_type=KeyType.AES128)
    agent = scene.agent()
    assert scene.visit(agent) == "done"
    assert agent.orders[0].commands[1][3] == RECOGNITION
    assert known(scene.issuer.current_card()) == (0x55, False, 0x70, False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (sw(0x6A88)(b""), "does not say which secure channel protocols"),
        (build_recognition("0A02"), "speaks no secure channel protocol that this platform does: it says SCP10 i=02"),
        (build_recognition("0205", "0340"), "it says SCP02 i=05, SCP03 i=40"),
        (build_recognition("0215", "0255"), "SCP02 with i=15, 55: give one"),
        (
            build_recognition("0370"),
            "the ISD's keys on record are DES2, and the card says that it does not speak SCP02",
        ),
        (b"\x66\x05\x90\x00", "GET DATA 66"),
    ],
)
def test_a_card_that_contradicts_its_record_is_refused_before_a_channel_is_tried(answer: bytes, said: str) -> None:
    scene = build_unknown()
    scene.force(ISD_AID)
    assert said in scene.visit(scene.agent(tamper=answer_of(RECOGNITION, answer)))  # type: ignore[arg-type] # a tamper
    assert scene.card.count(0x50) == 0
    assert known(scene.issuer.current_card()) == (None, False, None, False)
    assert scene.issuer.last_update(ISD_AID).state is UpdateState.PENDING
    scene.assert_reached(ISD_AID)


def test_keys_of_another_type_than_on_record_are_a_contradiction() -> None:
    scene = build_unknown(scp_i=0x55, scp03_i=0x70)
    scene.force(ISD_AID)
    shown = bytes.fromhex("E012C00401018810C00402018810C004030188109000")
    text = scene.visit(scene.agent(tamper=answer_of(0xE0, shown)))  # type: ignore[arg-type] # a tamper
    assert text == "the ISD's key version 01 is DES2 on record, and the card says AES128"
    assert scene.card.count(0x50) == 0
    scene.assert_reached(ISD_AID)


def test_an_answer_that_is_lost_leaves_the_card_unknown_and_reachable() -> None:
    scene = build_unknown()
    scene.force(ISD_AID)
    assert scene.visit(scene.agent(tamper=answer_of(RECOGNITION, b""))) != "done"  # type: ignore[arg-type] # a tamper
    assert not scene.issuer.current_card().is_known
    scene.assert_reached(ISD_AID)


def test_with_nothing_pending_a_card_is_not_asked() -> None:
    scene = build_unknown()
    assert scene.visit() == "nothing is pending for this card"
    assert scene.card.log == []


def test_a_card_whose_file_said_is_not_asked_and_one_of_another_issuer_neither() -> None:
    record = build_record()
    assert not needs_recognition(record, update_of(ISD))
    record.save(build_card(1, scp02_i=None))
    assert needs_recognition(record, update_of(ISD))
    del record.domains[ISD.id]
    assert not needs_recognition(record, update_of(SSD))


def test_what_is_fixed_is_not_overwritten() -> None:
    record = build_record()
    assert "its record says i=55" in take_claims(record, Recognized(((2, 0x15),)))
    assert "no SCP02; its record says i=55" in take_claims(record, Recognized(((3, 0x70),)))
    assert take_claims(record, Recognized(((2, 0x55), (3, 0x70)))) == ""
    assert describe_protocols(record.card) == "SCP02 i=55, SCP03 i=70 (claimed)"
    fix_claim(record, KeyType.AES192)
    assert describe_protocols(record.card) == "SCP02 i=55, SCP03 i=70"
    assert describe_protocols(build_card(1, scp02_i=None)) == "not known yet"
