"""softhsm/setup_token.py as people run it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from demo.installation import SOFTHSM2_LIBRARY as LIBRARY
from kms.hsm.softhsm_tokens import restore_tokens
from tests.contract.tokens import SOFTHSM2_SETUP as SETUP

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="SoftHSM2 is not installed: apt-get install softhsm2")


def run(folder: Path, label: str = "issuer") -> "subprocess.CompletedProcess[str]":
    pins = ["--pin-file", str(folder / "pin"), "--so-pin-file", str(folder / "so-pin")]
    command = [sys.executable, str(SETUP), "--dir", str(folder), "--label", label, *pins]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_second_run_changes_nothing(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("token issuer: made")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    second = run(tmp_path)
    assert second.stdout.startswith("token issuer: already there")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_pins_are_random_for_their_owner_alone_and_never_shown(tmp_path: Path) -> None:
    done = run(tmp_path)
    pins = [(tmp_path / name).read_text().strip() for name in ("pin", "so-pin")]
    assert pins[0] != pins[1]
    assert all(len(pin) == 32 and pin not in done.stdout + done.stderr for pin in pins)
    for path in (tmp_path / "pin", tmp_path / "so-pin"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_fork_is_made_visible_and_tokens_are_the_projects_own(tmp_path: Path) -> None:
    run(tmp_path)
    lines = (tmp_path / "softhsm2.conf").read_text().splitlines()
    assert "library.reset_on_fork = true" in lines
    assert f"directories.tokendir = {tmp_path}/tokens" in lines


def test_several_tokens_live_side_by_side(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 0
    assert run(tmp_path, "provider").stdout.startswith("token provider: made")
    assert run(tmp_path, "provider").stdout.startswith("token provider: already there")


def test_a_lost_pin_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "pin").unlink()
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "bring the PIN file back" in done.stderr
    assert not (tmp_path / "pin").exists()


def test_a_set_up_that_was_cut_off_between_token_and_pin_is_finished(tmp_path: Path) -> None:
    (tmp_path / "so-pin").write_text("0123456789abcdef\n")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    half = f"""
import ctypes
library = ctypes.CDLL({str(LIBRARY)!r})
assert library.C_Initialize(None) == 0
assert library.C_InitToken(ctypes.c_ulong(0), b"0123456789abcdef", ctypes.c_ulong(16), b"issuer".ljust(32)) == 0
"""
    environment = os.environ | {"SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}
    subprocess.run([sys.executable, "-c", half], env=environment, check=True)
    assert run(tmp_path).stdout.startswith("token issuer: made")
    assert run(tmp_path).stdout.startswith("token issuer: already there")


def test_a_label_that_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, "x" * 33)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_a_token_file_that_a_kill_left_empty_is_brought_back(tmp_path: Path) -> None:
    run(tmp_path)
    token_file = next(tmp_path.glob("tokens/*/token.object"))
    token_file.write_bytes(b"")
    assert restore_tokens(tmp_path / "softhsm2.conf") == (token_file,)
    assert run(tmp_path).stdout.startswith("token issuer: already there")
