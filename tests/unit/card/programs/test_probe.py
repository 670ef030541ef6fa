from kms.card.programs.base import Batch, Broken, Probed
from kms.card.programs.probe import Probe
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from terminal.virtual_card.card import VirtualCard
from tests.unit.card.programs.runner import SSD_AID, build_card, our_set, parameters, run, vendor_set


def probe(card: VirtualCard, *candidates: object, **options: object) -> Probed:
    done = run(Probe(Reconcile(parameters(**options), candidates)), card)  # type: ignore[arg-type] # candidates
    assert isinstance(done.outcome, Probed)
    assert (len(done.batches), done.proved) == (1, [])
    assert card.state.isd.key_sets[0].sequence_counter == 0
    return done.outcome


def test_of_all_candidates_it_names_those_that_answer() -> None:
    card = build_card(kvn=0x21)
    found = probe(card, vendor_set(0x21), *(our_set(generation) for generation in range(8)))
    assert [evidence.label for evidence in found.in_force] == ["vendor"]
    assert (found.strange, found.key_versions, found.lost) == ((), (0x21,), False)


def test_a_cryptogram_that_fits_nothing_is_told_with_its_version() -> None:
    found = probe(build_card(kvn=0x21), our_set(1), our_set(2))
    assert (found.in_force, found.strange) == ((), (0x21,))


def test_a_security_domain_that_is_not_there() -> None:
    assert not probe(build_card(), our_set(1), aid=SSD_AID).present


def test_an_answer_that_is_missing_is_told() -> None:
    def drop(_batch: Batch, answers: list[bytes]) -> list[bytes]:
        return [*answers[:-1], b""]

    done = run(Probe(Reconcile(parameters(), (vendor_set(), our_set(1)))), build_card(), lie=drop)
    assert isinstance(done.outcome, Probed)
    assert done.outcome.lost


def test_answers_that_are_none_end_it() -> None:
    def garble(_batch: Batch, _answers: list[bytes]) -> list[bytes]:
        return [b""]

    done = run(Probe(Reconcile(parameters(), (vendor_set(),))), build_card(), lie=garble)
    assert isinstance(done.outcome, Broken)
    assert not done.outcome.changed


def test_it_finds_what_a_replacement_put_in() -> None:
    card = build_card()
    run(ReplaceKeys(parameters(), vendor_set(), our_set(3)), card)
    done = run(Probe(Reconcile(parameters(), tuple(our_set(number) for number in range(8)))), card)
    assert isinstance(done.outcome, Probed)
    assert [evidence.label for evidence in done.outcome.in_force] == ["isd 3"]
