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
