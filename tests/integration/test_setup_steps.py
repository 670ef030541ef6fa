"""The set-up's steps, run in a copy, with stand-ins for the programs that would change the machine."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What the steps use of any system; nothing that installs, starts or asks for a password.
TOOLS = ("sh", "cat", "cut", "dirname", "grep", "mkdir", "rm", "setsid", "sha256sum", "sleep", "tail", "env")


class Sandbox:
    """A copy of `setup/` with a PATH of its own, on which a test puts stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        shutil.copytree(ROOT / "setup", folder / "setup")
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)

    def stand_in(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\necho {name} \"$@\" >>'{self.folder}/calls'\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def run(self, step: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "setup" / step],
            env={"PATH": str(self.bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def start_time(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]


def test_installed_packages_are_left_alone(sandbox: Sandbox) -> None:
    sandbox.stand_in("dpkg-query", "printf installed")
    sandbox.stand_in("apt-get", "exit 1")
    answer = sandbox.run("packages.sh")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert not [call for call in sandbox.calls() if call.startswith("apt-get")]


def test_missing_packages_alone_are_installed(sandbox: Sandbox) -> None:
    sandbox.stand_in("dpkg-query", 'case "$*" in *softhsm2|*swig) exit 1;; *) printf installed;; esac')
    sandbox.stand_in("apt-get", "")
    sandbox.stand_in("id", "echo 0")
    answer = sandbox.run("packages.sh")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "setup: installing Debian packages: softhsm2 swig\n"
    assert [call for call in sandbox.calls() if call.startswith("apt-get")] == [
        "apt-get update",
        "apt-get install --yes --no-install-recommends softhsm2 swig",
    ]


def test_without_root_and_sudo_one_line_says_what_to_run(sandbox: Sandbox) -> None:
    sandbox.stand_in("dpkg-query", 'case "$*" in *swig) exit 1;; *) printf installed;; esac')
    sandbox.stand_in("apt-get", "")
    sandbox.stand_in("id", "echo 1000")
    answer = sandbox.run("packages.sh")
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "apt-get update && apt-get install --no-install-recommends swig" in answer.stderr
    assert not [call for call in sandbox.calls() if call.startswith("apt-get")]


def test_a_failing_installation_shows_why(sandbox: Sandbox) -> None:
    sandbox.stand_in("dpkg-query", "exit 1")
    sandbox.stand_in("apt-get", "echo no network >&2; exit 100")
    sandbox.stand_in("id", "echo 0")
    answer = sandbox.run("packages.sh")
    assert answer.returncode == 1
    assert "no network" in answer.stderr
    assert ".state/packages.log" in answer.stderr


def test_a_pcscd_that_serves_the_virtual_reader_is_used(sandbox: Sandbox) -> None:
    sandbox.stand_in("opensc-tool", "echo '0    No             Virtual PCD 00 00'")
    sandbox.stand_in("pcscd", "")
    answer = sandbox.run("pcscd.sh")
    assert answer.returncode == 0, answer.stderr
    assert not [call for call in sandbox.calls() if call.startswith("pcscd")]
    assert not (sandbox.folder / ".state" / "pcscd.pid").exists()


def test_stop_ends_the_pcscd_that_was_started_here(sandbox: Sandbox) -> None:
    with subprocess.Popen(["sleep", "60"]) as ours:  # noqa: S607 - any process will do
        state = sandbox.folder / ".state"
        state.mkdir()
        (state / "pcscd.pid").write_text(f"{ours.pid} {start_time(ours.pid)}\n", encoding="ascii")
        sandbox.stand_in("id", "echo 0")
        answer = sandbox.run("stop.sh")
        assert answer.returncode == 0, answer.stderr
        assert ours.wait(timeout=10) < 0
        assert not (state / "pcscd.pid").exists()


def test_stop_leaves_a_process_that_only_has_the_number_of_ours(sandbox: Sandbox) -> None:
    state = sandbox.folder / ".state"
    state.mkdir()
    (state / "pcscd.pid").write_text(f"{os.getpid()} 1\n", encoding="ascii")
    answer = sandbox.run("stop.sh")  # would end this test
    assert answer.returncode == 0, answer.stderr
    assert not (state / "pcscd.pid").exists()


def test_stop_with_nothing_started_does_nothing(sandbox: Sandbox) -> None:
    answer = sandbox.run("stop.sh")
    assert (answer.returncode, answer.stdout) == (0, "")


def test_a_locked_environment_that_is_up_to_date_is_left_alone(sandbox: Sandbox) -> None:
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, sandbox.folder)
    inputs = [(sandbox.folder / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    stamp = hashlib.sha256(b"".join(inputs)).hexdigest()
    (sandbox.folder / ".venv" / "bin").mkdir(parents=True)
    python = sandbox.folder / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    python.chmod(0o755)
    (sandbox.folder / ".state").mkdir()
    (sandbox.folder / ".state" / "venv").write_text(f"{stamp} {sandbox.folder}\n", encoding="utf-8")
    answer = sandbox.run("venv.sh")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
