from pathlib import Path

import pytest

from kms.config.policy_files import load_policies
from kms.domain.cards import DomainKind
from kms.domain.policy_window import Weekday
from kms.errors import Code, KmsError

CONFIG = Path(__file__).resolve().parents[3] / "config" / "policies"
GOOD = """\
cryptoperiod_days = 365
lead_days = 30

[applies_to]
kind = "SSD"
aid_prefix = "A000000951"

[window]
weekdays = ["sat"]
from_hour = 22
to_hour = 4
"""


def find_faults(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(KmsError) as error:
        load_policies(path)
    assert error.value.code is Code.CONFIG_INVALID
    return [(fault.where.removeprefix(f"{path.parent}/"), fault.what) for fault in error.value.faults]


def test_a_file_becomes_a_policy(tmp_path: Path) -> None:
    path = tmp_path / "transit.toml"
    path.write_text("valid_from = 2026-01-01T00:00:00Z\n" + GOOD)
    [policy] = load_policies(path)
    assert (policy.name, policy.applies_to.kind, policy.cryptoperiod_days) == ("transit", DomainKind.SSD, 365)
    assert policy.applies_to.aid_prefix.hex() == "a000000951"
    assert (policy.window.weekdays, policy.window.from_hour, policy.window.to_hour) == ((Weekday.SATURDAY,), 22, 4)
    assert policy.valid_from is not None
    assert policy.notice_days == (30, 7, 1)


def test_the_policies_that_come_with_the_product_are_good() -> None:
    assert [policy.name for policy in load_policies(CONFIG)] == ["isd", "ssd"]


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("lead_days = 30", "lead_days = true", "ssd.toml:2: lead_days", "integer"),
        ("lead_days = 30", "lead_days = 400", "ssd.toml:2: lead_days", "shorter"),
        ("lead_days = 30", "", "ssd.toml:1: lead_days", "Missing"),
        ("lead_days = 30", "lead_days = 30\ncolour = 1", "ssd.toml:3: colour", "Unknown key"),
        ("lead_days = 30", 'lead_days = 30\nname = "x"', "ssd.toml:3: name", "named as its file"),
        ('kind = "SSD"', 'kind = "ssd"', "ssd.toml:5: applies_to.kind", "'ISD'"),
        ('kind = "SSD"', "", "ssd.toml:4: applies_to.kind", "Missing"),
        ('"A000000951"', '"A0000009"\nbatch = 1', "ssd.toml:7: applies_to.batch", "string"),
        ("from_hour = 22", "from_hour = 24", "ssd.toml:10: window.from_hour", "0 to 23"),
        ('["sat"]', '["sat", "sab"]', "ssd.toml:9: window.weekdays[1]", "'mon'"),
        ("cryptoperiod_days = 365", "cryptoperiod_days =", "ssd.toml", "Is not TOML"),
    ],
)
def test_a_fault_is_told_with_file_line_and_field(tmp_path: Path, old: str, new: str, where: str, what: str) -> None:
    path = tmp_path / "ssd.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    faults = find_faults(path)
    assert [fault[0] for fault in faults] == [where]
    assert what in faults[0][1]


def test_all_files_of_a_folder_are_checked_together(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(GOOD)
    (tmp_path / "two.toml").write_text(GOOD.replace('aid_prefix = "A000000951"', 'batch = "B7"'))
    (tmp_path / "three.toml").write_text("")
    faults = find_faults(tmp_path)
    names = {where.rpartition("/")[2].partition(":")[0] for where, _ in faults}
    assert names == {"one.toml", "three.toml"}
    assert any("With two" in what for _, what in faults)


def test_a_folder_without_policies_and_a_bad_name_are_told(tmp_path: Path) -> None:
    assert "no policy" in find_faults(tmp_path)[0][1]
    (tmp_path / "Big.toml").write_text(GOOD)
    assert "lower-case" in find_faults(tmp_path)[0][1]
