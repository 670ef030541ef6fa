"""Starts the process that takes one key component, for the console.

Rules: what the process needs to know goes through its standard input, never its command line or environment: the
custodian's login, which it checks itself, is the only credential. The console gets back a port.
"""

import json
import secrets
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kms.errors import Code, KmsError
from kms.single_use.combiner import build_command


@dataclass(frozen=True)
class StartedEntry:
    """Where the component's form is sent (`https://host:port/`), and the ticket that it carries."""

    port: int
    ticket: str = field(repr=False)


class EntryStarter:
    """Starts it. `config_file`: of this installation."""

    def __init__(self, config_file: Path) -> None:
        self._config_file = config_file

    def start(self, ceremony_id: str, login_secret: str, *, origin: str, back: str) -> StartedEntry:
        """Start a process for the component that is due. `login_secret`: of the custodian's login.

        `origin`: of the console's pages; `back`: the address of the ceremony's page. Raises what the process says:
        `ceremony.*`, `login.*`, `person.not-permitted`.
        """
        ticket = secrets.token_urlsafe(24)
        asked = {"ceremony": ceremony_id, "login": login_secret, "ticket": ticket, "origin": origin, "back": back}
        process = subprocess.Popen(  # noqa: S603 - our own program
            build_command(self._config_file, "listen", "--json"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=process.wait, daemon=True).start()  # it outlives this call, and leaves no zombie
        if process.stdin is None or process.stdout is None:
            raise KmsError(Code.INTERNAL, "The process for the component has no pipes.")
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(asked))
        with process.stdout:
            line = process.stdout.readline().strip()
        if line.isdigit():
            return StartedEntry(int(line), ticket)
        try:
            answer = json.loads(line)
            code, detail = Code(str(answer["code"])), str(answer["detail"])
        except (ValueError, KeyError, TypeError):
            raise KmsError(Code.INTERNAL, "The process that takes components did not start.") from None
        raise KmsError(code, detail)
