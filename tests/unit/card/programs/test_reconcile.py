from kms.card.programs.base import Broken, Reconciled
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import Personality
from tests.unit.card.programs.runner import (
    SSD_AID,
    answer,
    build_card,
    create_ssd,
    initial_set,
    kvns,
    our_set,
    parameters,
    run,
    vendor_set,
)


def reconcile(card: VirtualCard, *candidates: object, **options: object) -> Reconciled:
    done = run(Reconcile(parameters(**options), candidates), card)  # type: ignore[arg-type] # candidates
    assert isinstance(done.outcome, Reconciled)
    assert len(done.batches) == 1
    assert [e.label for e in done.proved] == [e.label for e in done.outcome.in_force]
    return done.outcome


def test_it_says_which_set_is_in_force_and_leaves_its_channel_half_open() -> None:
    card = build_card()
    run(ReplaceKeys(parameters(), vendor_set(), our_set(1)), card)
    found = reconcile(card, vendor_set(), our_set(1))
    assert [evidence.label for evidence in found.in_force] == ["isd 1"]
    assert (found.opened, found.key_versions, found.mismatches) == ("isd 1", (0x21,), 0)
    assert found.handshake is not None
    on = run(ReplaceKeys(parameters(), our_set(1), our_set(2)), card, handshake=found.handshake)
    assert on.instructions == [["82", "D8", "50"]]
    assert kvns(card) == [0x22]


def test_it_asks_for_each_key_version_once_and_spends_no_authentication() -> None:
    card = build_card()
    done = run(Reconcile(parameters(), (vendor_set(), our_set(1), vendor_set(0x21))), card)
    assert done.instructions == [["A4", "CA", "50", "50"]]
    assert card.state.isd.key_sets[0].sequence_counter == 0


def test_two_sets_of_one_version_are_told_apart_off_line() -> None:
    found = reconcile(build_card(kvn=0x21), our_set(1), vendor_set(0x21))
    assert [evidence.label for evidence in found.in_force] == ["vendor"]


def test_both_sets_of_an_unfinished_take_over_are_in_force() -> None:
    card = build_card(kvn=0xFF, personality=Personality(keep_factory_set=True))
    run(ReplaceKeys(parameters(), vendor_set(0xFF), our_set(1), add=True), card)
    assert len(reconcile(card, vendor_set(0xFF), our_set(1)).in_force) == 2


def test_an_ssd_without_keys_answers_with_its_parents() -> None:
    card = build_card()
    run(create_ssd(), card, most=2)
    ssd = parameters(SSD_AID)
    done = run(Reconcile(ssd, (vendor_set(), initial_set())), card)
    assert isinstance(done.outcome, Reconciled)
    if not kvns(card, SSD_AID):
        assert [evidence.label for evidence in done.outcome.in_force] == ["vendor"]
        assert done.outcome.opened is None


def test_a_domain_that_is_not_there_is_not_present() -> None:
    assert not reconcile(build_card(), initial_set(), aid=SSD_AID).present


def test_a_cryptogram_that_fits_nothing_is_counted_and_proves_nothing() -> None:
    found = reconcile(build_card(kvn=0x21), our_set(1))
    assert (found.mismatches, found.in_force, found.handshake) == (1, (), None)


def test_an_answer_of_another_form_is_no_evidence_of_strange_keys() -> None:
    done = run(Reconcile(parameters(), (vendor_set(),)), build_card(), lie=answer(0x50, b"\x01\x02\x90\x00"))
    assert isinstance(done.outcome, Reconciled)
    assert (done.outcome.mismatches, done.outcome.in_force) == (0, ())


def test_a_lost_answer_is_noted_and_a_lost_select_breaks() -> None:
    lost = run(Reconcile(parameters(), (vendor_set(),)), build_card(), lie=answer(0x50, b""))
    assert isinstance(lost.outcome, Reconciled)
    assert lost.outcome.lost
    broken = run(Reconcile(parameters(), (vendor_set(),)), build_card(), lie=answer(0xA4, b""))
    assert isinstance(broken.outcome, Broken)
    assert not broken.outcome.changed


def test_unreadable_key_information_is_only_a_missing_hint() -> None:
    done = run(Reconcile(parameters(), (vendor_set(),)), build_card(), lie=answer(0xCA, b"\xe0\x05\x90\x00"))
    assert isinstance(done.outcome, Reconciled)
    assert done.outcome.key_versions is None
    assert len(done.outcome.in_force) == 1
