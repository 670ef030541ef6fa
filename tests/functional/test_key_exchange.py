"""`kms keys exchange` between two installations, each with a SoftHSM2 token and a database of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from tests.fakes.installation import Installation, RealToken, build_installation
from tests.functional.site_database import make_database

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
SETUP = Path(__file__).resolve().parents[2] / "softhsm" / "setup_token.py"


@dataclass(frozen=True)
class Line:
    """An issuer and a provider, and a folder for the files between them."""

    issuer: Installation
    provider: Installation
    folder: Path

    def offer(self, name: str = "offer") -> tuple[Path, str]:
        path = self.folder / name
        shown = read(self.provider.run("keys", "exchange", "offer", "--peer", "issuer", "--out", str(path), "--json"))
        return path, str(shown["fingerprint"])

    def answer(self, offer: Path, fingerprint: str, name: str = "answer", *more: str) -> Result:
        files = ("--in", str(offer), "--out", str(self.folder / name))
        return self.issuer.run(
            "keys", "exchange", "answer", "--peer", "provider", *files, "--fingerprint", fingerprint, "--json", *more
        )

    def accept(self, name: str, fingerprint: str) -> Result:
        file = str(self.folder / name)
        return self.provider.run(
            "keys", "exchange", "accept", "--peer", "issuer", "--in", file, "--fingerprint", fingerprint, "--json"
        )


def read(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def build_site(folder: Path, tokens: Path, name: str) -> Installation:
    home = folder / name
    home.mkdir()
    pin_file = tokens / f"{name}.pin"
    command = [sys.executable, str(SETUP), "--dir", str(tokens), "--label", name, "--pin-file", str(pin_file)]
    subprocess.run([*command, "--so-pin-file", str(tokens / f"{name}.so-pin")], check=True, capture_output=True)
    token = RealToken(LIBRARY, pin_file, tokens / "softhsm2.conf")
    installation = build_installation(home, make_database(folder, name).url, name=name, token=token)
    assert installation.run("db", "upgrade").exit_code == 0
    return installation


@pytest.fixture
def line(tmp_path: Path) -> Line:
    if not Path(LIBRARY).exists():
        pytest.skip("SoftHSM2 is not installed: apt-get install softhsm2")
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    issuer, provider = (build_site(tmp_path, tokens, name) for name in ("issuer", "provider"))
    return Line(issuer, provider, tmp_path)


def test_two_people_with_two_files_and_a_telephone(line: Line) -> None:
    offer, fingerprint = line.offer()
    answered = read(line.answer(offer, fingerprint))
    accepted = read(line.accept("answer", str(answered["fingerprint"])))
    assert accepted["kcv"] == answered["kcv"]
    assert accepted["kcv_method"] == answered["kcv_method"] == "aes-cmac-zero"
    # Both HSMs hold what the records say, and show it.
    for site, peer, pairs in (
        (line.issuer, "provider", {"issuer-signing"}),
        (line.provider, "issuer", {"provider-signing", "provider-transport"}),
    ):
        status = json.loads(site.run("hsm", "status", "--json").stdout)
        assert [(key["name"], key["kind"], key["in_hsm"]) for key in status["keys"]] == [(peer, "peer-kek", "found")]
        assert {pair["name"] for pair in status["platform_keys"]} == pairs
        assert {pair["in_hsm"] for pair in status["platform_keys"]} == {"found"}
        assert status["missing_peer_mechanisms"] == []
    # Taken again, it is harmless; both logs tell the same KEK.
    assert read(line.accept("answer", str(answered["fingerprint"]))) == accepted
    for site, action in ((line.issuer, "key-exchange.answer"), (line.provider, "key-exchange.accept")):
        events = json.loads(site.run("audit", "tail", "--json").stdout)
        kcvs = [event["kcv"] for event in events if event["action"] == action]
        assert kcvs == [f"aes-cmac-zero:{answered['kcv']}"]


def test_what_is_not_the_peers_file_is_refused_by_name(line: Line) -> None:
    offer, fingerprint = line.offer()
    assert "[exchange.fingerprint-mismatch]" in run_plainly(line, offer, "00" * 32)
    changed = line.folder / "changed"
    changed.write_text(offer.read_text().replace('"provider": "provider"', '"provider": "mallory"'))
    assert "[exchange.refused]" in run_plainly(line, changed, fingerprint)
    assert not (line.folder / "answer").exists()
    answered = read(line.answer(offer, fingerprint))
    assert json.loads(line.answer(offer, fingerprint, "second").stderr)["code"] == "input.conflict"
    newer = read(line.answer(offer, fingerprint, "newer", "--new-generation"))
    read(line.accept("newer", str(newer["fingerprint"])))
    replayed = line.accept("answer", str(answered["fingerprint"]))
    assert json.loads(replayed.stderr)["code"] == "exchange.refused"


def run_plainly(line: Line, offer: Path, fingerprint: str) -> str:
    files = ("--in", str(offer), "--out", str(line.folder / "answer"))
    result = line.issuer.run("keys", "exchange", "answer", "--peer", "provider", *files, "--fingerprint", fingerprint)
    assert result.exit_code == 1
    return result.stderr
