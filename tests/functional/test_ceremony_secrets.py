"""A whole ceremony at a running console: its key components, the key and the PIN are found nowhere afterwards."""

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from demo.installation import BIN
from kms.bootstrap import Platform, open_platform
from kms.card.keys import KeyType
from kms.cli.admin_client import open_http
from kms.config import load_config
from kms.domain.ceremonies import Subject
from kms.domain.ceremony_records import verify_record
from kms.domain.people import Account, AccountState, CredentialKind, LoginSession, Person, PersonState, Role
from kms.service.login import compute_session_id
from kms.single_use.starter import EntryStarter
from tests.fakes.ceremony_scene import SCRIPTS, make_components
from tests.fakes.installation import Installation
from tests.functional.test_people import site
from tests.key_boundary.memory import dump_memory, find_children

__all__ = ["site"]

CONFIGURATION = """
[ceremonies]
folder = "{scripts}"

[console]
port = 0
certificate = "{folder}/pki/server.pem"
private_key = "{folder}/pki/server.key"
origin = "https://localhost:8444"
"""


@dataclass
class Hall:
    """A running console and people who are logged in. `heard`: every answer's body."""

    site: Installation
    platform: Platform
    server: str
    process: subprocess.Popen[str]
    logins: dict[str, str]
    client: httpx.Client
    heard: list[bytes] = field(default_factory=list)

    def step(self, who: str, ceremony: str, number: int, **given: object) -> Any:  # noqa: ANN401 - JSON
        answer = self.client.post(
            f"{self.server}/admin/v1/actions/ceremonies.step",
            json={"parameters": {"ceremony": ceremony, "number": number, **given}},
            headers={"Authorization": f"Bearer {self.logins[who]}"},
        )
        self.heard.append(answer.content)
        assert answer.is_success, answer.text
        return answer.json()["result"]

    def enter(self, who: str, ceremony: str, component: str) -> httpx.Response:
        """As the console's page does: start the process, send it the form."""
        starter = EntryStarter(self.site.config)
        started = starter.start(
            ceremony, self.logins[who], origin="https://localhost:8444", back="https://localhost:8444/"
        )
        answer = self.client.post(
            f"https://localhost:{started.port}/",
            data={"ticket": started.ticket, "component": component},
            headers={"Origin": "https://localhost:8444"},
        )
        self.heard.append(answer.content)
        with pytest.raises(httpx.TransportError):  # the process has ended
            self.client.post(f"https://localhost:{started.port}/", data={"ticket": started.ticket})
        return answer


@pytest.fixture
def hall(site: Installation) -> Iterator[Hall]:
    folder = site.folder
    assert site.run("pki", "init", "--dir", str(folder / "pki")).exit_code == 0
    assert site.run("policies", "apply", str(SCRIPTS.parent / "policies"), "--expect", "0").exit_code == 0
    with site.config.open("a") as file:
        file.write(CONFIGURATION.format(folder=folder, scripts=SCRIPTS))
    # RSA pairs take long on a machine that is busy: the watchdog would end the worker, and the step be done again.
    site.config.write_text(site.config.read_text().replace("call_timeout_s = 10", "call_timeout_s = 60"))
    platform = open_platform(load_config(site.config))
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
        people = {"alice": Role.SECURITY_OFFICER, "bob": Role.SECURITY_OFFICER}
        people |= dict.fromkeys(("carl", "dora", "emil"), Role.KEY_CUSTODIAN)
        logins = {name: log_in(platform, name, role) for name, role in people.items()}
        with open_http(str(folder / "pki" / "ca.pem")) as client:
            yield Hall(site, platform, line.split()[1], process, logins, client)
    finally:
        platform.vault.close()
        platform.store.dispose()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def log_in(platform: Platform, name: str, role: Role) -> str:
    """Somebody with a login that is complete; the login's secret. How one logs in is another test's."""
    now, secret = datetime.now(UTC), secrets.token_urlsafe(32)
    with platform.store.transaction() as tx:
        tx.people.add(Person(f"person-{name}", name, frozenset({role}), PersonState.ACTIVE, now))
        tx.accounts.add(Account(f"account-{name}", f"person-{name}", name, AccountState.ACTIVE, now))
        session = LoginSession(
            id=compute_session_id(secret),
            account_id=f"account-{name}",
            person_id=f"person-{name}",
            opened_at=now,
            last_seen_at=now,
            authenticated_at=now,
            second_factor=CredentialKind.WEBAUTHN,
        )
        tx.login_sessions.add(session)
    return secret


def test_nothing_of_a_ceremony_is_found_anywhere(hall: Hall) -> None:
    components, value, kcv = make_components(KeyType.DES2, 3)
    service = hall.platform.ceremonies
    digest = service.load_script("import-vendor-master").digest
    ceremony = service.start(
        "import-vendor-master", digest, Subject("maker", expected_kcv=kcv), actor="person alice"
    ).ceremony.id
    for who in ("alice", "bob"):
        hall.step(who, ceremony, 1)
    hall.step("alice", ceremony, 2)
    for who, component in zip(("carl", "dora", "emil"), components, strict=True):
        answer = hall.enter(who, ceremony, component.hex())
        assert answer.status_code == 200, answer.text
        assert "check value" in answer.text
    hall.step("alice", ceremony, 6)
    for who in ("alice", "bob"):
        hall.step(who, ceremony, 7, kcv=kcv.hex())
    for who in ("alice", "bob"):
        hall.step(who, ceremony, 8)
    hall.step("alice", ceremony, 9)
    hall.step("alice", ceremony, 10)
    done = hall.step("bob", ceremony, 10)
    assert (done["state"], done["cleared"]) == ("DONE", True)
    assert hall.platform.keys.get("maker").kcv == kcv

    pin = hall.platform.config.hsm.pin_file
    assert pin is not None
    pin_text = pin.read_bytes().strip()
    canaries = {f"component {number}": item for number, item in enumerate(components, start=1)} | {"the key": value}
    processes = [hall.process.pid, *find_children(hall.process.pid)]
    assert len(processes) >= 2
    places = {f"memory of {pid}": dump_memory(pid) for pid in processes}
    places |= {str(path): path.read_bytes() for path in hall.site.folder.glob("*.db*")}
    places |= {str(path): path.read_bytes() for path in hall.site.folder.glob("*.log")}
    places |= {f"answer {number}": body for number, body in enumerate(hall.heard)}
    record = hall.platform.ceremony_records.get(ceremony, actor="person alice")
    verify_record(record)
    places["the record"] = record.encode()
    found = [
        f"{name} in {place}"
        for place, content in places.items()
        for name, canary in canaries.items()
        for view in (canary, canary.hex().encode(), canary.hex().upper().encode())
        if view in content
    ]
    assert not found
    # The PIN opens the token from the console's own memory (docs/assurance.md); elsewhere it has no business.
    assert not [place for place, content in places.items() if not place.startswith("memory") and pin_text in content]
    assert any(b"import-vendor-master" in content for place, content in places.items() if place.startswith("memory"))
