"""The command line: wrong values end with a clear message and code 2 before any reader is touched."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from terminal.virtual_card.app import describe, virtual_card
from terminal.virtual_card.personality import build_factory_state

KEY_LINE = "404142434445464748494A4B4C4D4E4F\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--isd-aid", "A0"], "5 to 16 bytes"),
        (["--isd-aid", "A00"], "hexadecimal"),
        (["--kvn", "00"], "01 to 7F"),
        (["--kvn", "80"], "01 to 7F"),
        (["--kvn", "0101"], "1 bytes"),
        (["--scp02-i", "1A"], "'15'"),
        (["--kdd", "0001"], "10 bytes"),
        (["--cplc", "00"], "42 bytes"),
        (["--protocol", "T2"], "'T0'"),
        (["--port", "0"], "port"),
        (["--tear-at", "zero"], "number of an APDU"),
        (["--tear-during", "SELECT"], "PUT-KEY"),
        (["--tear-at", "1", "--tear-during", "PUT-KEY"], "not both"),
        (["--diversification", "emv"], "--master-file"),
        (["--diversification", "kdf9", "--master-file", "x"], "'visa2'"),
        (["--keys-file", "/nonexistent/keys"], "cannot read keys"),
        (["--max-key-sets", "0"], "max-key-sets"),
    ],
)
def test_wrong_values(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(virtual_card, arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--keys-file", "", "16 bytes"),
        ("--keys-file", KEY_LINE[:-3], "16 bytes"),
        ("--keys-file", KEY_LINE * 2, "one key, or three"),
        ("--keys-file", "not hexadecimal", "hexadecimal"),
        ("--master-file", KEY_LINE * 3, "one key"),
    ],
)
def test_wrong_key_files(tmp_path: Path, option: str, content: str, message: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content, encoding="ascii")
    result = CliRunner().invoke(virtual_card, [option, str(path)])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "4041" not in result.output


def test_both_key_sources_are_one_too_many(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(KEY_LINE, encoding="ascii")
    result = CliRunner().invoke(virtual_card, ["--keys-file", str(path), "--master-file", str(path)])
    assert result.exit_code == 2
    assert "not both" in result.output


def test_a_broken_state_file_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text("{}", encoding="ascii")
    result = CliRunner().invoke(virtual_card, ["--state", str(path)])
    assert result.exit_code == 1
    assert "card.json" in result.output
    assert path.read_text(encoding="ascii") == "{}"


def test_the_line_that_names_the_card_holds_no_key() -> None:
    line = describe(build_factory_state(kvn=0xFF), "127.0.0.1", 35963)
    assert line == "virtual card in reader 127.0.0.1:35963: ISD A000000151000000, SCP02 i=55, key versions FF"
