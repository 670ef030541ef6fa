"""Lab and production on a real token and database: what `kms doctor` lists is what a production server refuses by."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kms.pki import init_pki
from tests.fakes.installation import Installation, RealToken, build_installation
from tests.functional.site_database import make_database

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
SETUP = Path(__file__).resolve().parents[2] / "softhsm" / "setup_token.py"
LABEL = 'token_label = "issuer"\n'
PRODUCTION = (('mode = "lab"', 'mode = "production"'), ("allow_transient_plaintext = true\n", ""))


@pytest.fixture
def site(tmp_path: Path) -> Installation:
    """A lab as it is set up: SoftHSM2, a development authority, the schema and no person yet."""
    if not Path(LIBRARY).exists():
        pytest.skip("SoftHSM2 is not installed: apt-get install softhsm2")
    pin_file = tmp_path / "pin"
    command = [sys.executable, str(SETUP), "--dir", str(tmp_path), "--label", "issuer", "--pin-file", str(pin_file)]
    subprocess.run([*command, "--so-pin-file", str(tmp_path / "so-pin")], check=True, capture_output=True)
    token = RealToken(LIBRARY, pin_file, tmp_path / "softhsm2.conf")
    site = build_installation(tmp_path, make_database(tmp_path, "issuer").url, token=token)
    assert site.run("db", "upgrade").exit_code == 0
    return site


def ask(site: Installation) -> dict[str, Any]:
    """What the doctor says, with the findings by what they are about."""
    done = site.run("doctor", "--json")
    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    assert told["fit_for_production"] is False
    return {**told, "findings": {item["where"]: item for item in told["findings"]}}


def switch(site: Installation, *changes: tuple[str, str]) -> None:
    text = site.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    site.config.write_text(text)


def test_a_lab_is_told_what_is_missing_and_works_all_the_same(site: Installation) -> None:
    told = ask(site)
    assert told["mode"] == "lab"
    found = told["findings"]
    assert {"platform.mode", "hsm.allowed_tokens", "hsm.module", "console.origin", "people", "policies"} <= set(found)
    assert "SoftHSM v2" in found["hsm.module"]["what"]
    assert "unseen" not in {item["severity"] for item in found.values()}
    assert site.run("keys", "generate", "--kind", "isd", "--name", "isd").exit_code == 0
    assert ask(site)["findings"]["keys.isd-1"]["what"] == "it has no proved backup"


def test_production_refuses_to_serve_for_what_the_doctor_lists(site: Installation) -> None:
    init_pki(site.folder, ("localhost",), datetime.now(UTC))
    switch(site, *PRODUCTION)
    listed = {where for where, item in ask(site)["findings"].items() if item["severity"] != "weakness"}
    assert "platform.mode" not in listed
    for program in (("serve",), ("console",), ("scheduler",), ("scheduler", "run", "sweep", "--once")):
        refused = site.run(*program)
        assert refused.exit_code == 1
        assert "[platform.not-ready]" in refused.stderr
        told = {line.strip().partition(": ")[0] for line in refused.stderr.splitlines() if "Production mode" in line}
        # the policies are missing too, but they are applied in the console
        assert listed - told <= {"policies"} if program == ("console",) else listed <= told


@pytest.mark.parametrize("listed", [False, True])
def test_a_software_token_is_not_logged_in_to_in_production_though_it_is_listed(
    site: Installation, listed: bool
) -> None:
    status = json.loads(site.run("hsm", "status", "--json").stdout)
    name = ":".join(status[part] for part in ("manufacturer", "model", "serial"))
    line = f'allowed_tokens = ["{name}"]\n' if listed else ""
    switch(site, *PRODUCTION, (LABEL, LABEL + line))
    refused = site.run("hsm", "status", "--json")
    assert json.loads(refused.stderr)["code"] == "hsm.token-refused"


def test_the_doctor_works_while_token_and_database_are_away(site: Installation) -> None:
    url = next(line for line in site.config.read_text().splitlines() if line.startswith("url = "))
    switch(site, (LABEL, 'token_label = "gone"\n'), (url, f'url = "sqlite:///{site.folder}/gone.db"'))
    found = ask(site)["findings"]
    assert (found["hsm"]["severity"], found["database"]["severity"]) == ("unseen", "unseen")
    assert "console.origin" in found
