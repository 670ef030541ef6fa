"""Every role, every action, every way in: only what the table of permissions allows happens.

Generated from the table, the definitions, the admin API's routes and the commands: an action without a row, a
definition, an example or a command, and a route or a command that nobody classified, fails.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner

from kms.cli import cli
from kms.cli.actions import EXIT_WAITS
from kms.cli.login_files import SavedLogin, save_login
from kms.console.admin_api import create_admin_api
from kms.domain.people import Role
from kms.domain.permissions import PERMISSIONS, READING, Action
from kms.errors import Code, KmsError
from tests.fakes.acting_people import CODE, Office

ROOT = Path(__file__).resolve().parents[3]
CARD, AID, PRINT = "4292000000000001", "A0000009510001", "AB" * 32
UPDATE = {"update": "u-1", "because": "ticket 7"}
MASTER = {"name": "ssd", "generation": 1, "because": "ticket 7"}
POLICY = {"name": "p", "applies_to": {"kind": "SSD"}, "cryptoperiod_days": 365, "lead_days": 30}

EXAMPLES: Mapping[Action, dict[str, Any]] = {
    Action.CARDS_IMPORT: {"content": "00", "batch": "b"},
    Action.CARDS_QUARANTINE: {"card": CARD, "reason": "lost"},
    Action.CARDS_RELEASE: {"card": CARD},
    Action.CARDS_PROTOCOLS: {"card": CARD, "scp02_i": 0x55},
    Action.CARDS_REPAIR: {"card": CARD, "terminal": "t-1"},
    Action.CARDS_REPAIR_CONFIRM: {"card": CARD},
    Action.CARDS_REPAIR_CANCEL: {"card": CARD},
    Action.TERMINALS_ENROL: {"name": "t-1", "fingerprint": PRINT},
    Action.TERMINALS_LIMIT: {"name": "t-1", "limits": {"cards": [{"first": "00", "last": "FF"}], "aids": [AID]}},
    Action.TERMINALS_SUSPEND: {"name": "t-1", "reason": "stolen"},
    Action.TERMINALS_RESUME: {"name": "t-1"},
    Action.TERMINALS_REVOKE: {"name": "t-1", "reason": "stolen"},
    Action.ALARMS_ACKNOWLEDGE: {"alarm": "a-1"},
    Action.UPDATES_FORCE: {"card": CARD, "aid": AID},
    Action.UPDATES_CANCEL: UPDATE,
    Action.UPDATES_ALLOW: UPDATE,
    Action.CAMPAIGNS_CREATE: {"asked": {"name": "c", "reason": "forced", "chosen": {"identities": [CARD]}}},
    Action.CAMPAIGNS_PAUSE: {"name": "c"},
    Action.CAMPAIGNS_RESUME: {"name": "c"},
    Action.CAMPAIGNS_CANCEL: {"name": "c", "because": "ticket 7"},
    Action.POLICIES_APPLY: {"policies": [POLICY], "whole": True, "expected": 0},
    Action.KEYS_GENERATE: {"kind": "ssd", "name": "ssd"},
    Action.KEYS_DEACTIVATE: MASTER,
    Action.KEYS_COMPROMISE: MASTER,
    Action.EXCHANGE_OFFER: {"peer": "bikes"},
    Action.EXCHANGE_ANSWER: {"peer": "bikes", "offer": "{}", "fingerprint": PRINT},
    Action.EXCHANGE_ACCEPT: {"peer": "bikes", "answer": "{}", "fingerprint": PRINT},
    Action.AUDIT_KEY_REPLACE: {},
    Action.RECOVERY_CONFIRM: {},
    Action.PEOPLE_ADD: {"name": "Carol", "login": "carol", "roles": ["operator"]},
    Action.PEOPLE_ADD_ACCOUNT: {"login": "carol", "new_login": "carol-2"},
    Action.PEOPLE_CHANGE: {"login": "carol", "roles": ["auditor"]},
    Action.PEOPLE_DISABLE: {"login": "carol"},
    Action.PEOPLE_ENABLE: {"login": "carol"},
    Action.PEOPLE_RESET: {"login": "carol"},
    Action.PEOPLE_INVITE: {"login": "carol"},
    Action.PEOPLE_CONFIRM: {"login": "carol", "code": "ABCD"},
    Action.QUORUM_SET: {"action": "keys.generate", "approvals": 2},
}

COMMANDS: Mapping[Action, str] = {
    Action.CARDS_IMPORT: "cards import {file}",
    Action.CARDS_QUARANTINE: f"cards quarantine {CARD} --reason lost",
    Action.CARDS_RELEASE: f"cards release {CARD}",
    Action.CARDS_PROTOCOLS: f"cards set-protocols {CARD} --scp02-i 55",
    Action.CARDS_REPAIR: f"cards repair {CARD}",
    Action.CARDS_REPAIR_CONFIRM: f"cards repair {CARD} --confirm",
    Action.CARDS_REPAIR_CANCEL: f"cards repair {CARD} --cancel",
    Action.TERMINALS_ENROL: f"terminals enrol --name t-1 --fingerprint {PRINT}",
    Action.TERMINALS_LIMIT: f"terminals limit t-1 --ssd {AID}",
    Action.TERMINALS_SUSPEND: "terminals suspend t-1 --reason stolen",
    Action.TERMINALS_RESUME: "terminals resume t-1",
    Action.TERMINALS_REVOKE: "terminals revoke t-1 --reason stolen",
    Action.ALARMS_ACKNOWLEDGE: "alarms acknowledge a-1",
    Action.UPDATES_FORCE: f"updates force --card {CARD} --aid {AID}",
    Action.UPDATES_CANCEL: "updates cancel u-1 --because why",
    Action.UPDATES_ALLOW: "updates allow u-1 --because why",
    Action.CAMPAIGNS_CREATE: "campaigns create c --reason forced",
    Action.CAMPAIGNS_PAUSE: "campaigns pause c",
    Action.CAMPAIGNS_RESUME: "campaigns resume c",
    Action.CAMPAIGNS_CANCEL: "campaigns cancel c --because why",
    Action.POLICIES_APPLY: "policies apply {policies} --expect 0",
    Action.KEYS_GENERATE: "keys generate --kind ssd --name ssd",
    Action.KEYS_DEACTIVATE: "keys deactivate ssd --generation 1 --because why",
    Action.KEYS_COMPROMISE: "keys compromise ssd --generation 1 --because why",
    Action.EXCHANGE_OFFER: "keys exchange offer --peer bikes --out {new}",
    Action.EXCHANGE_ANSWER: f"keys exchange answer --peer bikes --in {{file}} --out {{new}} --fingerprint {PRINT}",
    Action.EXCHANGE_ACCEPT: f"keys exchange accept --peer bikes --in {{file}} --fingerprint {PRINT}",
    Action.AUDIT_KEY_REPLACE: "audit key --replace",
    Action.RECOVERY_CONFIRM: "recovery confirm --yes",
    Action.PEOPLE_ADD: "people add carol --name Carol --role operator",
    Action.PEOPLE_ADD_ACCOUNT: "people add-account carol carol-2",
    Action.PEOPLE_CHANGE: "people change carol --role auditor",
    Action.PEOPLE_DISABLE: "people disable carol",
    Action.PEOPLE_ENABLE: "people enable carol",
    Action.PEOPLE_RESET: "people reset carol",
    Action.PEOPLE_INVITE: "people invite carol",
    Action.PEOPLE_CONFIRM: "people confirm carol ABCD",
    Action.QUORUM_SET: "requests quorum keys.generate 2",
}

# Commands that submit no action: they read, decide about requests, log in, or are the server's own (docs/adr/0113).
READING_COMMANDS = {
    *("alarms list", "alarms show", "audit tail", "audit export", "audit verify", "campaigns list", "campaigns show"),
    *("campaigns report", "cards list", "cards show", "keys list", "keys show", "keys affected", "people list"),
    *("policies check", "policies list", "policies show", "policies history", "policies explain", "policies unknown"),
    *("recovery status", "recovery findings", "requests list", "requests show", "ssds list", "ssds show"),
    *("terminals list", "transfers list", "transfers show", "updates list", "updates show", "visits list"),
    *("visits show", "whoami", "officers list"),
}
DECIDING_COMMANDS = {"requests approve", "requests reject", "login", "logout"}
LOCAL_COMMANDS = {
    "doctor",
    *("audit checkpoint", "console", "db check", "db current", "db upgrade", "hsm check", "hsm objects", "hsm status"),
    *("officers init", "pki init", "pki peer", "pki terminal", "scheduler run", "scheduler status", "serve"),
    "keys import",  # components: the lab alone, production enters them in ceremonies
}
ROUTES = {
    "POST /v1/login": "anybody",
    "POST /v1/logout": "who is logged in",
    "GET /v1/whoami": "who is logged in",
    "POST /v1/actions/<name>": "the table",
    "GET /v1/requests": "the table",
    "GET /v1/requests/<request_id>": "the table",
    "POST /v1/requests/<request_id>/approve": "the table",
    "POST /v1/requests/<request_id>/reject": "the table",
}
# Ceremonies take their steps through a service of their own, which asks the same table for every step.
CEREMONIAL = {action for action in Action if action.startswith("ceremonies.")}
SUBMITTED = sorted(set(Action) - READING - CEREMONIAL)
ROLES = sorted(Role)


@pytest.fixture
def office() -> Office:
    return Office()


def check_happened(office: Office, role: Role, action: Action, said: str) -> None:
    """`said`: what the way in answered: done, waits, or an error code."""
    row = PERMISSIONS[action]
    if role not in row.roles:
        assert (said, office.done) == (str(Code.PERSON_NOT_PERMITTED), [])
        assert office.audited()[0].result == "refused: person.not-permitted"
        assert office.audited()[0].actor == f"person {role}"
        assert list(office.requests.list_pending()) == []
    elif row.approvals:
        assert (said, office.done) == ("waits", [])
        (request,) = office.requests.list_pending()
        assert (request.action, request.quorum, request.requester_name) == (action, row.approvals, str(role))
        assert request.text
    else:
        assert (said, office.done) == ("done", [action])
        assert list(office.requests.list_pending()) == []


def test_every_action_has_a_row_a_definition_an_example_and_a_command(office: Office) -> None:
    assert set(PERMISSIONS) == set(Action)
    assert office.registry.actions - CEREMONIAL == set(SUBMITTED)
    assert set(EXAMPLES) == set(SUBMITTED)
    assert set(COMMANDS) == set(SUBMITTED)


@pytest.mark.parametrize("action", SUBMITTED)
@pytest.mark.parametrize("role", ROLES)
def test_service(office: Office, role: Role, action: Action) -> None:
    try:
        submitted = office.actions.submit(office.logins.people[role], action, EXAMPLES[action])
        said = "waits" if submitted.request else "done"
    except KmsError as error:
        said = str(error.code)
    check_happened(office, role, action, said)


@pytest.mark.parametrize("action", SUBMITTED)
@pytest.mark.parametrize("role", ROLES)
def test_admin_api(office: Office, role: Role, action: Action) -> None:
    client = create_admin_api(office.services).test_client()
    answer = client.post(
        f"/v1/actions/{action}",
        json={"parameters": EXAMPLES[action]},
        headers={"Authorization": f"Bearer secret-{role}"},
    )
    said = {200: "done", 202: "waits"}.get(answer.status_code) or answer.get_json()["code"]
    check_happened(office, role, action, said)


@pytest.fixture
def at_the_console(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command line reaches the console without a network; a folder for its files."""
    app = create_admin_api(office.services)

    def mount(environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ANN401 - WSGI
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/admin")
        return app(environ, start_response)

    def open_http(_ca: str) -> httpx.Client:
        return httpx.Client(transport=httpx.WSGITransport(app=mount))

    monkeypatch.setattr("kms.cli.admin_client.open_http", open_http)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "file").write_text("{}")
    return tmp_path


def run(folder: Path, who: str, command: str) -> str:
    """Run `kms COMMAND` as somebody; done, waits, or the code of the error."""
    save_login(SavedLogin("https://console.example", "", who, f"secret-{who}"))
    (folder / "new").unlink(missing_ok=True)
    names = {"file": folder / "file", "new": folder / "new", "policies": ROOT / "config" / "policies"}
    arguments = [part.format(**names) for part in command.split()]
    result = CliRunner().invoke(cli, ["--server", "https://console.example", *arguments, "--json"])
    if result.exit_code == EXIT_WAITS:
        assert json.loads(result.stdout)["request"]["id"]
        return "waits"
    if result.exit_code == 1:
        return str(json.loads(result.stderr)["code"])
    # What only shows something afterwards needs a platform's configuration, which a client has not.
    assert result.exit_code == 0 or arguments[:2] == ["audit", "key"], result.output
    return "done"


@pytest.mark.parametrize("action", SUBMITTED)
@pytest.mark.parametrize("role", ROLES)
def test_command_line(office: Office, at_the_console: Path, role: Role, action: Action) -> None:
    check_happened(office, role, action, run(at_the_console, role, COMMANDS[action]))


@pytest.mark.parametrize("action", SUBMITTED)
@pytest.mark.parametrize("command", ["approve --yes", "reject"])
@pytest.mark.parametrize("role", ROLES)
def test_deciding(  # noqa: PLR0917 - fixtures and parameters, by name
    office: Office,
    at_the_console: Path,
    monkeypatch: pytest.MonkeyPatch,
    role: Role,
    command: str,
    action: Action,
) -> None:
    row = PERMISSIONS[action]
    if not row.approvals:
        return
    monkeypatch.setenv("KMS_TOTP", CODE)
    asker = office.logins.people["other" if Role.SECURITY_OFFICER in row.roles else Role.ADMINISTRATOR]
    request = office.actions.submit(asker, action, EXAMPLES[action]).request
    assert request is not None
    verb, *options = command.split()
    said = run(at_the_console, role, " ".join(["requests", verb, request.id, *options]))
    state = str(office.requests.get(request.id).request.state)
    if role not in row.approving_roles:
        assert (said, state, office.done) == (str(Code.PERSON_NOT_PERMITTED), "PENDING", [])
        assert office.audited()[0].result == "refused: person.not-permitted"
    elif verb == "reject":
        assert (said, state, office.done) == ("done", "REJECTED", [])
    else:
        assert (said, state, office.done) == ("done", "EXECUTED", [action])


def test_every_route_is_classified_and_nobody_unknown_passes(office: Office) -> None:
    app = create_admin_api(office.services)
    routes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"} and not rule.rule.startswith("/static")
    }
    assert routes == set(ROUTES)
    for route, whose in ROUTES.items():
        method, path = route.split(" ")
        address = path.replace("<name>", "keys.generate").replace("<request_id>", "r-1")
        if whose != "anybody":
            for headers in ({}, {"Authorization": "Bearer guess"}, {"Cookie": "login=secret-security-officer"}):
                body: dict[str, Any] = {"json": {}} if method == "POST" else {}
                answer = app.test_client(use_cookies=False).open(address, method=method, headers=headers, **body)
                refused = answer.status_code == 401 and answer.get_json()["code"] == "login.needed"
                assert refused or (path == "/v1/logout" and headers.get("Authorization")), route
    assert office.done == []


def test_every_command_is_classified() -> None:
    acting = {" ".join(command.split(" ")[:2]) for command in COMMANDS.values()}
    acting = {name if name != "keys exchange" else "" for name in acting} | {
        f"keys exchange {verb}" for verb in ("offer", "answer", "accept")
    }
    classified = acting | READING_COMMANDS | DECIDING_COMMANDS | LOCAL_COMMANDS
    there = {name for name in list_commands(cli, ()) if not name.startswith(("ceremony ", "ceremonies "))}
    assert there - classified == set()
    assert {name for name in classified if name} - there == set()


def list_commands(group: click.Group, path: tuple[str, ...]) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from list_commands(command, (*path, name))
        else:
            yield " ".join((*path, name))
