"""setup/nss_token.py as people run it."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from demo.installation import NSS_LIBRARY, NSS_SETUP
from tests.fakes.nss_tokens import INSTALL

pytestmark = pytest.mark.skipif(not NSS_LIBRARY.exists(), reason=f"NSS is not installed: {INSTALL}")


def run(folder: Path, label: str = "issuer", *more: str) -> "subprocess.CompletedProcess[str]":
    where = ["--dir", str(folder), "--label", label, "--pin-file", str(folder / f"{label}.pin")]
    command = [sys.executable, str(NSS_SETUP), *where, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_second_run_changes_nothing(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("token issuer: made")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run(tmp_path).stdout.startswith("token issuer: already there")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_pin_is_random_for_its_owner_alone_and_never_shown(tmp_path: Path) -> None:
    done = [run(tmp_path, label) for label in ("issuer", "provider")]
    pins = [(tmp_path / f"{label}.pin").read_text().strip() for label in ("issuer", "provider")]
    assert pins[0] != pins[1]
    assert all(len(pin) == 32 and pin not in each.stdout + each.stderr for pin in pins for each in done)
    assert stat.S_IMODE((tmp_path / "issuer.pin").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tokens" / "issuer").stat().st_mode) == 0o700


def test_the_module_file_shows_every_token_of_the_folder(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, "provider")
    text = (tmp_path / "modules" / "nss-softokn.module").read_text()
    assert "tokenDescription='issuer'" in text
    assert "tokenDescription='provider'" in text


def test_a_lost_pin_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "issuer.pin").unlink()
    done = run(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "bring the PIN file back" in done.stderr
    assert not (tmp_path / "issuer.pin").exists()


def test_a_set_up_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    half = tmp_path / "tokens" / ".issuer.new"
    half.mkdir(parents=True)
    (half / "key4.db").write_bytes(b"half")
    assert run(tmp_path).stdout.startswith("token issuer: made")


@pytest.mark.parametrize("label", ["x" * 33, "a b", "a'b", ""])
def test_a_label_that_nss_could_not_be_told_is_refused_in_one_line(tmp_path: Path, label: str) -> None:
    done = run(tmp_path, label)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_a_missing_library_is_told_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "issuer", "--module", "/nowhere.so")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "libnss3" in done.stderr
