"""An SSD made and given its first keys, by both routes; resumed after a break; never taken from somebody else."""

import pytest

from kms.card.programs.base import Batch, Broken, Finished
from kms.card.programs.replace_keys import ReplaceKeys
from terminal.virtual_card.personality import Personality
from tests.unit.card.programs.runner import (
    ISD_AID,
    SSD_AID,
    answer,
    build_card,
    create_ssd,
    initial_set,
    kvns,
    run,
    vendor_set,
)

OPENING, MAKING = ["A4", "A4", "50"], ["82", "F2", "E6", "E6"]


def test_by_store_data_through_the_isd() -> None:
    card = build_card()
    done = run(create_ssd(), card)
    opening, making, keying = done.instructions
    assert (opening, making) == (OPENING, MAKING)
    assert keying[-2:] == ["A4", "50"]
    assert set(keying[:-2]) == {"E2"}
    assert isinstance(done.outcome, Finished)
    assert done.outcome.handshake is not None
    assert [evidence.label for evidence in done.proved] == ["vendor", initial_set().label]
    assert kvns(card, SSD_AID) == [0x20]
    assert kvns(card) == [0x01]


def test_install_for_personalization_ends_its_batch_and_the_keys_are_announced_with_theirs() -> None:
    done = run(create_ssd(), build_card())
    _, making, keying = done.batches
    assert making.commands[-1][1:3] == b"\xe6\x20"
    assert (making.makes_domain, making.installs) == (True, None)
    assert keying.installs is not None
    assert keying.installs.label == initial_set().label


def test_by_put_key_under_the_parents_keys() -> None:
    card = build_card()
    done = run(create_ssd("put-key"), card)
    assert done.instructions == [OPENING, ["82", "F2", "E6"], ["A4", "50"], ["82", "D8", "50"]]
    assert isinstance(done.states[-1], ReplaceKeys)
    assert isinstance(done.outcome, Finished)
    assert kvns(card, SSD_AID) == [0x20]
    assert kvns(card) == [0x01]


@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_an_attempt_that_broke_after_install_is_taken_up(route: str) -> None:
    card = build_card()
    run(create_ssd(route), card, most=2)
    assert len(card.state.domains) == 2
    again = run(create_ssd(route, resume=True), card)
    assert isinstance(again.outcome, Finished)
    assert again.instructions[0] == ["A4", "50"]
    assert kvns(card, SSD_AID) == [0x20]
    assert len(card.state.domains) == 2


@pytest.mark.parametrize("route", ["store-data", "put-key"])
def test_an_ssd_that_is_there_before_the_first_attempt_is_refused_before_anything_is_sent(route: str) -> None:
    card = build_card()
    run(create_ssd(route), card)
    again = run(create_ssd(route), card)
    assert isinstance(again.outcome, Broken)
    assert again.outcome.foreign
    assert not again.outcome.changed
    assert again.instructions == [OPENING]


def test_an_ssd_that_select_hides_is_refused_by_the_registry() -> None:
    card = build_card()
    run(create_ssd(), card)

    def hidden(_batch: Batch, answers: list[bytes]) -> list[bytes]:
        return [b"\x6a\x82", *answers[1:]] if len(answers) == 3 else answers

    again = run(create_ssd(), card, lie=hidden)
    assert isinstance(again.outcome, Broken)
    assert "did not make it" in again.outcome.reason
    assert again.instructions == [OPENING, MAKING]


@pytest.mark.parametrize("route", ["store-data", "put-key"])
@pytest.mark.parametrize("broke_before", [False, True])
def test_a_card_that_does_not_know_this_get_status_gets_its_ssd(route: str, broke_before: bool) -> None:
    card = build_card()
    if broke_before:
        run(create_ssd(route), card, most=2)
    done = run(create_ssd(route, resume=broke_before), card, lie=answer(0xF2, b"\x6a\x86"))
    assert isinstance(done.outcome, Finished)
    assert kvns(card, SSD_AID) == [0x20]


def test_a_refused_install_on_a_card_that_does_not_tell_what_is_there_is_a_refusal() -> None:
    card = build_card(personality=Personality(max_domains=0))
    done = run(create_ssd(), card, lie=answer(0xF2, b"\x6a\x86"))
    assert isinstance(done.outcome, Broken)
    assert (done.outcome.sw, done.outcome.changed) == (0x6A84, False)


def test_no_room_is_a_refusal_that_changed_nothing() -> None:
    card = build_card(personality=Personality(max_domains=0))
    done = run(create_ssd(), card)
    assert isinstance(done.outcome, Broken)
    assert (done.outcome.sw, done.outcome.changed) == (0x6A84, False)
    assert [domain.aid for domain in card.state.domains] == [ISD_AID]


def test_store_data_never_leaves_when_install_for_personalization_was_refused() -> None:
    def refuse(_batch: Batch, answers: list[bytes]) -> list[bytes]:
        return [*answers[:3], b"\x69\x85"] if len(answers) == 4 else answers

    done = run(create_ssd(), build_card(), lie=refuse)
    assert isinstance(done.outcome, Broken)
    assert not done.outcome.changed
    assert len(done.batches) == 2


def test_after_store_data_the_initial_set_is_in_doubt_until_it_is_proved() -> None:
    done = run(create_ssd(), build_card(), lie=answer(0xE2, b""))
    assert isinstance(done.outcome, Broken)
    assert done.outcome.changed
    assert [evidence.label for evidence in done.proved] == [vendor_set().label]
