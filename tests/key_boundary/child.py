"""A program of this product under observation, otherwise as it is: its TLS is recorded, its memory may be looked into.

`python -m tests.key_boundary.child RECORDS HOLD PROGRAM ARGUMENTS...`: `RECORDS` is the folder for TLS. `HOLD` is `-`
or a boundary of `terminal.relay.BOUNDARIES`, at which `kms-terminal` stops itself (SIGSTOP) until told to go on.
`PROGRAM`: `kms`, `kms-terminal`, or `shell`, which runs one `kms` command after the other: each a line of JSON with its
arguments, answered by one with exit code and output. Starting Python takes ten times as long as a command. Only the
program's own modules are loaded: what is in its memory is what would be there without an observer.
"""

import functools
import io
import json
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from tests.key_boundary.memory import allow_dumps
from tests.key_boundary.tls_record import recording


def _hold(boundary: str, reached: str) -> None:
    if reached == boundary:
        os.kill(os.getpid(), signal.SIGSTOP)


def _run_kms(arguments: list[str]) -> None:
    from kms.cli import cli  # noqa: PLC0415 - see the module's rules

    cli.main(arguments, prog_name="kms")


def _run_terminal(boundary: str, arguments: list[str]) -> None:
    from terminal.app import main as terminal_main  # noqa: PLC0415 - see the module's rules
    from terminal.relay import Relay  # noqa: PLC0415 - the same

    # What `kms-terminal` builds its visits with: the same relay, watched.
    held = functools.partial(Relay, observer=functools.partial(_hold, boundary))
    with patch("terminal.app.Relay", held):
        terminal_main(arguments)


def _run_shell() -> None:
    for line in sys.stdin:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                _run_kms(json.loads(line))
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        print(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}), flush=True)


def main() -> None:
    records, boundary, program, *arguments = sys.argv[1:]
    allow_dumps()
    with recording(Path(records)):
        match program:
            case "kms":
                _run_kms(arguments)
            case "kms-terminal":
                _run_terminal(boundary, arguments)
            case "shell":
                _run_shell()


if __name__ == "__main__":
    main()
