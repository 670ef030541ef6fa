"""Ceremony files: whole and true, or refused with every fault's line and field."""

from pathlib import Path

import pytest

from kms.config.ceremony_files import find_script, load_script, load_scripts
from kms.errors import Code, KmsError

SCRIPTS = Path(__file__).resolve().parents[3] / "config" / "ceremonies"
GOOD = (SCRIPTS / "import-vendor-master.toml").read_text()


def test_the_files_of_the_product_are_whole() -> None:
    assert len(load_scripts(SCRIPTS)) == 15


def find_faults(folder: Path, text: str) -> list[tuple[str, str]]:
    file = folder / "a-ceremony.toml"
    file.write_text(text)
    with pytest.raises(KmsError) as caught:
        load_script(file)
    assert caught.value.code is Code.CONFIG_INVALID
    return [(fault.where.removeprefix(f"{file}:"), fault.what) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("quorum = 2", "quorum = 1", "quorum"),
        ("quorum = 2", "quorum = 3", "quorum"),
        ("minutes = 240", "minutes = 1", "minutes"),
        ('kind = "vendor"', 'kind = "ssd"', "key.kind"),
        ("components = 3", "components = 6", "key.components"),
        ("component = 2", "component = 3", "steps"),
        ('role = "key-custodian"', 'role = "security-officer"', "steps[2].role"),
        ('do = "combine"', 'do = "note"', "steps"),
        ("people = 2", "people = 1", "steps[0].people"),
        ("people = 2", "persons = 2", "steps[0].persons"),
    ],
)
def test_fault_is_told_with_its_line(tmp_path: Path, old: str, new: str, field: str) -> None:
    text = GOOD.replace(old, new, 1)
    faults = find_faults(tmp_path, text)
    where = next(place for place, _ in faults if place.endswith(f": {field}"))
    line = int(where.split(":")[0])
    assert 1 <= line <= len(text.splitlines())
    if field != "steps":
        assert text.splitlines()[line - 1].split(" =")[0] in {field.rpartition(".")[2], "[[steps]]", "[key]"}


def test_what_is_no_script_is_refused(tmp_path: Path) -> None:
    assert find_faults(tmp_path, "not = [TOML")
    assert find_faults(tmp_path, "")


def test_a_name_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside.toml").write_text(GOOD)
    (tmp_path / "inside").mkdir()
    with pytest.raises(KmsError, match=f"^{Code.NOT_FOUND}: "):
        find_script(tmp_path / "inside", "../outside")
