"""The first people and those they add, on a real token and database, with the real argon2 and WebAuthn."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from kms.bootstrap import Platform, open_platform
from kms.bootstrap_console import open_actions, open_requests
from kms.config import load_config
from kms.domain.permissions import Action
from kms.domain.requests import RequestState
from kms.errors import Code, KmsError
from kms.service.login import Opened
from tests.fakes.installation import Installation, RealToken, build_installation
from tests.fakes.login_scene import PASSWORD, App
from tests.fakes.security_key import SoftwareSecurityKey
from tests.functional.site_database import make_database

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
SETUP = Path(__file__).resolve().parents[2] / "softhsm" / "setup_token.py"
ORIGIN = "http://localhost:8445"
FIRST = ("--administrator", "adam=Adam Admin", "--officer", "alice=Alice Officer", "--officer", "bob=Bob Officer")


@pytest.fixture
def site(tmp_path: Path) -> Installation:
    if not Path(LIBRARY).exists():
        pytest.skip("SoftHSM2 is not installed: apt-get install softhsm2")
    pin_file = tmp_path / "pin"
    command = [sys.executable, str(SETUP), "--dir", str(tmp_path), "--label", "issuer", "--pin-file", str(pin_file)]
    subprocess.run([*command, "--so-pin-file", str(tmp_path / "so-pin")], check=True, capture_output=True)
    token = RealToken(LIBRARY, pin_file, tmp_path / "softhsm2.conf")
    site = build_installation(tmp_path, make_database(tmp_path, "issuer").url, token=token)
    assert site.run("db", "upgrade").exit_code == 0
    return site


@pytest.fixture
def invitations(site: Installation) -> dict[str, str]:
    """The first people's secrets by login."""
    return {row["login"]: row["secret"] for row in read(site.run("officers", "init", *FIRST, "--json"))}


@pytest.fixture
def platform(site: Installation) -> Iterator[Platform]:
    opened = open_platform(load_config(site.config))
    yield opened
    opened.vault.close()
    opened.store.dispose()


def read(result: Result) -> Any:  # noqa: ANN401 - whatever the command shows
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def enrol_key(platform: Platform, secret: str) -> SoftwareSecurityKey:
    key = SoftwareSecurityKey(ORIGIN)
    answer = key.create(platform.enrolment.begin(secret).options)
    platform.enrolment.finish(secret, PASSWORD, {"webauthn": answer})
    return key


def enrol_app(platform: Platform, secret: str, ago: timedelta = timedelta()) -> App:
    """`ago`: how old the code is by which the app is enrolled, so that a newer one is left."""
    app = App(base64.b32decode(platform.enrolment.begin(secret).totp.text))
    platform.enrolment.finish(secret, PASSWORD, {"totp": app.show(datetime.now(UTC) - ago)})
    return app


def log_in_by_key(platform: Platform, login: str, key: SoftwareSecurityKey) -> Opened:
    step = platform.logins.begin(login, PASSWORD)
    assert step.options is not None
    return platform.logins.finish(step.secret, {"webauthn": key.get(step.options)})


def log_in_by_app(platform: Platform, login: str, app: App) -> Opened:
    soon = datetime.now(UTC) + timedelta(seconds=30)  # the next code, which is taken too: this one was used to enrol
    return platform.logins.login(login, PASSWORD, {"totp": app.show(soon)})


def test_the_first_people_are_added_at_the_servers_console_and_once(
    site: Installation, invitations: dict[str, str]
) -> None:
    assert set(invitations) == {"adam", "alice", "bob"}
    rows = read(site.run("officers", "list", "--json"))
    assert [(row["login"], row["roles"], row["account"]) for row in rows] == [
        ("adam", "administrator", "INVITED"),
        ("alice", "security-officer", "INVITED"),
        ("bob", "security-officer", "INVITED"),
    ]
    again = site.run("officers", "init", *FIRST, "--json")
    assert again.exit_code == 1
    assert json.loads(again.stderr)["code"] == Code.CONFLICT
    keys = read(site.run("keys", "list", "--json"))
    assert [(key["name"], key["kind"], key["state"]) for key in keys] == [("issuer-login", "login", "ACTIVE")]
    report = read(site.run("hsm", "objects", "--json"))
    assert [(row["name"], row["result"]) for row in report["expected"]] == [("issuer-login-1", "as it was made")]
    assert report["unexpected"] == []


def test_a_file_of_people_is_taken_whole_or_not_at_all(site: Installation, tmp_path: Path) -> None:
    path = tmp_path / "people.toml"
    one = '[[people]]\nname = "{0} Person"\nlogin = "{0}"\nroles = ["{1}"]\n'
    path.write_text(one.format("adam", "administrator") + one.format("alice", "security-officer"))
    refused = site.run("officers", "init", "--people", str(path))
    assert refused.exit_code == 1
    assert "2 security officers" in refused.stderr
    assert read(site.run("officers", "list", "--json")) == []
    path.write_text(path.read_text() + one.format("bob", "security-officer"))
    assert "Invitations, shown this once" in site.run("officers", "init", "--people", str(path)).stdout


def test_an_administrator_asks_an_officer_approves_and_the_new_person_logs_in(
    site: Installation, invitations: dict[str, str], platform: Platform
) -> None:
    adams, alices = enrol_app(platform, invitations["adam"]), enrol_key(platform, invitations["alice"])
    adam, alice = log_in_by_app(platform, "adam", adams), log_in_by_key(platform, "alice", alices)
    actions, requests = open_actions(platform), open_requests(platform, platform.logins)
    carol = {"name": "Carol Custodian", "login": "carol", "roles": ["key-custodian"]}
    request = actions.submit(adam.principal, Action.PEOPLE_ADD, carol).request
    assert request is not None
    other = {"webauthn": alices.get(platform.logins.build_approval_options(alice.principal, bytes(32)) or {})}
    with pytest.raises(KmsError, match=f"^{Code.LOGIN_REFUSED}"):
        requests.approve(alice.principal, request.id, request.digest, other)
    options = platform.logins.build_approval_options(alice.principal, request.digest)
    proof = {"webauthn": alices.get(options or {})}
    record = requests.approve(alice.principal, request.id, request.digest, proof)
    assert record.request.state is RequestState.EXECUTED
    assert json.loads(record.decisions[0].evidence)["origin"] == ORIGIN
    invited = actions.submit(adam.principal, Action.PEOPLE_INVITE, {"login": "carol"}).result
    assert invited is not None
    secret = str(invited["secret"])
    carols = App(base64.b32decode(platform.enrolment.begin(secret).totp.text))
    code = platform.enrolment.finish(secret, PASSWORD, {"totp": carols.show(datetime.now(UTC))}).code
    with pytest.raises(KmsError, match=f"^{Code.PERSON_NOT_PERMITTED}"):
        actions.submit(adam.principal, Action.PEOPLE_CONFIRM, {"login": "carol", "code": code})
    actions.submit(alice.principal, Action.PEOPLE_CONFIRM, {"login": "carol", "code": code})
    assert log_in_by_app(platform, "carol", carols).principal.name == "Carol Custodian"
    check_no_secret(site, PASSWORD, secret, alice.secret, adam.secret, carols.secret.hex(), *invitations.values())


def check_no_secret(site: Installation, *secrets: str) -> None:
    """Neither the log nor, where it is a file, the database holds any of these."""
    log = site.run("audit", "tail", "--limit", "1000", "--json")
    assert "login.open" in log.stdout
    texts = [log.stdout.encode(), *(path.read_bytes() for path in site.folder.rglob("*.db*"))]
    for secret in secrets:
        for form in (secret.encode(), secret.upper().encode()):
            assert not any(form in text for text in texts)
    raw = bytes.fromhex(secrets[4])
    assert not any(raw in text for text in texts)
