"""The terminal's configuration: one TOML file, read once into a frozen value.

Rules: unknown, missing and ill-typed fields are refused, all at once, each with file and field. Relative paths are
taken from the working directory of the process. The core receives values and never reads this.
"""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from terminal.errors import TerminalCode, TerminalError


class IdentitySource(StrEnum):
    """Where a card's identity is read: IIN | CIN (GET DATA 42, 45), or fields of the CPLC (GET DATA 9F7F)."""

    IIN_CIN = "iin-cin"
    CPLC = "cplc"


@dataclass(frozen=True)
class Timeouts:
    """Limits in seconds. `reader_call`: one PC/SC call; `request`: one HTTP request; `reconnect`: SERAM's five minutes.

    `card`: how long a command that needs a card waits for one.
    """

    reader_call: float = 30.0
    request: float = 30.0
    reconnect: float = 300.0
    card: float = 0.0


@dataclass(frozen=True)
class TerminalConfig:
    """All settings. `reader_name`: a part of the reader's name, empty for any reader."""

    server_url: str
    ca_certificate: Path
    client_certificate: Path
    client_key: Path
    journal_directory: Path
    reader_name: str = ""
    timeouts: Timeouts = Timeouts()
    identity_order: tuple[IdentitySource, ...] = (IdentitySource.IIN_CIN, IdentitySource.CPLC)


def load_config(path: Path) -> TerminalConfig:
    """Read and check a configuration file; raises `config.invalid` naming the file and every faulty field."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(path, [f"cannot be read ({error.strerror})"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid(path, [f"is not TOML: {error}"]) from error
    fields = _Fields(document)
    config = TerminalConfig(
        server_url=fields.url("server.url"),
        ca_certificate=fields.path("server.ca_certificate"),
        client_certificate=fields.path("server.client_certificate"),
        client_key=fields.path("server.client_key"),
        journal_directory=fields.path("journal.directory"),
        reader_name=fields.text("reader.name", ""),
        timeouts=Timeouts(
            reader_call=fields.seconds("timeouts.reader_call", Timeouts.reader_call),
            request=fields.seconds("timeouts.request", Timeouts.request),
            reconnect=fields.seconds("timeouts.reconnect", Timeouts.reconnect, zero=True),
            card=fields.seconds("timeouts.card", Timeouts.card, zero=True),
        ),
        identity_order=fields.identity_order("identity.order"),
    )
    fields.refuse_the_rest()
    if fields.faults:
        raise _invalid(path, fields.faults)
    return config


def _invalid(path: Path, faults: list[str]) -> TerminalError:
    listed = "; ".join(faults)
    return TerminalError(
        TerminalCode.CONFIG_INVALID,
        f"Configuration {path}: {listed}.",
        "Mend the file (config/terminal.toml shows every field), or name another with --config.",
    )


class _Fields:
    """Takes fields out of a parsed document one by one and gathers faults; what nobody took is unknown."""

    def __init__(self, document: dict[str, object]) -> None:
        self.faults: list[str] = []
        self._values: dict[str, object] = {}
        for section, content in document.items():
            if isinstance(content, dict):
                self._values.update({f"{section}.{name}": value for name, value in content.items()})
            else:
                self._values[section] = content

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.pop(name, default)
        if isinstance(value, str):
            return value
        self.faults.append(f"{name} is missing" if value is None else f"{name} must be text")
        return ""

    def path(self, name: str) -> Path:
        value = self.text(name)
        if value == "" and not self._has_fault(name):
            self.faults.append(f"{name} must not be empty")
        return Path(value).absolute()

    def url(self, name: str) -> str:
        value = self.text(name)
        if self._has_fault(name):
            return ""
        try:
            parts = urlsplit(value)
            sound = parts.scheme == "https" and bool(parts.hostname) and not parts.query and not parts.fragment
            sound = sound and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            self.faults.append(f"{name} must be an https:// address without a query")
        return value.rstrip("/")

    def seconds(self, name: str, default: float, *, zero: bool = False) -> float:
        value = self._values.pop(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.faults.append(f"{name} must be a number of seconds")
            return default
        if not (0 < value <= 86400 or (zero and value == 0)):
            self.faults.append(f"{name} must be between 0 and 86400 seconds")
            return default
        return float(value)

    def identity_order(self, name: str) -> tuple[IdentitySource, ...]:
        value = self._values.pop(name, [source.value for source in IdentitySource])
        known = {source.value: source for source in IdentitySource}
        names = value if isinstance(value, list) else []
        sources = tuple(known[item] for item in names if isinstance(item, str) and item in known)
        if not sources or len(sources) != len(names) or len(set(sources)) != len(sources):
            self.faults.append(f'{name} must list "iin-cin" and "cplc", or one of them, each once')
        return sources

    def refuse_the_rest(self) -> None:
        self.faults.extend(f"{name} is not a known field" for name in sorted(self._values))

    def _has_fault(self, name: str) -> bool:
        return any(fault.startswith(f"{name} ") for fault in self.faults)
