import json
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from kms.anchors.anchor_file import AnchorFile
from kms.cli import audit, cli
from kms.cli.admin_client import AdminClient
from kms.cli.audit import audit_group
from kms.cli.context import Invocation, get_actor
from kms.cli.login_files import SavedLogin
from kms.config import PlatformMode
from kms.db.store import SqlStore
from kms.domain.audit import AuditEvent
from kms.domain.audit_check import Anchor
from kms.domain.people import Role
from kms.domain.signatures import fingerprint
from kms.errors import Code, KmsError
from tests.fakes.audit_log import LogWriter, build_log
from tests.fakes.command_line import check_wrong_usage, read_help
from tests.fakes.lab_platform import build_lab_invocation
from tests.fakes.memory_store import MemoryStore


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("tail", "--limit", "0"), "--limit"),
        (("erase",), "No such command"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_opened(arguments: tuple[str, ...], what: str) -> None:
    check_wrong_usage("audit", *arguments, what=what)


def test_help_names_every_command() -> None:
    assert read_help("audit") == ["checkpoint", "export", "key", "tail", "verify"]


def write_log(folder: Path, log: LogWriter) -> Path:
    (folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in log.lines))
    return folder / "log.jsonl"


def test_an_export_is_checked_without_any_installation(tmp_path: Path) -> None:
    log = build_log()
    last = log.checkpoints[-1]
    AnchorFile(tmp_path / "anchors").write("bank", Anchor(last.number, last.digest, last.at))
    arguments = ["audit", "verify", "--export", str(write_log(tmp_path, log)), "--anchors", str(tmp_path / "anchors")]
    result = CliRunner().invoke(cli, [*arguments, "--fingerprint", fingerprint(log.first_key)])
    assert result.exit_code == 0, result.output
    assert "18" in result.output


def test_a_changed_export_is_told_with_its_place(tmp_path: Path) -> None:
    log = build_log()
    file = write_log(tmp_path, log)
    file.write_bytes(file.read_bytes().replace(b"officer alice", b"officer mabel", 1))
    result = CliRunner().invoke(cli, ["audit", "verify", "--export", str(file)])
    assert result.exit_code == 1
    assert "[audit.broken] The audit log was changed: record 1 of chain node-1/a" in result.stderr


def open_log(mode: PlatformMode) -> tuple[Invocation, MemoryStore]:
    store = MemoryStore()
    invocation = build_lab_invocation(mode=mode, store=store)
    invocation.store = cast("SqlStore", store)
    return invocation, store


def list_events(store: MemoryStore) -> list[AuditEvent]:
    with store.reading() as reading:
        return list(reading.audit.list())


def test_reading_the_log_in_the_lab_is_recorded_as_the_development_login() -> None:
    invocation, store = open_log(PlatformMode.LAB)
    result = CliRunner().invoke(audit_group, ["tail", "--limit", "7", "--json"], obj=invocation)
    assert result.exit_code == 0, result.output
    (event,) = list_events(store)
    assert (event.actor, event.action) == (f"{get_actor()} (development login)", "audit.read")
    assert event.detail == "the last 7 events from 0 on"
    assert [row["action"] for row in json.loads(result.stdout)] == ["audit.read"]


@pytest.mark.parametrize("server", ["", "https://console.example"])
def test_without_a_login_the_log_is_read_in_the_lab_alone(server: str) -> None:
    invocation, store = open_log(PlatformMode.LAB if server else PlatformMode.PRODUCTION)
    invocation.server = server
    result = CliRunner().invoke(audit_group, ["tail"], obj=invocation)
    assert isinstance(result.exception, KmsError)
    assert result.exception.code is Code.LOGIN_NEEDED
    assert list_events(store) == []


def log_in(monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    login = SavedLogin("https://console.example", "", "ada", "secret")
    told = {"person_id": "0199", "name": "Ada Auditor", "roles": [str(role)], "second_factor": "webauthn"}
    monkeypatch.setattr(audit, "find_login_here", lambda _ctx: login)
    monkeypatch.setattr(AdminClient, "get", lambda _self, _path: told)


def test_a_person_who_is_logged_in_reads_under_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    invocation, store = open_log(PlatformMode.PRODUCTION)
    log_in(monkeypatch, Role.AUDITOR)
    assert CliRunner().invoke(audit_group, ["tail"], obj=invocation).exit_code == 0
    assert [event.actor for event in list_events(store)] == ["person Ada Auditor"]


def test_a_person_without_the_role_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    invocation, store = open_log(PlatformMode.PRODUCTION)
    log_in(monkeypatch, Role.OPERATOR)
    result = CliRunner().invoke(audit_group, ["tail"], obj=invocation)
    assert isinstance(result.exception, KmsError)
    assert result.exception.code is Code.PERSON_NOT_PERMITTED
    assert list_events(store) == []
