import pytest

from kms.card.programs.base import Broken, Finished
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.replace_keys import ReplaceKeys
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import Personality
from tests.unit.card.programs.runner import answer, build_card, kvns, our_set, parameters, run, vendor_set


@pytest.fixture
def card() -> VirtualCard:
    """A card that holds its factory set beside ours."""
    card = build_card(kvn=0xFF, scp_i=0x75, personality=Personality(keep_factory_set=True))
    run(ReplaceKeys(parameters(scp_i=0x75), vendor_set(0xFF), our_set(1), add=True), card)
    assert kvns(card) == [0xFF, 0x21]
    return card


@pytest.mark.parametrize(("by_kvn", "deletes"), [(True, 1), (False, 3)])
def test_the_old_set_goes_under_the_new_one(card: VirtualCard, by_kvn: bool, deletes: int) -> None:
    done = run(DeleteKeys(parameters(scp_i=0x75), our_set(1), 0xFF, by_kvn=by_kvn), card)
    assert done.instructions == [["A4", "50"], ["82", *["E4"] * deletes, "CA"]]
    assert isinstance(done.outcome, Finished)
    assert [evidence.label for evidence in done.proved] == ["isd 1"]
    assert kvns(card) == [0x21]


def test_deleting_again_what_is_gone_is_done(card: VirtualCard) -> None:
    program = DeleteKeys(parameters(scp_i=0x75), our_set(1), 0xFF)
    run(program, card)
    assert isinstance(run(program, card).outcome, Finished)


def test_a_set_that_is_still_shown_is_a_refusal_and_leaves_nothing_in_doubt(card: VirtualCard) -> None:
    shown = bytes.fromhex("E006C00401FF8010") + b"\x90\x00"
    done = run(DeleteKeys(parameters(scp_i=0x75), our_set(1), 0xFF), card, lie=answer(0xCA, shown))
    assert isinstance(done.outcome, Broken)
    assert "still shows key version FF" in done.outcome.reason
    assert not done.outcome.changed


def test_with_r_mac_an_answer_from_another_hand_breaks_the_program(card: VirtualCard) -> None:
    shown = bytes.fromhex("E006C00401218010") + b"\x90\x00"
    done = run(DeleteKeys(parameters(scp_i=0x75, level=0x13), our_set(1), 0xFF), card, lie=answer(0xCA, shown))
    assert isinstance(done.outcome, Broken)
    assert "R-MAC" in done.outcome.reason
