import json
from pathlib import Path

from kms.anchors.database_anchor import FileAnchor
from kms.domain.recovery import AnchorMark
from tests.fakes.command_line import read_help
from tests.fakes.installation import Installation, build_installation
from tests.fakes.records import NOW


def build_site(folder: Path) -> Installation:
    site = build_installation(folder)
    text = site.config.read_text(encoding="utf-8")
    site.config.write_text(text + '\n[recovery]\nanchor_file = "anchor"\n', encoding="utf-8")
    return site


def test_help_names_every_command() -> None:
    assert read_help("recovery") == ["confirm", "findings", "status"]


def test_a_platform_that_was_never_restored_is_normal(tmp_path: Path) -> None:
    site = build_site(tmp_path)
    status = json.loads(site.run("recovery", "status", "--json").stdout)
    assert (status["condition"], status["anchored"]) == ("NORMAL", True)
    assert json.loads(site.run("recovery", "findings", "--json").stdout) == []
    refused = site.run("recovery", "confirm", "--yes", "--json")
    assert json.loads(refused.stderr)["code"] == "input.conflict"


def test_a_database_behind_its_anchor_refuses_enrolment_until_officers_confirm(tmp_path: Path) -> None:
    site = build_site(tmp_path)
    FileAnchor(tmp_path / "anchor").write(AnchorMark("an-event-that-is-lost", NOW))
    fingerprint = "AB" * 32
    enrol = ("terminals", "enrol", "--name", "counter-1", "--fingerprint", fingerprint, "--json")
    assert json.loads(site.run(*enrol).stderr)["code"] == "platform.recovery"
    status = json.loads(site.run("recovery", "status", "--json").stdout)
    assert (status["condition"], status["anchor_event"]) == ("RECOVERY", "an-event-that-is-lost")
    asked = site.run("recovery", "confirm")
    assert asked.exit_code == 130  # nobody answered
    assert json.loads(site.run("recovery", "confirm", "--yes", "--json").stdout)["condition"] == "NORMAL"
    assert json.loads(site.run(*enrol).stdout)["name"] == "counter-1"
