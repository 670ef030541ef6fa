"""The error that crosses boundaries."""

import re

import pytest

from kms.errors import Code, Fault, KmsError


def test_an_error_tells_its_code_and_what_to_do() -> None:
    error = KmsError(Code.CARD_UNKNOWN, "this card is not enrolled; import its manufacturer's file")
    assert str(error) == "card.unknown: this card is not enrolled; import its manufacturer's file"
    assert error.code is Code.CARD_UNKNOWN
    assert error.faults == ()


def test_all_faults_of_an_input_travel_together() -> None:
    faults = (Fault("line 2", "is not hex"), Fault("line 7", "has 9 bytes; 10 are needed"))
    with pytest.raises(KmsError) as caught:
        raise KmsError(Code.INPUT_INVALID, "the file has 2 faults", faults=faults)
    assert caught.value.faults == faults


@pytest.mark.parametrize("code", list(Code))
def test_codes_are_noun_and_condition(code: Code) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+(-[a-z]+)*", code)
