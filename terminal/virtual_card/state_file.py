"""The card's memory as a JSON file: written whole to a new file, flushed, then moved over the old one.

Format 1 knew SCP02 alone, as `scp_i`; it is read, and format 2 is written.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from terminal.virtual_card.model import CardState, KeySet, SecurityDomain, StaticKey

FORMAT: Final = 2
FORMAT_SCP02_ONLY: Final = 1


class StateFileError(Exception):
    """The file cannot be read as a card's state, or cannot be written; the text says which file and why."""


def dump_state(state: CardState) -> str:
    """Return the state as JSON text; it holds the card's keys in clear."""
    return json.dumps(
        {
            "format": FORMAT,
            "scp02_i": state.scp02_i,
            "scp03_i": state.scp03_i,
            "kdd": state.kdd.hex(),
            "iin": state.iin.hex(),
            "cin": state.cin.hex(),
            "cplc": state.cplc.hex(),
            "domains": [_dump_domain(domain) for domain in state.domains],
        },
        indent=1,
    )


def _dump_domain(domain: SecurityDomain) -> dict[str, Any]:
    return {
        "aid": domain.aid.hex(),
        "parent_aid": domain.parent_aid.hex(),
        "life_cycle": domain.life_cycle,
        "privileges": domain.privileges.hex(),
        "failed_authentications": domain.failed_authentications,
        "key_sets": [
            {
                "kvn": key_set.kvn,
                "sequence_counter": key_set.sequence_counter,
                "keys": [{"kid": key.kid, "type": key.key_type, "value": key.value.hex()} for key in key_set.keys],
            }
            for key_set in domain.key_sets
        ],
    }


def parse_state(text: str) -> CardState:
    """Read what `dump_state` wrote; raise StateFileError for anything else."""
    try:
        tree = json.loads(text)
        scp02_i, scp03_i = _parse_protocols(tree)
        domains = tuple(_parse_domain(item) for item in tree["domains"])
        blobs = {name: bytes.fromhex(tree[name]) for name in ("kdd", "iin", "cin", "cplc")}
        state = CardState(scp02_i=scp02_i, scp03_i=scp03_i, domains=domains, **blobs)
    except (ValueError, KeyError, TypeError) as error:
        raise StateFileError("the file does not hold the state of a virtual card") from error
    if not state.domains:
        raise StateFileError("the card state has no security domain")
    return state


def _parse_protocols(tree: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return the parameters i of SCP02 and SCP03."""
    if tree["format"] == FORMAT_SCP02_ONLY:
        return int(tree["scp_i"]), None
    if tree["format"] != FORMAT:
        raise StateFileError("the card state has a format that this version does not read")
    scp02_i, scp03_i = (None if tree[name] is None else int(tree[name]) for name in ("scp02_i", "scp03_i"))
    return scp02_i, scp03_i


def _parse_domain(tree: dict[str, Any]) -> SecurityDomain:
    key_sets = tuple(
        KeySet(
            int(item["kvn"]),
            tuple(StaticKey(int(key["kid"]), int(key["type"]), bytes.fromhex(key["value"])) for key in item["keys"]),
            int(item["sequence_counter"]),
        )
        for item in tree["key_sets"]
    )
    return SecurityDomain(
        aid=bytes.fromhex(tree["aid"]),
        parent_aid=bytes.fromhex(tree["parent_aid"]),
        life_cycle=int(tree["life_cycle"]),
        privileges=bytes.fromhex(tree["privileges"]),
        key_sets=key_sets,
        failed_authentications=int(tree["failed_authentications"]),
    )


def find_state(path: Path) -> CardState | None:
    """Return the state in the file, None when there is no file yet; raise StateFileError."""
    try:
        return parse_state(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateFileError(f"cannot read {path}: {error.strerror}") from error
    except (StateFileError, UnicodeDecodeError) as error:
        raise StateFileError(f"cannot use {path}: {error}") from error


def save_state(path: Path, state: CardState) -> None:
    """Replace the file's content in one step, readable by its owner only; raise StateFileError."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(dump_state(state))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StateFileError(f"cannot write {path}: {error.strerror}") from error
