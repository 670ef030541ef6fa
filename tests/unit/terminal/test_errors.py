"""The terminal's error type."""

from pathlib import Path

from terminal.errors import TerminalCode, TerminalError, card_gone


def test_an_error_says_what_is_wrong_and_what_to_do() -> None:
    error = TerminalError(TerminalCode.READER_NONE, "There is no reader.", "Plug one in.")
    assert str(error) == "reader.none: There is no reader. Plug one in."


def test_codes_are_unique_and_in_two_parts() -> None:
    assert len({code.value for code in TerminalCode}) == len(TerminalCode)
    assert all(len(code.value.split(".")) == 2 for code in TerminalCode)


def test_a_card_that_is_gone_tells_to_present_it_again() -> None:
    assert "again" in card_gone().remedy


def test_every_code_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "terminal-errors.md").read_text(encoding="utf-8")
    documented = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert documented == {code.value for code in TerminalCode}
