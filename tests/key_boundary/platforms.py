"""Two platforms whose every PKCS#11 call is on record: pkcs11-spy stands between each of their programs and its token.

Rules: a log for each process that opens a token, since the spy numbers its calls and does not know of others. One
worker, so that it is one process. Whatever opens a token runs apart from the tests: a process loads one library once.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from demo.installation import NSS_LIBRARY, PROJECT, SOFTHSM2_LIBRARY, CommandError, Installation
from tests.key_boundary.memory import dump_memory, find_children

SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so")
END_SECONDS = 30


@dataclass(frozen=True)
class Shell:
    """The process that runs a platform's `kms` commands."""

    process: subprocess.Popen[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        sent, received = _pipe(self.process.stdin), _pipe(self.process.stdout)
        sent.write(json.dumps(arguments) + "\n")
        sent.flush()
        answer = json.loads(received.readline())
        return answer["code"], answer["out"], answer["err"]


@dataclass(frozen=True)
class SpiedInstallation(Installation):
    """An installation behind the spy. `said`: all that its commands printed."""

    shells: list[Shell] = field(default_factory=list, compare=False)
    said: list[str] = field(default_factory=list, compare=False)

    @property
    def library(self) -> Path:
        """The PKCS#11 library that the spy stands in front of."""
        return SOFTHSM2_LIBRARY if self.nss is None else NSS_LIBRARY

    @property
    def records(self) -> Path:
        """Where the TLS of its processes is recorded."""
        return self.folder / "tls"

    @property
    def commands_log(self) -> Path:
        return self.folder / "spy" / f"{self.name}-commands"

    @property
    def server_log(self) -> Path:
        return self.folder / "spy" / f"{self.name}-server"

    def write_configuration(self) -> None:
        """As usual, with the spy for the token's module and one worker."""
        super().write_configuration()
        text = self.platform_config.read_text()
        for old, new in ((f'"{self.library}"', f'"{SPY}"'), ("workers = 2", "workers = 1")):
            if old not in text:
                raise CommandError(f"the configuration has no {old} any more")
            text = text.replace(old, new)
        self.platform_config.write_text(text)
        self.commands_log.parent.mkdir(exist_ok=True)

    def kms(self, *arguments: str) -> str:
        """Run `kms` in the platform's shell."""
        code, out, err = self.shells[0].run("--config", str(self.platform_config), *arguments)
        self.said.extend((out, err))
        if code:
            raise CommandError(f"kms {' '.join(arguments)}\n{err.strip()}")
        return out

    def start(
        self, program: str, *arguments: str, spy_log: Path, hold: str = "-", log: IO[str]
    ) -> subprocess.Popen[str]:
        """Start a program of this installation under observation."""
        module = [sys.executable, "-m", "tests.key_boundary.child", str(self.records), hold, program]
        return subprocess.Popen(
            [*module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=PROJECT,
            env={**os.environ, "PKCS11SPY": str(self.library), "PKCS11SPY_OUTPUT": str(spy_log)},
        )

    @contextmanager
    def commanding(self) -> Iterator[None]:
        """Keep a shell for `kms` commands open."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"shell-{self.name}.log").open("w") as log:
            process = self.start("shell", spy_log=self.commands_log, log=log)
        self.shells.append(Shell(process))
        try:
            yield
        finally:
            _end(process)

    @contextmanager
    def serving(self, what: str = "serve") -> Iterator[subprocess.Popen[str]]:
        """Run `kms serve` until the block ends."""
        with self.log.open("a") as log:
            arguments = ("--config", str(self.platform_config), what)
            server = self.start("kms", *arguments, spy_log=self.server_log, log=log)
        try:
            line = _pipe(server.stdout).readline()
            if not line.startswith("ready"):
                raise CommandError(f"kms {what} did not start: {self.log.read_text()[-2000:]}")
            yield server
        finally:
            server.terminate()
            _end(server)

    def hold_terminal(self, boundary: str, *arguments: str) -> "HeldTerminal":
        """Run `kms-terminal` up to a boundary of its visit, where it is stopped."""
        with (self.folder / f"terminal-{self.name}.log").open("a") as log:
            command = ("--config", str(self.terminal_config), *arguments)
            process = self.start("kms-terminal", *command, spy_log=Path(os.devnull), hold=boundary, log=log)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise CommandError(f"kms-terminal did not come to {boundary!r}: {_pipe(process.stdout).read()}")
        return HeldTerminal(process, self.said)


@dataclass(frozen=True)
class HeldTerminal:
    """A `kms-terminal` that stands still in the middle of a visit."""

    process: subprocess.Popen[str]
    said: list[str] = field(repr=False)

    def dump(self) -> bytes:
        return dump_memory(self.process.pid)

    def go_on(self) -> str:
        """Let it end its visit; what it printed."""
        self.process.send_signal(signal.SIGCONT)
        out, _ = self.process.communicate(timeout=END_SECONDS)
        self.said.append(out)
        if self.process.returncode:
            raise CommandError(f"kms-terminal: {out}")
        return out


def dump_worker(server: subprocess.Popen[str]) -> bytes:
    """The memory of the one process that serves: the server's child with the token's library."""
    (worker,) = (pid for pid in find_children(server.pid) if SPY.name in Path(f"/proc/{pid}/maps").read_text())
    return dump_memory(worker)


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=END_SECONDS)
