import json
import ssl
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kms.cli.pki import pki_group
from kms.domain.permissions import Action
from kms.errors import Code, KmsError


class _Terminals:
    """Stands for `perform`."""

    def __init__(self, failure: KmsError | None = None) -> None:
        self.enrolled: dict[str, object] = {}
        self.failure = failure

    def perform(self, _ctx: object, action: Action, given: dict[str, object]) -> None:
        assert action is Action.TERMINALS_ENROL
        if self.failure:
            raise self.failure
        self.enrolled[str(given["name"])] = given["fingerprint"]


def _run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(pki_group, [*arguments, "--dir", str(folder)])


def test_init_and_terminal_print_what_they_made(tmp_path: Path) -> None:
    made = _run(tmp_path, "init", "--json")
    assert [row["name"] for row in json.loads(made.stdout)] == ["ca", "server"]
    terminal = json.loads(_run(tmp_path, "terminal", "terminal-1", "--json").stdout)
    assert len(bytes.fromhex(terminal["fingerprint"])) == 32
    assert Path(terminal["key"]).is_file()


def test_a_peer_s_certificate_is_printed_with_the_fingerprint_to_pin(tmp_path: Path) -> None:
    _run(tmp_path, "init")
    peer = json.loads(_run(tmp_path, "peer", "bikes", "--host", "bikes.example", "--json").stdout)
    assert peer["name"] == "bikes"
    assert len(bytes.fromhex(peer["fingerprint"])) == 32
    assert b"bikes.example" in ssl.PEM_cert_to_DER_cert(Path(peer["certificate"]).read_text())


def test_a_second_init_is_refused(tmp_path: Path) -> None:
    _run(tmp_path, "init")
    error = _run(tmp_path, "init").exception
    assert isinstance(error, KmsError)
    assert error.code is Code.CONFLICT


def test_enrolment_goes_by_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminals = _Terminals()
    monkeypatch.setattr("kms.cli.pki.perform", terminals.perform)
    _run(tmp_path, "init")
    answer = json.loads(_run(tmp_path, "terminal", "terminal-1", "--enrol", "--json").stdout)
    assert terminals.enrolled == {"terminal-1": bytes.fromhex(answer["fingerprint"])}


def test_a_certificate_that_could_not_be_enrolled_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminals = _Terminals(KmsError(Code.CONFLICT, "There is a terminal of this name"))
    monkeypatch.setattr("kms.cli.pki.perform", terminals.perform)
    _run(tmp_path, "init")
    assert isinstance(_run(tmp_path, "terminal", "terminal-1", "--enrol").exception, KmsError)
    assert not list(tmp_path.glob("terminal-1.*"))
