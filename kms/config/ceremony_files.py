"""Ceremony scripts from TOML: one file per ceremony, named after it, fields as in `kms.domain.ceremony_scripts`.

Rules: a script is its file's text as it stands, whose SHA-256 people compare; what was read once is read the same way
again from the text that is stored with the ceremony. Unknown keys are refused, and every fault is told with its file,
line and field, before anything is done.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kms.card.keys import KeyType
from kms.config.faults import parse_faults
from kms.domain.ceremony_scripts import MAX_PEOPLE, CeremonyKind, KeyPlan, Script, Step, StepKind, check_script
from kms.domain.keys import MasterKind
from kms.domain.people import Role
from kms.errors import Code, Fault, KmsError

MAX_TEXT = 65_536  # characters
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_HEADER = re.compile(r"\s*(\[{1,2})\s*([A-Za-z0-9_-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


class _Step(BaseModel):
    model_config = _STRICT
    do: StepKind
    role: Role
    people: int = 1
    component: int = 0
    text: Annotated[str, Field(max_length=2000)] = ""


class _Key(BaseModel):
    model_config = _STRICT
    kind: MasterKind
    type: KeyType
    components: int = 0


class _Script(BaseModel):
    model_config = _STRICT
    purpose: Annotated[str, Field(min_length=1, max_length=500)]
    kind: CeremonyKind
    minutes: Annotated[int, Field(ge=5, le=1440)]
    quorum: Annotated[int, Field(ge=2, le=MAX_PEOPLE)]
    key: _Key | None = None
    steps: Annotated[list[_Step], Field(min_length=1, max_length=40)]


@dataclass(frozen=True)
class LoadedScript:
    """A script and the text it was read from. `digest`: SHA-256 of the text, 32 bytes."""

    script: Script
    text: str
    digest: bytes


def load_scripts(folder: Path) -> Sequence[LoadedScript]:
    """Read every `NAME.toml` of a folder. Raises `config.invalid` with every fault of all."""
    faults: list[Fault] = []
    loaded = []
    for path in sorted(folder.glob("*.toml")):
        try:
            loaded.append(load_script(path))
        except KmsError as error:
            faults.extend(error.faults)
    if faults:
        raise KmsError(Code.CONFIG_INVALID, f"The ceremonies in {folder} have faults; mend each", faults=tuple(faults))
    return loaded


def find_script(folder: Path, name: str) -> LoadedScript:
    """The script of this name in a folder. Raises `input.not-found`, and as `load_script`."""
    path = {path.stem: path for path in folder.glob("*.toml")}.get(name)  # a name never leads out of the folder
    if path is None:
        raise KmsError(Code.NOT_FOUND, f"There is no ceremony of this name in {folder}.")
    return load_script(path)


def load_script(path: Path) -> LoadedScript:
    """Read a script's file. Raises `config.invalid` with every fault, each with its line."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise _refuse(path, (Fault(str(path), f"Cannot be read: {error.strerror}"),)) from None
    except UnicodeDecodeError:
        raise _refuse(path, (Fault(str(path), "Is not UTF-8 text"),)) from None
    return parse_script(path.stem, text, path)


@lru_cache(maxsize=64)  # a ceremony's view reads its script each time
def parse_script(name: str, text: str, path: Path | None = None) -> LoadedScript:
    """Read a script from its text. Raises as `load_script`."""
    source = path or Path(f"{name}.toml")
    if not _NAME.match(name) or len(text) > MAX_TEXT:
        raise _refuse(
            source,
            (
                Fault(
                    str(source),
                    f"A ceremony's file is named a-z, 0-9 and dashes, and has {MAX_TEXT} characters at most",
                ),
            ),
        )
    try:
        table = tomllib.loads(text)
        read = _Script.model_validate_json(json.dumps(table, default=str))
    except tomllib.TOMLDecodeError as error:
        raise _refuse(source, (Fault(str(source), f"Is not TOML: {error}"),)) from None
    except ValidationError as error:
        faults = [
            _place(source, text, fault.where.removeprefix(f"{source}: "), fault.what)
            for fault in parse_faults(source, error)
        ]
        raise _refuse(source, tuple(faults)) from None
    script = Script(
        name=name,
        purpose=read.purpose,
        kind=read.kind,
        minutes=read.minutes,
        quorum=read.quorum,
        steps=tuple(Step(item.do, item.role, item.people, item.component, item.text) for item in read.steps),
        key=KeyPlan(read.key.kind, read.key.type, read.key.components) if read.key is not None else None,
    )
    faults = [_place(source, text, fault.where, fault.what) for fault in check_script(script)]
    if faults:
        raise _refuse(source, tuple(faults))
    return LoadedScript(script, text, hashlib.sha256(text.encode()).digest())


def find_line(text: str, field: str) -> int:
    """The line on which a field (`quorum`, `key.type`, `steps[1].role`) stands, or its table, or 1 for neither."""
    table, _, key = field.rpartition(".")
    wanted, _, index = (table or field).partition("[")
    number = int(index.rstrip("]")) if index else 0
    inside, seen, at_table = "", -1, 1
    for line_number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            inside = header[2]
            if inside == wanted:
                seen += 1
                at_table = line_number if seen == number else at_table
        elif table and inside == wanted and seen == number:
            if (found := _KEY.match(line)) and found[1] == key:
                return line_number
        elif not table and not inside and (found := _KEY.match(line)) and found[1] == wanted:
            return line_number
    return at_table


def _place(source: Path, text: str, field: str, what: str) -> Fault:
    return Fault(f"{source}:{find_line(text, field)}: {field}", what)


def _refuse(source: Path, faults: tuple[Fault, ...]) -> KmsError:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return KmsError(Code.CONFIG_INVALID, f"The ceremony {source.stem} has {count}; mend each", faults=faults)
