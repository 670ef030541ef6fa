from pathlib import Path

from kms.config import load_config
from kms.config.digest import compute_digest
from tests.unit.config.conftest import WriteConfig


def test_any_change_of_the_file_or_a_profile_shows(write_config: WriteConfig) -> None:
    path = write_config()
    config = load_config(path)
    before = compute_digest(config)
    assert compute_digest(config) == before
    path.write_text(f"{path.read_text()}# a remark\n")
    remarked = compute_digest(config)
    profile = next(Path(config.cards.profiles_dir).glob("*.toml"))
    profile.write_text(f"{profile.read_text()}# a remark\n")
    assert len({before, remarked, compute_digest(config)}) == 3
