import json
from pathlib import Path

import pytest

from kms.service.leases import LeaseKeeper
from tests.fakes.command_line import check_wrong_usage, read_help
from tests.fakes.installation import Installation, build_installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return build_installation(tmp_path)


def test_wrong_usage_is_told_before_anything_is_opened() -> None:
    check_wrong_usage("scheduler", "run", what="JOB")


def test_help_names_every_command() -> None:
    assert read_help("scheduler") == ["run", "status"]


def test_before_the_first_scheduler_nobody_holds_the_lease(installation: Installation) -> None:
    status = json.loads(installation.run("scheduler", "status", "--json").stdout)
    assert status == {"holder": "", "fence": 0, "lease_seconds_left": 0.0, "jobs": []}
    assert "no node schedules" in installation.run("scheduler", "status").stdout


def test_a_job_runs_once_and_is_shown(installation: Installation) -> None:
    run = json.loads(installation.run("scheduler", "run", "expire-visits", "--once", "--json").stdout)
    assert (run["job"], run["failed"], run["result"]) == (
        "expire-visits",
        False,
        "0 visits expired, 0 key sets in doubt",
    )
    status = json.loads(installation.run("scheduler", "status", "--json").stdout)
    assert [job["job"] for job in status["jobs"]] == ["expire-visits"]
    assert (status["holder"], status["fence"]) == ("", 1)


def test_a_job_is_refused_while_a_scheduler_holds_the_lease(installation: Installation) -> None:
    store = installation.open_store()
    keeper = LeaseKeeper(store=store, holder="another", seconds=60)
    assert keeper.keep()
    result = installation.run("scheduler", "run", "expire-visits", "--once", "--json")
    assert (result.exit_code, json.loads(result.stderr)["code"]) == (1, "input.conflict")
    assert json.loads(installation.run("scheduler", "status", "--json").stdout)["holder"] == "another"
    store.dispose()


def test_an_unknown_job_is_told_which_there_are(installation: Installation) -> None:
    result = installation.run("scheduler", "run", "nothing", "--once", "--json")
    assert "expire-visits" in json.loads(result.stderr)["detail"]


def test_a_job_that_fails_is_an_error(installation: Installation) -> None:
    """The installation's HSM is away."""
    result = installation.run("scheduler", "run", "checkpoint-audit", "--once", "--json")
    assert (result.exit_code, json.loads(result.stdout)["failed"]) == (1, True)


def test_an_alarm_is_listed_shown_and_acknowledged(installation: Installation) -> None:
    installation.run("scheduler", "run", "checkpoint-audit", "--once")
    (alarm,) = json.loads(installation.run("alarms", "list", "--json").stdout)
    assert (alarm["kind"], alarm["subject"]) == ("scheduler.job-failed", "checkpoint-audit")
    assert "acknowledged by" in installation.run("alarms", "acknowledge", alarm["id"]).stdout
    shown = json.loads(installation.run("alarms", "show", alarm["id"], "--json").stdout)
    assert shown["acknowledged_by"].startswith("cli:")
