"""Rules that join fields of the configuration.

Rules: they look at the file's raw tables, so that they speak also while other fields are at fault, and every fault is
reported at once. What is not of the expected type is left to the field's own check.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kms.config.faults import TomlTable
from kms.config.peer_checks import find_peer_faults
from kms.errors import Fault


def find_cross_faults(path: Path, raw: TomlTable) -> tuple[Fault, ...]:
    """Every broken rule that joins fields."""
    checks = (_check_pin_source, _check_production, _check_console, _check_catalogue, find_peer_faults)
    return tuple(Fault(f"{path}: {where}", what) for check in checks for where, what in check(raw))


def _table(raw: TomlTable, name: str) -> dict[str, Any]:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _check_pin_source(raw: TomlTable) -> Iterator[tuple[str, str]]:
    hsm = _table(raw, "hsm")
    if hsm and ("pin_file" in hsm) == ("pin_env" in hsm):
        yield "hsm.pin_file", "Give exactly one of pin_file and pin_env"


def _check_production(raw: TomlTable) -> Iterator[tuple[str, str]]:
    if _table(raw, "platform").get("mode") == "production" and _table(raw, "hsm").get("allow_transient_plaintext"):
        yield "hsm.allow_transient_plaintext", "Is refused in production mode: use a token that wraps keys itself"


def _check_console(raw: TomlTable) -> Iterator[tuple[str, str]]:
    console = _table(raw, "console")
    origin = console.get("origin")
    if ("certificate" in console) != ("private_key" in console):
        yield "console.private_key", "Give certificate and private_key, or neither"
    if not isinstance(origin, str):
        return
    host = origin.partition("://")[2].partition(":")[0]
    rp_id = console.get("rp_id", host)
    if isinstance(rp_id, str) and host != rp_id and not host.endswith(f".{rp_id}"):
        yield "console.rp_id", "Must be the origin's host or a domain above it"
    if _table(raw, "platform").get("mode") == "production" and not origin.startswith("https://"):
        yield "console.origin", "Must begin with https:// in production mode"


def _check_catalogue(raw: TomlTable) -> Iterator[tuple[str, str]]:
    entries = raw.get("applications")
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        aid = entry.get("aid") if isinstance(entry, dict) else None
        if not isinstance(aid, str):
            continue
        first = seen.setdefault(aid.upper(), number)
        if first != number:
            yield f"applications[{number}].aid", f"Is the same as that of applications[{first}]"
        if aid.upper() == str(entry.get("ssd_aid")).upper():
            yield f"applications[{number}].ssd_aid", "An application and its security domain need different AIDs"
