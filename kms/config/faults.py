"""Reading TOML and turning what a schema says of it into faults: where it is and what is wrong, never the value."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kms.errors import Fault

TomlTable = Mapping[str, Any]

# Pydantic speaks of keyword arguments where the file has keys.
_WORDS = {
    "unexpected_keyword_argument": "Unknown key: remove it or mend its spelling",
    "extra_forbidden": "Unknown key: remove it or mend its spelling",
    "missing": "Missing",
}


def read_toml(path: Path) -> TomlTable | Fault:
    """Read a TOML file; a file that cannot be read or parsed comes back as its one fault."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return Fault(str(path), f"Cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Fault(str(path), "Is not UTF-8 text")
    except tomllib.TOMLDecodeError as error:
        return Fault(str(path), f"Is not TOML: {error}")


def build_json(table: TomlTable) -> str:
    """TOML as JSON, because pydantic's strict mode takes enums, paths and hex from JSON; a TOML date becomes text."""
    return json.dumps(table, default=str)


def parse_faults(path: Path, error: ValidationError) -> tuple[Fault, ...]:
    """Every fault pydantic found, with its field written as in TOML (`applications[1].aid`)."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(Fault(f"{path}: {_field(item['loc'])}", _what(item["type"], item["msg"])) for item in found)


def _what(kind: str, message: str) -> str:
    return _WORDS.get(kind) or message.removeprefix("Value error, ")


def _field(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    return text
