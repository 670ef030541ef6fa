import pytest

from kms.card.status import INS_INITIALIZE_UPDATE, INS_PUT_KEY, StatusWord, describe_status


def test_a_status_word_is_told_with_its_meaning() -> None:
    assert describe_status(0x6A88) == "6A88 (referenced data not found)"
    assert describe_status(StatusWord.OK) == "9000 (done)"


def test_the_meaning_depends_on_the_command() -> None:
    assert describe_status(0x6A88, INS_INITIALIZE_UPDATE) == "6A88 (no such key version on the card)"
    assert "outcome unknown" in describe_status(0x6581)
    assert "unknown whether the keys were loaded" in describe_status(0x6581, INS_PUT_KEY)


def test_a_command_without_a_meaning_of_its_own_gives_the_general_one() -> None:
    assert describe_status(0x6E00, INS_PUT_KEY) == "6E00 (class not supported)"


@pytest.mark.parametrize(
    ("sw", "words"),
    [
        (0x6110, "16 more"),
        (0x6100, "256 more"),
        (0x6C05, "wrong Le, 5 bytes"),
        (0x63C2, "2 attempts left"),
        (0x6999, "unknown status word"),
    ],
)
def test_status_words_outside_the_list_are_told_too(sw: int, words: str) -> None:
    assert words in describe_status(sw)
