"""Combines a ceremony's components in a process of its own (`kms ceremony combine`), which ends with that.

Rules: the long-lived process gets back a wrapped key and its check value, or an error's code and text; never a
component. Nothing but the ceremony's id is handed over.
"""

import json
import subprocess
import sys
from pathlib import Path

from kms.card.keys import KcvMethod, KeyType
from kms.errors import Code, KmsError
from kms.service.ceremonies.ports import SealedKey

TIMEOUT_S = 60
_PROGRAM = "from kms.cli import main; main()"


def build_command(config_file: Path, *arguments: str) -> list[str]:
    """The command line of `kms ceremony ARGUMENTS` in another process of the same installation."""
    return [sys.executable, "-c", _PROGRAM, "--config", str(config_file), "ceremony", *arguments]


class ProcessCombiner:
    """`kms.service.ceremonies.ports.Combiner`. `config_file`: of this installation."""

    def __init__(self, config_file: Path) -> None:
        self._config_file = config_file

    def combine(self, ceremony_id: str) -> SealedKey:
        """See `Combiner.combine`. Raises `platform.internal` for a process that failed without a word."""
        command = build_command(self._config_file, "combine", ceremony_id, "--json")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603 - our own program and an id
        except (OSError, subprocess.TimeoutExpired):
            raise KmsError(Code.INTERNAL, "The process that combines components did not answer.") from None
        try:
            if done.returncode:
                answer = json.loads(done.stderr)
                raise KmsError(Code(str(answer["code"])), str(answer["detail"]))
            answer = json.loads(done.stdout)
            return SealedKey(
                bytes.fromhex(answer["wrapped"]),
                KeyType(answer["key_type"]),
                KcvMethod(answer["kcv_method"]),
                bytes.fromhex(answer["kcv"]),
            )
        except (ValueError, KeyError, TypeError):
            raise KmsError(Code.INTERNAL, "The process that combines components failed.") from None
