from datetime import date
from pathlib import Path

from kms.config.faults import build_json, read_toml
from kms.errors import Fault


def test_bytes_that_are_no_text_are_one_fault(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b'a = "\xff"')
    assert read_toml(path) == Fault(str(path), "Is not UTF-8 text")


def test_good_toml_comes_back_as_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[a]\nb = 0x20\n")
    assert read_toml(path) == {"a": {"b": 32}}


def test_a_toml_date_survives_as_text() -> None:
    assert build_json({"day": date(2026, 1, 2)}) == '{"day": "2026-01-02"}'
