from pathlib import Path

import pytest
from click.testing import CliRunner

from kms.anchors.anchor_file import AnchorFile
from kms.cli import cli
from kms.domain.audit_check import Anchor
from kms.domain.signatures import fingerprint
from tests.fakes.audit_log import LogWriter, build_log
from tests.fakes.command_line import check_wrong_usage, read_help


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
