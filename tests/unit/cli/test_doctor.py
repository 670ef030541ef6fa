import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from kms import bootstrap_doctor
from kms.cli.doctor import doctor_command
from kms.config import Config, PlatformMode
from kms.domain.fitness import Finding, Severity
from tests.fakes.lab_platform import build_lab_invocation

REFUSED = Finding("database.url", Severity.REFUSED, "the database is SQLite", "It is one file", "Use PostgreSQL")
UNSEEN = Finding("hsm", Severity.UNSEEN, "the token is away", "Nobody looked", "Mend that")
WEAK = Finding("people.ada", Severity.WEAKNESS, "one-time codes alone", "A false site", "Enrol a security key")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the rules find."""
    findings: list[Finding] = []

    @contextmanager
    def open_doctor(_config: Config) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(examine=lambda: tuple(findings))

    monkeypatch.setattr(bootstrap_doctor, "open_doctor", open_doctor)
    return findings


def run(*options: str, mode: PlatformMode = PlatformMode.LAB) -> Result:
    return CliRunner().invoke(doctor_command, options, obj=build_lab_invocation(mode=mode))


@pytest.mark.parametrize("finding", [REFUSED, UNSEEN])
@pytest.mark.parametrize("mode", PlatformMode)
def test_what_is_in_the_way_ends_with_code_1_in_any_mode(
    found: list[Finding], finding: Finding, mode: PlatformMode
) -> None:
    found.append(finding)
    assert run(mode=mode).exit_code == 1


def test_weaknesses_alone_are_named_and_end_well(found: list[Finding]) -> None:
    found.append(WEAK)
    done = run()
    assert done.exit_code == 0
    assert "weakness  people.ada: one-time codes alone" in done.stdout
    assert "nothing stands between it and production; weaknesses: 1." in done.stdout


def test_each_finding_says_what_why_and_how_to_mend_it_the_worst_first(found: list[Finding]) -> None:
    found.extend([WEAK, UNSEEN, REFUSED])
    text = run().stdout
    assert text.index("database.url") < text.index("hsm: the token") < text.index("people.ada")
    for part in ("the database is SQLite", "why:  It is one file.", "mend: Use PostgreSQL."):
        assert part in text
    assert "2 findings stand between it and production" in text


def test_programs_get_json(found: list[Finding]) -> None:
    found.append(REFUSED)
    told = json.loads(run("--json").stdout)
    assert (told["platform"], told["mode"], told["fit_for_production"]) == ("issuer", "lab", False)
    assert told["findings"] == [
        {
            "where": "database.url",
            "severity": "refused",
            "what": "the database is SQLite",
            "why": "It is one file",
            "mend": "Use PostgreSQL",
        }
    ]
