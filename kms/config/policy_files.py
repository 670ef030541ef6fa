"""Policies from TOML: one file per policy, named after it, fields as in `kms.domain.policies.Policy`.

Rules: the policy's fields, types and limits are the class's own, AIDs are written as hex, unknown keys are refused. The
files are checked together, and every fault is told with its file, line and field.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError, create_model

from kms.config.faults import build_json, parse_faults, read_toml
from kms.config.schema import STRICT
from kms.domain.policies import Policy, PolicyClass, find_ambiguities
from kms.domain.policy_window import Window
from kms.errors import Code, Fault, KmsError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_TABLE = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")


def load_policies(path: Path) -> Sequence[Policy]:
    """Read a policy's file, or every `NAME.toml` of a folder. Raises `config.invalid` with every fault of all."""
    paths = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    policies: list[Policy] = []
    faults: list[Fault] = [] if paths else [Fault(str(path), "The folder holds no policy (NAME.toml)")]
    for file in paths:
        found = _load_policy(file)
        if isinstance(found, Policy):
            policies.append(found)
        else:
            faults.extend(found)
    files = {file.stem: file for file in paths}
    faults.extend(_place(files, fault) for fault in find_ambiguities(policies))
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise KmsError(Code.CONFIG_INVALID, f"The policies in {path} have {count}; mend each", faults=tuple(faults))
    return policies


def _load_policy(path: Path) -> Policy | Sequence[Fault]:
    raw = read_toml(path)
    if isinstance(raw, Fault):
        return (raw,)
    if not _NAME.match(path.stem):
        return (Fault(str(path), "A policy's name, and its file's, has lower-case letters, digits and dashes alone"),)
    if "name" in raw:
        return (Fault(f"{path}:{find_line(path, 'name')}: name", "Unknown key: a policy is named as its file"),)
    try:
        checked = _build_model(Policy).model_validate_json(build_json({**raw, "name": path.stem}))
        values = {name: getattr(checked, name) for name in type(checked).model_fields}
        values["applies_to"] = PolicyClass(**dict(values["applies_to"]))
        values["window"] = Window(**dict(values["window"]))
        return Policy(**values)
    except ValidationError as error:
        faults: Sequence[Fault] = parse_faults(path, error)
        return [_number(path, fault.where.removeprefix(f"{path}: "), fault.what) for fault in faults]
    except KmsError as error:  # the class's own rules
        return [_number(path, fault.where, fault.what) for fault in error.faults]


def find_line(path: Path, field: str) -> int:
    """The line on which a field (`lead_days`, `window.weekdays[1]`) stands, or its table, or 1 where neither does."""
    table, _, key = field.split("[", maxsplit=1)[0].rpartition(".")
    inside, at_table = "", 1
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if header := _TABLE.match(line):
            inside = header[1]
            if inside == table or (not table and inside == key):
                at_table = number
        elif inside == table and (found := _KEY.match(line)) and found[1] == key:
            return number
    return at_table


def _number(path: Path, field: str, what: str) -> Fault:
    return Fault(f"{path}:{find_line(path, field)}: {field}", what)


def _place(files: dict[str, Path], fault: Fault) -> Fault:
    """An ambiguity's fault, with the file and line of the first policy it names."""
    names, _, field = fault.where.partition(": ")
    first, other = names.split(", ")
    return Fault(f"{files[first]}:{find_line(files[first], field)}: {field}", f"With {other}: {fault.what}")


@cache
def _build_model(of: type[Any]) -> type[BaseModel]:
    """Build a strict schema with the fields, types and defaults of a dataclass, and of those in it."""
    types = get_type_hints(of)
    fields: dict[str, Any] = dict(_build_fields(of, types))
    return create_model(f"{of.__name__}File", __config__=STRICT, **fields)


def _build_fields(of: type[Any], types: dict[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for item in dataclasses.fields(of):
        inner = types[item.name]
        nested = dataclasses.is_dataclass(inner) and isinstance(inner, type)
        kind = _build_model(inner) if nested else inner
        if item.default is not dataclasses.MISSING:
            default: Any = item.default
        elif item.default_factory is not dataclasses.MISSING:
            default = kind() if nested else item.default_factory()
        else:
            default = ...
        yield item.name, (kind, default)
