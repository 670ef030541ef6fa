from pathlib import Path

import pytest

from kms.card.keys import DerivationPurpose, KeyType
from kms.config import PlatformMode, load_config
from kms.errors import Code, KmsError
from tests.unit.config.conftest import WriteConfig


def _faults(path: Path) -> dict[str, str]:
    with pytest.raises(KmsError) as caught:
        load_config(path)
    assert caught.value.code is Code.CONFIG_INVALID
    return {fault.where.removeprefix(f"{path}: "): fault.what for fault in caught.value.faults}


def test_a_good_file_becomes_values(write_config: WriteConfig, tmp_path: Path) -> None:
    config = load_config(write_config())
    assert config.platform.name == "issuer"
    assert config.platform.mode is PlatformMode.LAB
    assert config.visits.deadline_seconds == 300
    assert config.keys.cryptoperiod_days[DerivationPurpose.SSD_INITIAL] == 90
    entry = config.applications[0]
    assert (entry.aid.hex(), entry.privileges, entry.key_type) == ("a000000951000101", b"\x80", KeyType.DES2)
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


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('name = "issuer"', 'name = "Issuer 1"', "platform.name", "pattern"),
        ('role = "issuer"', 'role = "bank"', "platform.role", "'provider'"),
        ('mode = "lab"', "", "platform.mode", "Missing"),
        ('mode = "lab"', 'mode = "lab"\ncolour = 1', "platform.colour", "Unknown key"),
        ("sqlite:///var/kms.db", "mysql://x", "database.url", "Must begin with"),
        ("sqlite:///var/kms.db", "sqlite:///:memory:", "database.url", "Must name a file"),
        ('pin_file = "var/hsm.pin"', "", "hsm.pin_file", "exactly one"),
        ('pin_file = "var/hsm.pin"', 'pin_file = "a"\npin_env = "PIN"', "hsm.pin_file", "exactly one"),
        ('pin_file = "var/hsm.pin"', 'pin = "4711"', "hsm.pin", "Unknown key"),
        ('"issuer"\npin_file', '"issuer"\ncall_timeout_s = 0\npin_file', "hsm.call_timeout_s", "greater than 0"),
        ("8443", '"8443"', "server.port", "integer"),
        ("8443", "65536", "server.port", "65535"),
        ("8443", "true", "server.port", "integer"),
        ("ssd = 365", "", "keys.cryptoperiod_days.ssd", "Missing"),
        ("ssd = 365", "ssd = 365\nssh = 1", "keys.cryptoperiod_days.ssh", "'ssd-initial'"),
        ("[keys.c", "[keys]\nsecurity = 2\n[keys.c", "keys.security", "3"),
        ('"A000000951000101"', '"A0000009"', "applications[0].aid", "at least 5"),
        ('"A000000951000101"', f'"{"A0" * 17}"', "applications[0].aid", "at most 16"),
        ('"A000000951000101"', '"A00000095100010"', "applications[0].aid", "hex"),
        ('"A000000951000101"', '"A0000009510001"', "applications[0].ssd_aid", "different AIDs"),
        ('"80"', '"00"', "applications[0].privileges", "security domain"),
        ('"80"', '"8000"', "applications[0].privileges", "1 or 3 bytes"),
        ('"80"', '"80"\nmanaged_by = "provider"', "applications[0].managed_by", "'issuer'"),
        ('"80"', '"80"\nkey_type = "DES"', "applications[0].key_type", "'DES2'"),
        ('"profiles"', '"nowhere"', "folder", "is not there"),
        ("[platform]", "[platform", "file", "Is not TOML"),
    ],
)
def test_each_fault_is_named_with_its_field(
    write_config: WriteConfig, old: str, new: str, where: str, what: str
) -> None:
    path = write_config((old, new))
    faults = _faults(path)
    named = {"folder": str(path.parent / "nowhere"), "file": str(path)}.get(where, where)
    assert what in faults[named]
    assert len(faults) <= 2  # a PIN in the file is also a missing pin_file
    assert not any("4711" in text for text in faults.values())


def test_every_fault_shows_at_once(write_config: WriteConfig) -> None:
    path = write_config(
        ('mode = "lab"', 'mode = "production"'),
        ('token_label = "issuer"', "allow_transient_plaintext = true"),
        ("8443", '"x"'),
        profile="kvn_start_scp02 = 0\ncolour = 1\n",
    )
    faults = _faults(path)
    assert {"hsm.allow_transient_plaintext", "hsm.token_label", "server.port"} <= faults.keys()
    assert any("plain.toml: colour" in where for where in faults)


def test_an_application_stands_once_in_the_catalogue(write_config: WriteConfig) -> None:
    path = write_config()
    again = (
        '[[applications]]\nname = "Again"\naid = "a000000951000101"\nssd_aid = "A0000009510002"\nprivileges = "80"\n'
    )
    path.write_text(path.read_text() + again)
    assert "same as that of applications[0]" in _faults(path)["applications[1].aid"]


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert _faults(path) == {str(path): "Cannot be read: No such file or directory"}


def test_an_empty_file_names_every_missing_section(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    assert _faults(path).keys() == {"platform", "database", "hsm", "server", "cards", "keys"}


def test_no_repr_shows_the_database_password(write_config: WriteConfig) -> None:
    path = write_config(("sqlite:///var/kms.db", "postgresql+psycopg://kms:swordfish@db/kms"))
    assert "swordfish" not in repr(load_config(path))


def test_the_shipped_file_is_good() -> None:
    config = load_config(Path(__file__).parents[3] / "config" / "issuer.toml")
    assert len(config.applications) == 2
    assert config.hsm.pin_file == Path(__file__).parents[3] / "var" / "issuer" / "hsm.pin"
    assert "default" in config.profiles
