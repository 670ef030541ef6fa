"""Tries channels for the tests from a process of its own: a process loads a PKCS#11 library once, others' tests too.

Run as `python -m tests.functional.channel_prober CONFIG`: a card identity in hex on each line of standard input is
answered by lines of JSON: commands for the card (answered by a line of hex), then all attempts.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from demo.channels import attempt_channels
from kms.bootstrap import open_platform
from kms.config import load_config

ROOT = Path(__file__).resolve().parents[2]


class AnyCard(Protocol):
    def transmit(self, command: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class Tried:
    """One key set that was ever on record, and whether the card opened a channel under it."""

    aid: str
    kvn: int
    current: bool
    opened: bool
    answer: str


class ChannelProber:
    """The process, seen from the test."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", __name__, str(config)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def try_all(self, identity: bytes, card: AnyCard) -> list[Tried]:
        """Try every key set on record for the card; the current ones must open a channel, the others must not."""
        self._write(identity.hex())
        while True:
            message = self._read()
            if "attempts" in message:
                return [Tried(**attempt) for attempt in message["attempts"]]
            self._write(card.transmit(bytes.fromhex(message["apdu"])).hex())

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the prober ended; its standard error says why"
        message: dict[str, Any] = json.loads(line)
        return message


class _CardOfTheTest:
    """The child's end of the card (`terminal.card.Card`)."""

    def transmit(self, command: bytes) -> bytes:
        _tell({"apdu": command.hex()})
        return bytes.fromhex(sys.stdin.readline())

    def reset(self) -> None: ...


def _tell(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _serve(config: Path) -> None:
    platform = open_platform(load_config(config))
    try:
        while line := sys.stdin.readline().strip():
            attempts = [
                {
                    "aid": attempt.domain.aid.hex().upper(),
                    "kvn": attempt.kvn,
                    "current": attempt.current,
                    "opened": attempt.opened,
                    "answer": attempt.answer,
                }
                for attempt in attempt_channels(platform, bytes.fromhex(line), _CardOfTheTest())
            ]
            _tell({"attempts": attempts})
    finally:
        platform.vault.close()
        platform.store.dispose()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
