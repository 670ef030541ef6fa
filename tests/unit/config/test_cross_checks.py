import pytest

from kms.config import load_config
from tests.unit.config.conftest import WriteConfig, find_faults


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('pin_file = "var/hsm.pin"', "", "hsm.pin_file", "exactly one"),
        ('pin_file = "var/hsm.pin"', 'pin_file = "a"\npin_env = "PIN"', "hsm.pin_file", "exactly one"),
        ('"A000000951000101"', '"A0000009510001"', "applications[0].ssd_aid", "different AIDs"),
    ],
)
def test_fields_that_do_not_fit_together_are_named(
    write_config: WriteConfig, old: str, new: str, where: str, what: str
) -> None:
    faults = find_faults(write_config((old, new)))
    assert what in faults[where]
    assert len(faults) == 1


@pytest.mark.parametrize(
    ("section", "where", "what"),
    [
        ('origin = "https://kms.example"\ncertificate = "a.pem"', "console.private_key", "or neither"),
        ('origin = "https://kms.example"\nrp_id = "ms.example"', "console.rp_id", "domain above it"),
        ('origin = "https://kms.example/login"', "console.origin", "pattern"),
        ('origin = "http://kms.example"', "console.origin", "pattern"),
    ],
)
def test_a_console_that_security_keys_could_not_answer_for_is_refused(
    write_config: WriteConfig, section: str, where: str, what: str
) -> None:
    faults = find_faults(write_config(("[cards]", f"[console]\n{section}\n\n[cards]")))
    assert what in faults[where]
    assert len(faults) == 1


def test_security_keys_are_registered_for_the_origins_host_or_a_domain_above_it(write_config: WriteConfig) -> None:
    origin = '[console]\norigin = "https://kms.bank.example:8445"\n'
    assert load_config(write_config(("[cards]", f"{origin}[cards]"))).console.site == "kms.bank.example"
    above = f'{origin}rp_id = "bank.example"\n'
    assert load_config(write_config(("[cards]", f"{above}[cards]"))).console.site == "bank.example"


def test_production_asks_for_https(write_config: WriteConfig) -> None:
    console = ("[cards]", '[console]\norigin = "http://localhost:8445"\n[cards]')
    assert load_config(write_config(console)).console.site == "localhost"
    faults = find_faults(write_config(console, ('mode = "lab"', 'mode = "production"')))
    assert faults.keys() == {"console.origin"}


def test_production_refuses_keys_that_leave_the_token(write_config: WriteConfig) -> None:
    transient = ('token_label = "issuer"', 'token_label = "issuer"\nallow_transient_plaintext = true')
    assert load_config(write_config(transient)).hsm.allow_transient_plaintext
    faults = find_faults(write_config(transient, ('mode = "lab"', 'mode = "production"')))
    assert faults.keys() == {"hsm.allow_transient_plaintext"}


def test_an_application_stands_once_in_the_catalogue(write_config: WriteConfig) -> None:
    path = write_config()
    again = (
        '[[applications]]\nname = "Again"\naid = "a000000951000101"\nssd_aid = "A0000009510002"\nprivileges = "80"\n'
    )
    path.write_text(path.read_text() + again)
    assert "same as that of applications[0]" in find_faults(path)["applications[1].aid"]
