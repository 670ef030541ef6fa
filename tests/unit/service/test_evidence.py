from datetime import timedelta

from kms.domain.cards import CardState
from kms.domain.policies import PolicyBook
from kms.domain.visits import Terminal, TerminalState, Visit
from kms.service.card_record import CardRecord
from kms.service.evidence import EarlierMismatches, judge_mismatch, trusted_since
from kms.service.settling import Settling
from tests.fakes.card_records import build_record
from tests.fakes.records import NOW, CountingIdentifiers, build_terminal, build_visit

HERE = build_terminal(1)
THIS = build_visit(1, terminal_id=HERE.id)


def judge(
    *, at_terminal: tuple[Visit, ...] = (), of_card: tuple[Visit, ...] = (), terminal: Terminal = HERE
) -> tuple[str, CardRecord]:
    record = build_record()
    settling = Settling(record, CountingIdentifiers(90_000), NOW, "terminal", PolicyBook)
    return judge_mismatch(settling, terminal, THIS, EarlierMismatches(at_terminal, of_card)), record


def changed(record: CardRecord, kind: type[Terminal]) -> list[Terminal]:
    return [item for item in record._changed.values() if isinstance(item, kind)]  # noqa: SLF001 - what will be written


def test_one_mismatch_is_recorded_and_no_more() -> None:
    text, record = judge()
    assert text == "the card's keys are not the ones on record"
    assert [event.action for event in record._audit] == ["card.mismatch"]  # noqa: SLF001 - what will be written
    assert record.card.state is CardState.ENROLLED


def test_the_third_visit_with_one_suspends_the_terminal() -> None:
    two = build_visit(2, terminal_id=HERE.id), build_visit(3, terminal_id=HERE.id)
    text, record = judge(at_terminal=two)
    assert "suspended" in text
    (terminal,) = changed(record, Terminal)
    assert (terminal.state, bool(terminal.reason)) == (TerminalState.SUSPENDED, True)
    assert judge(at_terminal=(THIS, two[0]))[0] == "the card's keys are not the ones on record"


def test_a_terminal_that_is_suspended_already_is_not_suspended_again() -> None:
    two = build_visit(2, terminal_id=HERE.id), build_visit(3, terminal_id=HERE.id)
    _, record = judge(at_terminal=two, terminal=build_terminal(1, state=TerminalState.SUSPENDED))
    assert changed(record, Terminal) == []


def test_a_second_terminal_sets_the_card_aside_and_spares_the_terminal() -> None:
    _, record = judge(of_card=(build_visit(2, terminal_id="elsewhere"),))
    assert record.card.state is CardState.QUARANTINED
    assert "2 terminals" in record.card.quarantine_reason
    assert changed(record, Terminal) == []


def test_mismatches_count_since_the_cards_last_proof() -> None:
    proofs = [None, NOW + timedelta(days=2), NOW + timedelta(days=1)]
    assert trusted_since(NOW, *proofs) == NOW + timedelta(days=2)
    assert trusted_since(NOW, None) == NOW
