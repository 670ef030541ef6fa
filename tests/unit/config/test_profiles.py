from pathlib import Path

from kms.config.profiles import load_profiles
from tests.unit.config.conftest import WriteConfig


def _load(folder: Path) -> dict[str, str]:
    _, faults = load_profiles(folder)
    return {fault.where.removeprefix(f"{folder}/"): fault.what for fault in faults}


def test_a_profile_is_named_after_its_file_and_reads_hex(write_config: WriteConfig) -> None:
    folder = write_config().parent / "profiles"
    profiles, faults = load_profiles(folder)
    assert not faults
    assert profiles["plain"].name == "plain"
    assert profiles["plain"].ssd_load_file_aid == bytes.fromhex("A0000001515350")


def test_another_name_is_refused(write_config: WriteConfig) -> None:
    folder = write_config(profile='name = "other"\n').parent / "profiles"
    assert _load(folder) == {"plain.toml: name": "Must be the file's own name, plain"}


def test_unknown_fields_and_wrong_types_are_named(write_config: WriteConfig) -> None:
    folder = write_config(profile='colour = 1\nkvn_start_scp02 = "32"\nssd_module_aid = "XY"\n').parent / "profiles"
    assert _load(folder).keys() == {"plain.toml: colour", "plain.toml: kvn_start_scp02", "plain.toml: ssd_module_aid"}


def test_the_profile_s_own_rules_are_told_with_their_field(write_config: WriteConfig) -> None:
    folder = write_config(profile="kvn_start_scp02 = 0\nsecurity_level = 2\n").parent / "profiles"
    assert _load(folder).keys() == {"plain.toml: kvn_start_scp02", "plain.toml: security_level"}
