"""SoftHSM2's tokens brought back after a kill during a login.

SoftHSM2 2.6.1 writes `token.object` anew at each C_Login, and not atomically: a process that is killed in that moment
leaves an empty file, and the token with all its keys is not found any more. `softhsm/setup_token.py` keeps a copy
beside it; the file holds nothing that changes but login flags.

Rules: only tokens named by the SoftHSM2 configuration in SOFTHSM2_CONF, only an empty file, only from that copy.
"""

import os
from pathlib import Path

OBJECT_FILE = "token.object"
COPY = "token.object.copy"  # SoftHSM2 reads only files that end in .object


def restore_tokens(configuration: Path) -> tuple[Path, ...]:
    """Put every token's file back that is empty; returns their paths. Does nothing where there is nothing to do."""
    restored = []
    for copy in sorted(_find_token_folder(configuration).glob(f"*/{COPY}")):
        damaged = copy.with_name(OBJECT_FILE)
        if damaged.exists() and damaged.stat().st_size:
            continue
        fresh = copy.with_name(f"{OBJECT_FILE}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(copy.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(damaged)
        restored.append(damaged)
    return tuple(restored)


def _find_token_folder(configuration: Path) -> Path:
    """`directories.tokendir` of a softhsm2.conf; a folder that does not exist when it names none."""
    if configuration.is_file():
        for line in configuration.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "directories.tokendir":
                return Path(value.strip())
    return configuration / "no-tokens"
