from pathlib import Path

from kms.config import PlatformMode, load_config
from tests.unit.config.conftest import WriteConfig, find_faults


def test_a_good_file_becomes_values(write_config: WriteConfig, tmp_path: Path) -> None:
    config = load_config(write_config())
    assert config.platform.name == "issuer"
    assert config.platform.mode is PlatformMode.LAB
    assert config.visits.deadline_seconds == 300
    assert config.keys.master_valid_days == 365
    entry = config.applications[0]
    assert (entry.aid.hex(), entry.privileges) == ("a000000951000101", b"\x80")
    assert config.profiles["plain"].kvn_start_scp02 == 0x21
    assert config.server.certificate == tmp_path / "server.pem"
    assert config.database.url == f"sqlite:///{tmp_path}/var/kms.db"


def test_relative_paths_start_at_base_dir(write_config: WriteConfig, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "profiles").mkdir()
    path = write_config(("[platform]", 'base_dir = "sub"\n[platform]'))
    assert load_config(path).server.certificate == tmp_path / "sub" / "server.pem"


def test_absolute_paths_stay(write_config: WriteConfig) -> None:
    path = write_config(('"server.pem"', '"/etc/kms/server.pem"'), ("sqlite:///var", "sqlite:////var"))
    config = load_config(path)
    assert config.server.certificate == Path("/etc/kms/server.pem")
    assert config.database.url == "sqlite:////var/kms.db"


def test_every_fault_shows_at_once(write_config: WriteConfig) -> None:
    path = write_config(
        ('mode = "lab"', 'mode = "production"'),
        ('token_label = "issuer"', "allow_transient_plaintext = true"),
        ("8443", '"x"'),
        profile="kvn_start_scp02 = 0\ncolour = 1\n",
    )
    faults = find_faults(path)
    assert {"hsm.allow_transient_plaintext", "hsm.token_label", "server.port"} <= faults.keys()
    assert any("plain.toml: colour" in where for where in faults)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert find_faults(path) == {str(path): "Cannot be read: No such file or directory"}


def test_text_that_is_no_toml_says_where(write_config: WriteConfig) -> None:
    path = write_config(("[platform]", "[platform"))
    assert "Is not TOML" in find_faults(path)[str(path)]


def test_a_missing_folder_of_profiles_is_named(write_config: WriteConfig) -> None:
    path = write_config(('"profiles"', '"nowhere"'))
    assert find_faults(path) == {str(path.parent / "nowhere"): "The folder of card profiles is not there"}


def test_an_empty_file_names_every_missing_section(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    assert find_faults(path).keys() == {"platform", "database", "hsm", "server", "cards"}


def test_the_shipped_file_is_good() -> None:
    config = load_config(Path(__file__).parents[3] / "config" / "issuer.toml")
    assert len(config.applications) == 2
    assert config.hsm.pin_file == Path(__file__).parents[3] / "var" / "issuer" / "hsm.pin"
    assert "default" in config.profiles
