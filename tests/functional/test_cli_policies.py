"""`kms policies` on a database of its own, of either kind."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kms.card.keys import DerivationPurpose
from kms.domain.keys import Delivery, KeyState
from tests.fakes.installation import Installation, build_installation
from tests.fakes.records import build_card, build_domain, build_key_set, build_master
from tests.fakes.stores import DATABASES, open_database

NOW = datetime.now(UTC)
CARD, AID = build_card().identity.hex().upper(), "A0000009510001"
POLICY = """\
cryptoperiod_days = {days}
lead_days = 10

[applies_to]
kind = "SSD"
"""


@pytest.fixture(params=DATABASES)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """A card whose SSD has had its keys for 100 days."""
    with open_database(request.param, tmp_path) as url:
        installation = build_installation(tmp_path, url)
        store = installation.open_store()
        with store.transaction() as tx:
            tx.master_keys.add(build_master())
            tx.cards.add(build_card())
            tx.security_domains.add(build_domain(aid=bytes.fromhex(AID)))
            key_set = build_key_set(
                purpose=DerivationPurpose.SSD,
                delivery=Delivery.PROVED,
                state=KeyState.ACTIVE,
                proved_at=NOW - timedelta(days=100),
                expires_at=None,
            )
            tx.key_sets.add(key_set)
        store.dispose()
        yield installation


def write(installation: Installation, days: int) -> str:
    folder = installation.folder / "policies"
    folder.mkdir(exist_ok=True)
    (folder / "ssd.toml").write_text(POLICY.format(days=days))
    return str(folder)


def read(installation: Installation, *arguments: str) -> Any:  # noqa: ANN401 - JSON
    result = installation.run("policies", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_policy_is_put_in_force_and_explained(installation: Installation) -> None:
    path = write(installation, 365)
    unknown = read(installation, "unknown")
    assert [(item["card"], item["aid"]) for item in unknown] == [(CARD, AID)]
    done = read(installation, "apply", path, "--expect", "0")
    assert (done["due_now"], done["settled"]) == (0, 1)
    assert not read(installation, "unknown")
    found = read(installation, "explain", CARD, AID)
    assert (found["verdict"], found["policy"], found["version"]) == ("not-due", "ssd", 1)
    due = NOW + timedelta(days=255)
    assert found["rotate_at"] == due.isoformat(timespec="seconds").replace("+00:00", "Z")
    words = installation.run("policies", "explain", CARD, AID)
    assert "lives 365 days" in words.output
    assert "An expiry update is asked for from" in words.output


def test_a_change_that_makes_keys_due_waits_for_the_number(installation: Installation) -> None:
    read(installation, "apply", write(installation, 365), "--expect", "0")
    shorter = write(installation, 90)
    refused = installation.run("policies", "apply", shorter, "--json")
    assert refused.exit_code == 1
    assert "Say --expect 1" in json.loads(refused.stderr)["detail"]
    assert installation.run("policies", "apply", shorter, "--expect", "0").exit_code == 1
    assert [item["version"] for item in read(installation, "list")] == [1]
    shown = installation.run("policies", "apply", shorter, "--dry-run")
    assert "1 at once, 1 within 7 days, 1 within 30 days" in shown.output
    assert read(installation, "apply", shorter, "--expect", "1")["settled"] == 1
    assert read(installation, "explain", CARD, AID)["verdict"] == "due"
    history = read(installation, "history", "ssd")
    assert [(item["version"], item["state"], item["cryptoperiod_days"]) for item in history] == [
        (2, "IN_FORCE", 90),
        (1, "ENDED", 365),
    ]
    assert history[0]["applied_by"].startswith("cli:")
    assert read(installation, "show", "ssd", "--version", "1")["cryptoperiod_days"] == 365


def test_faults_are_told_with_file_and_line(installation: Installation) -> None:
    path = write(installation, 0)
    for command in (("check", path), ("apply", path, "--expect", "0")):
        refused = installation.run("policies", *command)
        assert refused.exit_code == 1
        assert "ssd.toml:1: cryptoperiod_days" in refused.stderr
    assert not read(installation, "list")


def test_what_is_not_there_is_said(installation: Installation) -> None:
    for command in (("show", "none"), ("history", "none"), ("explain", CARD, "A000000999")):
        refused = installation.run("policies", *command)
        assert refused.exit_code == 1
        assert "input.not-found" in refused.stderr
