import pytest

from kms.card.apdu import ResponseApdu
from kms.card.programs.base import (
    AnswerError,
    Broken,
    ForeignDomainError,
    Mismatch,
    MismatchError,
    build_opening,
    card_answers,
    check_answer,
    parse_answers,
    parse_handshake,
    parse_opening,
    prove,
)
from kms.errors import Code, KmsError
from tests.fakes.software_keys import open_software_scope
from tests.unit.card.programs.runner import CHALLENGE, MASTERS, build_card, our_set, parameters, vendor_set


def test_an_opening_is_select_and_initialize_update() -> None:
    batch = build_opening(parameters(), 0x21, CHALLENGE)
    assert [command.hex().upper() for command in batch.commands] == [
        "00A4040008A00000015100000000",
        "8050210008000102030405060700",
    ]
    assert batch.installs is None


def test_the_card_cryptogram_proves_the_set_and_no_other() -> None:
    card = build_card()
    batch = build_opening(parameters(), 0x01, CHALLENGE)
    handshake = parse_opening([card.transmit(c) for c in batch.commands], CHALLENGE, parameters(), 0x01)
    with open_software_scope(MASTERS) as keys:
        assert prove(keys, vendor_set(), handshake, parameters()).label == "vendor"
        with pytest.raises(MismatchError) as caught:
            prove(keys, our_set(1), handshake, parameters())
    assert isinstance(caught.value.outcome(changed=True), Mismatch)


@pytest.mark.parametrize("responses", [[], [b"\x90\x00"], [b"\x90\x00"] * 3, [b"\x90\x00", b"\x90"]])
def test_answers_that_do_not_fit_the_batch_are_refused(responses: list[bytes]) -> None:
    with pytest.raises(AnswerError):
        parse_answers(responses, ("SELECT", "INITIALIZE UPDATE"))


def test_a_missing_answer_is_none_until_it_is_needed() -> None:
    first, second = parse_answers([b"\x90\x00", b""], ("SELECT", "INITIALIZE UPDATE"))
    assert first is not None
    assert second is None
    with pytest.raises(AnswerError, match="no answer"):
        check_answer(second, "INITIALIZE UPDATE", 0x50)


def test_a_refusal_says_the_command_and_the_meaning_of_the_status_word() -> None:
    with pytest.raises(AnswerError, match="PUT KEY: the card answered 6A84") as caught:
        check_answer(ResponseApdu(b"", 0x6A84), "PUT KEY", 0xD8)
    outcome = caught.value.outcome(changed=True)
    assert isinstance(outcome, Broken)
    assert (outcome.refused, outcome.changed, outcome.foreign) == (True, True, False)
    assert check_answer(ResponseApdu(b"", 0x6A88), "GET STATUS", 0xF2, 0x6A88).sw == 0x6A88


def test_an_answer_for_another_key_version_than_asked_for_is_refused() -> None:
    card = build_card()
    said = card.transmit(build_opening(parameters(), 0x01, CHALLENGE).commands[1])
    with pytest.raises(AnswerError, match="asked for key version 21"):
        parse_handshake(ResponseApdu(said[:-2], 0x9000), CHALLENGE, parameters(), 0x21)


def test_only_faults_of_the_card_become_outcomes() -> None:
    for code in (Code.CARD_PROTOCOL, Code.TLV_INVALID, Code.RESPONSE_MAC_MISMATCH, Code.CHALLENGE_MISMATCH):
        with pytest.raises(AnswerError), card_answers("GET DATA E0"):
            raise KmsError(code, "said the card")
    with pytest.raises(MismatchError), card_answers("INITIALIZE UPDATE"):
        raise KmsError(Code.CRYPTOGRAM_MISMATCH, "said the card")
    with pytest.raises(KmsError), card_answers("PUT KEY"):
        raise KmsError(Code.HSM_UNAVAILABLE, "said the HSM")


def test_a_foreign_domain_is_a_refusal_of_its_own_kind() -> None:
    outcome = ForeignDomainError("SELECT SSD", "it is there", 0x9000).outcome(changed=False)
    assert (outcome.foreign, outcome.refused, outcome.changed) == (True, True, False)
