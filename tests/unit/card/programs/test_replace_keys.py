"""A key replacement: five APDUs, and only the card cryptogram under the new set says that it is done."""

import pytest

from kms.card.programs.base import Broken, Finished, Mismatch
from kms.card.programs.replace_keys import ReplaceKeys
from terminal.virtual_card.personality import Personality
from tests.unit.card.programs.runner import answer, build_card, kvns, our_set, parameters, run, vendor_set


@pytest.mark.parametrize("scp_i", [0x15, 0x35, 0x55, 0x75])
@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13])
def test_two_batches_five_commands_and_a_proof(scp_i: int, level: int) -> None:
    if level & 0x10 and not scp_i & 0x20:
        pytest.skip("this option has no R-MAC")
    card = build_card(scp_i=scp_i)
    program = ReplaceKeys(parameters(scp_i=scp_i, level=level), vendor_set(), our_set(1))
    done = run(program, card)
    assert done.instructions == [["A4", "50"], ["82", "D8", "50"]]
    assert isinstance(done.outcome, Finished)
    assert [evidence.label for evidence in done.proved] == ["vendor", "isd 1"]
    assert kvns(card) == [0x21]
    assert done.batches[0].installs is None
    installs = done.batches[1].installs
    assert installs is not None
    assert (installs.label, len(installs.kcvs)) == ("isd 1", 3)


def test_the_half_open_channel_of_one_program_is_the_next_ones_opening() -> None:
    card = build_card()
    first = run(ReplaceKeys(parameters(), vendor_set(), our_set(1)), card)
    assert isinstance(first.outcome, Finished)
    second = run(ReplaceKeys(parameters(), our_set(1), our_set(2)), card, handshake=first.outcome.handshake)
    assert second.instructions == [["82", "D8", "50"]]
    assert isinstance(second.outcome, Finished)
    assert kvns(card) == [0x22]


def test_a_factory_set_is_added_to() -> None:
    card = build_card(kvn=0xFF, personality=Personality(keep_factory_set=True))
    done = run(ReplaceKeys(parameters(), vendor_set(0xFF), our_set(1), add=True), card)
    assert isinstance(done.outcome, Finished)
    assert kvns(card) == [0xFF, 0x21]


def test_a_wrong_card_is_never_authenticated_to() -> None:
    done = run(ReplaceKeys(parameters(), our_set(3), our_set(4)), build_card(kvn=0x23))
    assert isinstance(done.outcome, Mismatch)
    assert done.instructions == [["A4", "50"]]
    assert done.proved == []


@pytest.mark.parametrize(
    ("ins", "value"),
    [(0x82, b"\x63\x00"), (0xD8, b"\x6a\x84"), (0xD8, b"\x22\x00\x00\x00\x90\x00"), (0xD8, b""), (0x50, b"\x6a\x88")],
)
def test_a_cryptogram_is_no_proof_when_anything_before_it_failed(ins: int, value: bytes) -> None:
    spare = 0 if ins != 0x50 else 1

    def lie(batch: object, answers: list[bytes]) -> list[bytes]:
        return answers if spare and len(answers) == 2 else answer(ins, value)(batch, answers)  # type: ignore[arg-type] # a batch

    done = run(ReplaceKeys(parameters(), vendor_set(), our_set(1)), build_card(), lie=lie)
    assert isinstance(done.outcome, Broken)
    assert done.outcome.changed
    assert [evidence.label for evidence in done.proved] == ["vendor"]


def test_before_the_keys_left_nothing_can_have_changed() -> None:
    done = run(ReplaceKeys(parameters(), vendor_set(), our_set(1)), build_card(), lie=answer(0x50, b"\x6a\x88"))
    assert isinstance(done.outcome, Broken)
    assert (done.outcome.changed, done.outcome.sw) == (False, 0x6A88)
