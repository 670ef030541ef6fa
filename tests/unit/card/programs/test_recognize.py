import pytest

from kms.card.keys import KeyType
from kms.card.programs.base import Broken, Recognized
from kms.card.programs.recognize import Recognize
from kms.card.programs.state import advance, dump_state, load_state, start
from terminal.virtual_card import KEY_TYPE_AES, VirtualCard, build_factory_state
from tests.fakes.software_keys import SoftwareKeys
from tests.unit.card.programs.runner import ISD_AID

K32 = bytes(range(0x40, 0x60))
PROGRAM = Recognize(ISD_AID)
KEYS = SoftwareKeys({})


def ask(card: VirtualCard) -> list[bytes]:
    card.reset()
    step = start(PROGRAM, KEYS, bytes(16))
    assert step.batch is not None
    return [card.transmit(command) for command in step.batch.commands]


def test_a_card_of_both_protocols_says_so() -> None:
    answers = ask(VirtualCard(build_factory_state(scp02_i=0x55, scp03_i=0x70)))
    assert advance(PROGRAM, answers, KEYS, b"").outcome == Recognized(((2, 0x55), (3, 0x70)), ((0x01, KeyType.DES2),))


def test_an_aes_card_says_so() -> None:
    state = build_factory_state((K32, K32, K32), key_type=KEY_TYPE_AES, scp02_i=None, scp03_i=0x71, kvn=0x30)
    assert advance(PROGRAM, ask(VirtualCard(state)), KEYS, b"").outcome == Recognized(
        ((3, 0x71),), ((0x30, KeyType.AES256),)
    )


def test_what_a_card_refuses_to_say_is_not_in_the_outcome() -> None:
    refused = [b"\x90\x00", b"\x6a\x88", b"\x6a\x88"]
    assert advance(PROGRAM, refused, KEYS, b"").outcome == Recognized(None, ())


@pytest.mark.parametrize(
    ("answers", "at"),
    [
        ([b"\x6a\x82", b"\x90\x00", b"\x90\x00"], "SELECT"),
        ([b"\x90\x00", b"", b"\x6a\x88"], "GET DATA 66"),
        ([b"\x90\x00", b"\x66\x02\x73\x90\x00", b"\x6a\x88"], "GET DATA 66"),
        ([b"\x90\x00", b"\x6a\x88", b""], "GET DATA E0"),
        ([b"\x90\x00", b"\x6a\x88", b"\xe0\x02\xc0\x05\x90\x00"], "GET DATA E0"),
        ([b"\x90\x00"], "GET DATA 66"),
    ],
)
def test_what_cannot_be_read_ends_the_program_and_changed_nothing(answers: list[bytes], at: str) -> None:
    outcome = advance(PROGRAM, answers, KEYS, b"").outcome
    assert isinstance(outcome, Broken)
    assert (outcome.at, outcome.changed) == (at, False)


def test_it_is_saved_with_its_visit() -> None:
    assert load_state(dump_state(PROGRAM)) == PROGRAM
