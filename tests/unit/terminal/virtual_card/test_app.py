"""The command line: wrong values end with a clear message and code 2 before any reader is touched."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from terminal.virtual_card import KEY_TYPE_AES
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
        (["--scp03-i", "40"], "'00'"),
        (["--key-type", "rsa"], "'aes'"),
        (["--aes-key-form", "none"], "'either'"),
        (["--key-type", "aes", "--diversification", "emv", "--master-file", "x"], "does not make keys of this type"),
        (["--diversification", "kdf3", "--master-file", "x"], "does not make keys of this type"),
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


def test_the_line_names_every_protocol_that_the_card_speaks() -> None:
    aes = build_factory_state(key_type=KEY_TYPE_AES, scp02_i=None, scp03_i=0x70, kvn=0x30)
    assert describe(aes, "127.0.0.1", 35963).endswith(": ISD A000000151000000, SCP03 i=70, key versions 30")
    both = build_factory_state(scp03_i=0x01)
    assert describe(both, "127.0.0.1", 35963).endswith("SCP02 i=55, SCP03 i=01, key versions 01")


@pytest.mark.parametrize(
    ("key_type", "length", "is_taken"), [("des", 32, False), ("aes", 32, True), ("aes", 20, False)]
)
def test_sizes_of_keys_by_their_type(tmp_path: Path, key_type: str, length: int, is_taken: bool) -> None:
    path = tmp_path / "keys"
    path.write_text("42" * length + "\n", encoding="ascii")
    # Port 1 has no reader: a card that could be made ends there, with another code than a wrong value.
    arguments = ["--key-type", key_type, "--keys-file", str(path), "--port", "1"]
    assert CliRunner().invoke(virtual_card, arguments).exit_code == (1 if is_taken else 2)
