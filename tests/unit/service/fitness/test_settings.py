from collections.abc import Callable
from pathlib import Path

import pytest

from kms.config import load_config
from kms.domain.fitness import Finding, Severity
from kms.service.fitness.settings import find_setting_findings
from tests.unit.config.conftest import PROFILE, TEXT
from tests.unit.config.peer_texts import ISSUER_PEER, RANGE

FIT = (
    TEXT.replace('"lab"', '"production"')
    .replace("sqlite:///var/kms.db", "postgresql://kms@db/kms")
    .replace('pin_file = "var/hsm.pin"', 'pin_file = "var/hsm.pin"\nallowed_tokens = ["Maker:Model 7:0123"]')
    .replace("[[applications]]", "{more}[[applications]]", 1)
)
CONSOLE = '[console]\norigin = "https://kms.example"\n'
AUDIT = "[audit]\nsyslog = true\n"
RECOVERY = '[recovery]\nanchor_file = "anchor"\n'
CEREMONIES = '[ceremonies]\nfolder = "ceremonies"\n'
OTHER = 'module = "/usr/lib/hsm.so"\ntoken_label = "{label}"\npin_file = "var/hsm.pin"\n'
SECOND = "[ceremonies.recovery_hsm]\n" + OTHER.format(label="recovery") + 'allowed_tokens = ["Maker:Model 7:9"]\n'
ALL = CONSOLE + AUDIT + RECOVERY + CEREMONIES + SECOND

Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Hold a configuration against the rules: `look((old, new), ..., pin=, development=)` gives what was found."""

    def find(
        *changes: tuple[str, str],
        text: str = FIT.replace("{more}", ALL),
        pin: str = "f7Q-2xk9",
        development: str = "none",
    ) -> dict[str, Finding]:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        for folder in ("profiles", "ceremonies", "var"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "profiles" / "plain.toml").write_text(PROFILE)
        (tmp_path / "kms.toml").write_text(text)
        (tmp_path / "var" / "hsm.pin").touch(mode=0o600)
        (tmp_path / "var" / "hsm.pin").write_text(pin)
        config = load_config(tmp_path / "kms.toml")
        return {item.where: item for item in find_setting_findings(config, lambda path: path.name == development)}

    return find


def test_nothing_is_said_of_a_site_that_is_fit(look: Look) -> None:
    assert look() == {}


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"production"', '"lab"', "platform.mode"),
        ('allowed_tokens = ["Maker:Model 7:0123"]\n', "", "hsm.allowed_tokens"),
        ("postgresql://kms@db/kms", "sqlite:///var/kms.db", "database.url"),
        ("postgresql://kms@db/kms", "postgresql://kms:Postgres@db/kms", "database.url"),
        ("postgresql://kms@db/kms", "postgresql://alice:alice@db/kms", "database.url"),
        ("https://kms.example", "https://localhost:8444", "console.origin"),
        (CONSOLE, "", "console.origin"),
        (AUDIT, "", "audit"),
        ("[audit]", "[scheduler]\nrequire_synchronised_clock = false\n[audit]", "scheduler.require_synchronised_clock"),
        ('allowed_tokens = ["Maker:Model 7:9"]\n', "", "ceremonies.recovery_hsm.allowed_tokens"),
    ],
)
def test_each_setting_of_a_lab_is_refused_by_its_name(look: Look, old: str, new: str, where: str) -> None:
    found = look((old, new))
    assert set(found) == {where}
    assert all(item.severity is Severity.REFUSED for item in found.values())


def test_reading_keys_for_wrapping_is_refused(look: Look) -> None:
    allow = ('token_label = "issuer"\n', 'token_label = "issuer"\nallow_transient_plaintext = true\n')
    assert set(look(('"production"', '"lab"'), allow)) == {"platform.mode", "hsm.allow_transient_plaintext"}


def test_an_origin_without_https_is_refused(look: Look) -> None:
    found = look(('"production"', '"lab"'), ("https://kms.example", "http://localhost:8444"))
    assert set(found) == {"platform.mode", "console.origin"}


@pytest.mark.parametrize(("old", "where"), [(RECOVERY, "recovery.anchor_file"), (SECOND, "ceremonies.recovery_hsm")])
def test_what_a_site_may_decide_is_a_weakness(look: Look, old: str, where: str) -> None:
    assert {name: item.severity for name, item in look((old, "")).items()} == {where: Severity.WEAKNESS}


def test_an_anchor_in_a_file_or_in_syslog_is_enough(look: Look) -> None:
    assert look(("syslog = true", 'anchor_file = "audit"')) == {}


def test_a_clock_that_must_be_synchronised_is_right(look: Look) -> None:
    assert look(("[audit]", "[scheduler]\nrequire_synchronised_clock = true\n[audit]")) == {}


@pytest.mark.parametrize("pin", ["1234", "12345678", "UserPIN", "issuer"])
def test_a_pin_that_everybody_tries_is_refused_and_not_shown(look: Look, pin: str) -> None:
    found = look(pin=f"{pin}\n")
    assert set(found) == {"hsm.pin_file"}
    assert pin not in f"{found['hsm.pin_file']}".replace("hsm.pin_file", "")


@pytest.mark.parametrize("section", ["rehearsal_hsm", "recovery_hsm"])
def test_another_token_must_be_another_one(look: Look, section: str) -> None:
    same = OTHER.format(label="issuer").replace("/usr/lib/hsm.so", "/usr/lib/softhsm/libsofthsm2.so")
    text = FIT.replace("{more}", CONSOLE + AUDIT + RECOVERY + CEREMONIES + f"[ceremonies.{section}]\n{same}")
    assert f"ceremonies.{section}.token_label" in look(text=text)


@pytest.mark.parametrize(
    ("file", "where"),
    [
        ("ca.pem", "server.client_ca"),
        ("server.pem", "server.certificate"),
        ("console.pem", "console.certificate"),
        ("bank-ca.pem", "peers.bank.ca"),
        ("us.pem", "peers.bank.client_certificate"),
    ],
)
def test_what_a_development_authority_made_is_refused(look: Look, file: str, where: str) -> None:
    given = CONSOLE + 'certificate = "console.pem"\nprivate_key = "console.key"\n'
    text = FIT.replace("{more}", ALL.replace(CONSOLE, given)).replace('role = "issuer"\n', 'role = "both"\n', 1)
    assert set(look(text=text + ISSUER_PEER + RANGE, development=file)) == {where}


def test_a_file_that_is_away_is_for_its_program_to_tell(tmp_path: Path, look: Look) -> None:
    look()

    def read(path: Path) -> bool:
        raise FileNotFoundError(path)

    assert list(find_setting_findings(load_config(tmp_path / "kms.toml"), read)) == []
