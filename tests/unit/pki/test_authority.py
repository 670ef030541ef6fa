import hashlib
import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kms.errors import Code, KmsError
from kms.pki import init_pki, issue_peer, issue_terminal

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOSTS = ("localhost", "127.0.0.1")


def test_an_authority_a_server_and_a_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pki"
    init_pki(folder, HOSTS, NOW)
    issued = issue_terminal(folder, "terminal-1", NOW)
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{kind}" for name in ("ca", "server", "terminal-1") for kind in ("pem", "key")
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.key")} == {0o600}
    der = ssl.PEM_cert_to_DER_cert(issued.certificate_file.read_text())
    assert issued.fingerprint == hashlib.sha256(der).digest()


def test_a_peer_has_its_own_name_and_files(tmp_path: Path) -> None:
    init_pki(tmp_path, HOSTS, NOW)
    issued = issue_peer(tmp_path, "bikes", HOSTS, NOW)
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "bikes.pem").read_text())
    assert issued.fingerprint == hashlib.sha256(der).digest()
    assert stat.S_IMODE(issued.key_file.stat().st_mode) == 0o600
    with pytest.raises(KmsError) as caught:  # also not where a terminal has the name
        issue_terminal(tmp_path, "bikes", NOW)
    assert caught.value.code is Code.CONFLICT


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    init_pki(tmp_path, HOSTS, NOW)
    issue_terminal(tmp_path, "terminal-1", NOW)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for again in (lambda: init_pki(tmp_path, HOSTS, NOW), lambda: issue_terminal(tmp_path, "terminal-1", NOW)):
        with pytest.raises(KmsError) as caught:
            again()
        assert caught.value.code is Code.CONFLICT
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_one_file_in_the_way_leaves_nothing_half_made(tmp_path: Path) -> None:
    (tmp_path / "server.key").write_text("mine")
    with pytest.raises(KmsError, match=r"server\.key"):
        init_pki(tmp_path, HOSTS, NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["server.key"]


@pytest.mark.parametrize("name", ["", "ca", "server", "../x", "Terminal", "a b", "-a", "x" * 64, "t1\n"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    init_pki(tmp_path, HOSTS, NOW)
    with pytest.raises(KmsError) as caught:
        issue_terminal(tmp_path, name, NOW)
    assert caught.value.code is Code.INPUT_INVALID
    with pytest.raises(KmsError) as caught:
        issue_peer(tmp_path, name, HOSTS, NOW)
    assert caught.value.code is Code.INPUT_INVALID


def test_without_an_authority_the_way_to_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(KmsError, match="kms pki init"):
        issue_terminal(tmp_path, "terminal-1", NOW)


def test_a_damaged_or_foreign_key_is_refused(tmp_path: Path) -> None:
    init_pki(tmp_path, HOSTS, NOW)
    (tmp_path / "ca.key").write_bytes((tmp_path / "server.key").read_bytes())
    with pytest.raises(KmsError, match="do not belong together"):
        issue_terminal(tmp_path, "terminal-1", NOW)
    (tmp_path / "ca.key").write_text("none")
    with pytest.raises(KmsError, match="damaged"):
        issue_terminal(tmp_path, "terminal-1", NOW)


def test_what_was_issued_in_vain_can_be_taken_away(tmp_path: Path) -> None:
    init_pki(tmp_path, HOSTS, NOW)
    issue_terminal(tmp_path, "terminal-1", NOW).remove()
    issue_terminal(tmp_path, "terminal-1", NOW)
