"""Dual control through the front door: `kms console` as a process over TLS, people at their command lines."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from demo.installation import BIN
from kms.bootstrap import open_platform
from kms.cli import cli
from kms.cli.actions import EXIT_WAITS
from kms.cli.admin_client import open_http
from kms.config import load_config
from tests.fakes.installation import Installation
from tests.fakes.login_scene import PASSWORD, App
from tests.functional.test_people import enrol_app, invitations, site

__all__ = ["invitations", "site"]

POLICIES = Path(__file__).resolve().parents[2] / "config" / "policies"
CONSOLE = """
[console]
port = 0
certificate = "{folder}/pki/server.pem"
private_key = "{folder}/pki/server.key"
origin = "https://localhost:8444"
"""


@dataclass
class Console:
    """A running console and its people. `codes`: of each, for now."""

    server: str
    folder: Path
    apps: dict[str, App]
    used: dict[str, int] = field(default_factory=dict)

    def run(self, who: str, *arguments: str) -> Result:
        """Run `kms` as somebody at a machine of their own, which has no configuration."""
        step = self.used.get(who, 0)
        environment = {
            "XDG_STATE_HOME": str(self.folder / f"state-{who}"),
            "KMS_PASSWORD": PASSWORD,
            # A code is taken once: the one of now first, then the next one.
            "KMS_TOTP": self.apps[who].show(datetime.now(UTC) + timedelta(seconds=30 * step)),
            "KMS_CONFIG": "/nowhere.toml",
        }
        if arguments[0] == "login" or arguments[:2] == ("requests", "approve"):
            self.used[who] = step + 1
        return CliRunner(env=environment).invoke(cli, ["--server", self.server, *arguments])

    def read(self, who: str, *arguments: str, code: int = 0) -> Any:  # noqa: ANN401 - JSON
        result = self.run(who, *arguments, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stderr if code == 1 else result.stdout)

    def log_in(self, who: str) -> None:
        ca = str(self.folder / "pki" / "ca.pem")
        assert self.run(who, "login", who, "--ca", ca).exit_code == 0


@pytest.fixture
def console(site: Installation, invitations: dict[str, str]) -> Iterator[Console]:
    folder = site.folder
    assert site.run("pki", "init", "--dir", str(folder / "pki")).exit_code == 0
    assert site.run("policies", "apply", str(POLICIES), "--expect", "0").exit_code == 0
    with site.config.open("a") as file:
        file.write(CONSOLE.format(folder=folder))
    platform = open_platform(load_config(site.config))
    apps = {}
    for login, secret in invitations.items():
        apps[login] = enrol_app(platform, secret, ago=timedelta(seconds=30))
    platform.vault.close()
    platform.store.dispose()
    with (folder / "console.log").open("w") as log:
        process = subprocess.Popen(
            [BIN / "kms", "--config", site.config, "console"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("ready https://"), (folder / "console.log").read_text()[-3000:]
        yield Console(line.split()[1], folder, apps)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def test_one_officer_asks_another_approves_and_it_is_done_once(site: Installation, console: Console) -> None:
    for who in ("alice", "bob", "adam"):
        console.log_in(who)
    assert console.read("alice", "whoami")["roles"] == ["security-officer"]
    generate = ("keys", "generate", "--kind", "ssd", "--name", "ssd-2027")
    assert console.read("adam", *generate, code=1)["code"] == "person.not-permitted"
    request = console.read("alice", *generate, code=EXIT_WAITS)["request"]
    assert request["text"].startswith("Generate the ssd master key ssd-2027")
    assert request["may_approve"] == ["security-officer"]
    approve = ("requests", "approve", request["id"], "--yes")
    assert console.read("alice", *approve, code=1)["code"] == "request.own"
    assert console.read("adam", *approve, code=1)["code"] == "person.not-permitted"
    assert [item["id"] for item in console.read("bob", "requests", "list")] == [request["id"]]
    shown = console.run("bob", "requests", "show", request["id"]).stdout
    assert "Generate the ssd master key ssd-2027" in shown
    done = console.read("bob", *approve)
    assert done["state"] == "EXECUTED"
    assert json.loads(done["result"])["state"] == "ACTIVE"
    assert console.read("bob", *approve, code=1)["code"] == "request.state"
    keys = json.loads(site.run("keys", "list", "--json").stdout)
    assert [(key["name"], key["generation"]) for key in keys if key["kind"] == "ssd"] == [("ssd-2027", 1)]
    events = json.loads(site.run("audit", "tail", "--limit", "100", "--json").stdout)
    made = next(event for event in events if event["action"] == "master-key.generate")
    assert made["actor"] == f"person Alice Officer (request {request['id']})"
    refused = [event["actor"] for event in events if event["result"].startswith("refused")]
    assert set(refused) == {"person Adam Admin", "person Alice Officer", "person Bob Officer"}


def test_a_rejection_ends_it_and_logging_out_ends_the_login(console: Console) -> None:
    for who in ("alice", "bob"):
        console.log_in(who)
    request = console.read("bob", "keys", "generate", "--kind", "ssd", "--name", "ssd", code=EXIT_WAITS)["request"]
    assert console.read("alice", "requests", "reject", request["id"])["state"] == "REJECTED"
    assert console.read("alice", "requests", "approve", request["id"], "--yes", code=1)["code"] == "request.state"
    state = next((console.folder / "state-bob" / "kms").iterdir())
    assert state.stat().st_mode & 0o777 == 0o600
    secret = json.loads(state.read_text())["secret"]
    assert console.run("bob", "logout").exit_code == 0
    assert not state.exists()
    assert console.read("bob", "alarms", "acknowledge", "a-1", code=1)["code"] == "login.needed"
    with open_http(str(console.folder / "pki" / "ca.pem")) as client:
        headers = {"Authorization": f"Bearer {secret}"}
        answer = client.get(f"{console.server}/admin/v1/whoami", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "login.needed")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Strict-Transport-Security"]
    log = (console.folder / "console.log").read_text()
    assert "/v1/whoami" in log
    assert not any(item in log for item in (secret, PASSWORD))


def test_a_wrong_password_and_a_foreign_authority(console: Console) -> None:
    ca = str(console.folder / "pki" / "ca.pem")
    console.apps["mallory"] = console.apps["alice"]
    assert console.read("mallory", "login", "mallory", "--ca", ca, code=1)["code"] == "login.refused"
    other = console.folder / "pki" / "server.key"
    assert console.read("alice", "login", "alice", "--ca", str(other), code=1)["code"] == "console.unreachable"
    assert console.read("alice", "login", "alice", code=1)["code"] == "console.unreachable"
