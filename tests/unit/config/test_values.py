import pytest

from kms.config import load_config
from tests.unit.config.conftest import WriteConfig, find_faults


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('name = "issuer"', 'name = "Issuer 1"', "platform.name", "pattern"),
        ('role = "issuer"', 'role = "bank"', "platform.role", "'provider'"),
        ('mode = "lab"', "", "platform.mode", "Missing"),
        ('mode = "lab"', 'mode = "lab"\ncolour = 1', "platform.colour", "Unknown key"),
        ("sqlite:///var/kms.db", "mysql://x", "database.url", "Must begin with"),
        ("sqlite:///var/kms.db", "sqlite:///:memory:", "database.url", "Must name a file"),
        ('pin_file = "var/hsm.pin"', 'pin = "4711"', "hsm.pin", "Unknown key"),
        ('"issuer"\npin_file', '"issuer"\ncall_timeout_s = 0\npin_file', "hsm.call_timeout_s", "greater than 0"),
        ("8443", '"8443"', "server.port", "integer"),
        ("8443", "65536", "server.port", "65535"),
        ("8443", "true", "server.port", "integer"),
        ("[[applications]]", "[keys]\nmaster_valid_days = 0\n[[applications]]", "keys.master_valid_days", "greater"),
        ('"A000000951000101"', '"A0000009"', "applications[0].aid", "at least 5"),
        ('"A000000951000101"', f'"{"A0" * 17}"', "applications[0].aid", "at most 16"),
        ('"A000000951000101"', '"A00000095100010"', "applications[0].aid", "hex"),
        ('"80"', '"00"', "applications[0].privileges", "security domain"),
        ('"80"', '"8000"', "applications[0].privileges", "1 or 3 bytes"),
        ('"80"', '"80"\nmanaged_by = "bank"', "applications[0].managed_by", "'issuer'"),
    ],
)
def test_each_fault_is_named_with_its_field(
    write_config: WriteConfig, old: str, new: str, where: str, what: str
) -> None:
    faults = find_faults(write_config((old, new)))
    assert what in faults[where]
    assert len(faults) <= 2  # a PIN in the file is also a missing pin_file
    assert not any("4711" in text for text in faults.values())


def test_no_repr_shows_the_database_password(write_config: WriteConfig) -> None:
    path = write_config(("sqlite:///var/kms.db", "postgresql+psycopg://kms:swordfish@db/kms"))
    assert "swordfish" not in repr(load_config(path))


@pytest.mark.parametrize("url", ["postgresql://kms@db/kms", "postgresql+psycopg://kms@/kms?host=/run/postgresql"])
def test_both_ways_to_name_postgresql(write_config: WriteConfig, url: str) -> None:
    assert load_config(write_config(("sqlite:///var/kms.db", url))).database.url == url


@pytest.mark.parametrize("url", ["postgres://kms@db/kms", "postgresql+asyncpg://kms@db/kms"])
def test_other_drivers_are_refused(write_config: WriteConfig, url: str) -> None:
    faults = find_faults(write_config(("sqlite:///var/kms.db", url)))
    assert "sqlite:/// or postgresql://" in faults["database.url"]
