import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from kms import bootstrap_doctor
from kms.cli import preflight
from kms.cli.preflight import check_ready_to_schedule, check_ready_to_serve
from kms.config import Config, load_config
from kms.domain.fitness import Finding, Severity
from kms.errors import Code, Fault, KmsError
from kms.pki import init_pki, issue_peer
from tests.unit.config.conftest import PROFILE, TEXT
from tests.unit.config.peer_texts import ISSUER_PEER, PIN, PROVIDER_PEER, RANGE


def _load(folder: Path, *changes: tuple[str, str], more: str = "") -> Config:
    text = (TEXT + more).replace("/usr/lib/softhsm/libsofthsm2.so", "module.so").replace("8443", "0")
    for old, new in changes:
        text = text.replace(old, new)
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "plain.toml").write_text(PROFILE)
    (folder / "kms.toml").write_text(text)
    return load_config(folder / "kms.toml")


def _set_up(folder: Path) -> None:
    init_pki(folder, ("localhost",), datetime.now(UTC))
    (folder / "module.so").touch()
    (folder / "var").mkdir()
    (folder / "var" / "hsm.pin").touch(mode=0o600)
    (folder / "var" / "hsm.pin").write_text("1234\n")


def _faults(config: Config) -> dict[str, str]:
    with pytest.raises(KmsError) as caught:
        check_ready_to_serve(config)
    assert caught.value.code is Code.NOT_READY
    return {fault.where: fault.what for fault in caught.value.faults}


@pytest.fixture
def platform_faults(monkeypatch: pytest.MonkeyPatch) -> list[Fault]:
    """What the process that opens database and HSM would find."""
    found: list[Fault] = []
    monkeypatch.setattr(preflight, "_find_platform_faults", lambda _config_file, _program: tuple(found))
    return found


def test_nothing_missing_says_nothing(tmp_path: Path, platform_faults: list[Fault]) -> None:
    _set_up(tmp_path)
    check_ready_to_serve(_load(tmp_path))
    platform_faults.append(Fault("database", "The schema is not there"))
    assert _faults(_load(tmp_path)) == {"database": "The schema is not there"}


def test_on_a_bare_machine_every_missing_piece_has_its_line(tmp_path: Path) -> None:
    config = _load(tmp_path, ('pin_file = "var/hsm.pin"', 'pin_file = "var/hsm.pin"\nsofthsm2_conf = "softhsm2.conf"'))
    faults = _faults(config)
    assert set(faults) == {
        "server.certificate",
        "server.private_key",
        "server.client_ca",
        "hsm.module",
        "hsm.softhsm2_conf",
        "hsm.pin_file",
    }
    assert "kms pki init" in faults["server.certificate"]


@pytest.mark.usefixtures("platform_faults")
def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    _set_up(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        faults = _faults(_load(tmp_path, ("port = 0", f"port = {port}")))
    assert "already in use" in faults["server.port"]


@pytest.mark.usefixtures("platform_faults")
def test_production_refuses_a_development_authority(tmp_path: Path) -> None:
    _set_up(tmp_path)
    faults = _faults(_load(tmp_path, ('"lab"', '"production"')))
    for where in ("server.client_ca", "server.certificate"):
        assert faults[where].startswith("Production mode refuses")
        assert "of a development authority" in faults[where]


@pytest.mark.usefixtures("platform_faults")
def test_production_refuses_the_settings_of_a_lab_which_the_lab_starts_with(tmp_path: Path) -> None:
    _set_up(tmp_path)
    check_ready_to_serve(_load(tmp_path))
    faults = _faults(_load(tmp_path, ('"lab"', '"production"')))
    assert set(faults) == PRODUCTION_FAULTS


def _find_fitness(monkeypatch: pytest.MonkeyPatch, config: Config, program: str) -> set[str]:
    """What the rules over token and database leave, where they find two things, one of them for the console to mend."""
    mended = Finding("keys.ssd-1", Severity.REFUSED, "it has no proved backup", "why", "mend", mended_in_console=True)
    found = (Finding("hsm.module", Severity.REFUSED, "software", "why", "mend"), mended)
    weak = Finding("people.ada", Severity.WEAKNESS, "one-time codes alone", "why", "mend")

    @contextmanager
    def open_doctor(_config: Config) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(examine_parts=lambda: (*found, weak))

    monkeypatch.setattr(bootstrap_doctor, "open_doctor", open_doctor)
    return {fault.where for fault in preflight._find_fitness_faults(config, program)}  # noqa: SLF001 - run in a process of its own


def test_the_console_starts_with_what_people_mend_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _load(tmp_path)
    assert _find_fitness(monkeypatch, config, "server") == {"hsm.module", "keys.ssd-1"}
    assert _find_fitness(monkeypatch, config, "console") == {"hsm.module"}


def test_the_scheduler_of_a_production_platform_refuses_by_the_same_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_up(tmp_path)
    check_ready_to_schedule(_load(tmp_path))
    config = _load(tmp_path, ('"lab"', '"production"'))
    _find_fitness(monkeypatch, config, "scheduler")
    with pytest.raises(KmsError) as caught:
        check_ready_to_schedule(config)
    assert {fault.where for fault in caught.value.faults} == PRODUCTION_FAULTS | {"hsm.module", "keys.ssd-1"}


@pytest.mark.usefixtures("platform_faults")
def test_a_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    _set_up(tmp_path)
    (tmp_path / "server.key").write_bytes((tmp_path / "ca.key").read_bytes())
    assert "not usable together" in _faults(_load(tmp_path))["server.certificate"]


PRODUCTION_FAULTS = {
    "server.client_ca",
    "server.certificate",
    "hsm.allowed_tokens",
    "hsm.pin_file",
    "database.url",
    "console.origin",
    "audit",
}
BOTH = ('role = "issuer"\nmode', 'role = "both"\nmode')
PEERS = ISSUER_PEER + RANGE + PROVIDER_PEER.replace(f'certificate_fingerprint = "{PIN}"', 'certificate = "bikes.pem"')


def _make_peers(folder: Path) -> None:
    """What a bank's platform gives us and, for a lab, what we give to the provider `bikes`."""
    now = datetime.now(UTC)
    issue_peer(folder, "bikes", ("localhost",), now)
    authority, server = init_pki(folder / "bank", ("localhost",), now)
    us = issue_peer(folder / "bank", "us", ("localhost",), now)
    made = {
        "bank-ca.pem": authority.certificate_file,
        "bank.pem": server.certificate_file,
        "us.pem": us.certificate_file,
        "us.key": us.key_file,
    }
    for name, path in made.items():
        (folder / name).write_bytes(path.read_bytes())


@pytest.mark.usefixtures("platform_faults")
def test_each_missing_file_of_a_peer_has_its_line(tmp_path: Path) -> None:
    _set_up(tmp_path)
    faults = _faults(_load(tmp_path, BOTH, more=PEERS))
    assert set(faults) == {
        "peers.bikes.certificate",
        "peers.bank.certificate",
        "peers.bank.ca",
        "peers.bank.client_certificate",
        "peers.bank.client_key",
    }
    assert str(tmp_path / "us.key") in faults["peers.bank.client_key"]
    assert "kms pki peer" in faults["peers.bikes.certificate"]
    _make_peers(tmp_path)
    check_ready_to_serve(_load(tmp_path, BOTH, more=PEERS))


@pytest.mark.usefixtures("platform_faults")
def test_a_peer_s_file_that_is_no_certificate_and_a_foreign_key_are_told(tmp_path: Path) -> None:
    _set_up(tmp_path)
    _make_peers(tmp_path)
    (tmp_path / "bikes.pem").write_text("no certificate")
    (tmp_path / "us.key").write_bytes((tmp_path / "ca.key").read_bytes())
    faults = _faults(_load(tmp_path, BOTH, more=PEERS))
    assert set(faults) == {"peers.bikes.certificate", "peers.bank.client_certificate"}


@pytest.mark.usefixtures("platform_faults")
def test_production_refuses_a_peer_s_development_authority(tmp_path: Path) -> None:
    _set_up(tmp_path)
    _make_peers(tmp_path)
    faults = _faults(_load(tmp_path, BOTH, ('"lab"', '"production"'), more=PEERS))
    assert set(faults) == PRODUCTION_FAULTS | {"peers.bank.ca", "peers.bank.client_certificate"}
    assert "of a development authority" in faults["peers.bank.ca"]
