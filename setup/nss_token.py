"""Make an NSS softokn token for this project, reached through p11-kit; running it again changes nothing.

Rules: as `softhsm/setup_token.py`: the PIN is random, lives in a file that only its owner can read, and is never on a
command line, in the environment or in the output (certutil reads it from the file). p11-kit would take its module files
from /etc/pkcs11 or, for nobody but root, not from the user's folder: the server names the folder that is written here
(`hsm.p11_kit_modules`) instead, so nothing outside of --dir is touched. NSS reads no token from the file of another:
each has a database of its own, and all of a folder show in one process, told apart by their labels.
"""

import argparse
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

LIBRARY = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"
CERTUTIL = "/usr/bin/certutil"
PIN_BYTES = 16  # of randomness; written as 32 hexadecimal digits
MAX_TOKENS = 97  # softokn takes slots 4 to 100 for tokens that its caller names
FIRST_SLOT = 4

_LABEL = re.compile(r"[A-Za-z0-9-]{1,32}")


class SetupError(Exception):
    """What went wrong and what to do, in one line."""


def read_or_make_pin(path: Path, *, token_exists: bool) -> None:
    """Make a random PIN in a file of mode 0600 if there is none. Raises when the token is there already."""
    if path.exists():
        return
    if token_exists:
        raise SetupError(f"the token is there but {path} is not: bring the PIN file back, or remove the token")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(PIN_BYTES) + "\n")


def make_database(database: Path, pin_file: Path) -> None:
    """Make an NSS database beside its place, then put it there: a run that is cut off leaves no half token."""
    new = database.with_name(f".{database.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True, mode=0o700)
    command = [CERTUTIL, "-N", "-d", f"sql:{new}", "-f", str(pin_file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed program
    except FileNotFoundError as error:
        raise SetupError(f"there is no {CERTUTIL}: install Debian's libnss3-tools") from error
    if done.returncode:
        raise SetupError(f"certutil failed: {(done.stderr or done.stdout).strip()}")
    new.rename(database)


def write_module_files(folder: Path, module: str) -> Path:
    """Write the p11-kit configuration that shows every token under `folder`/tokens; returns the modules' folder."""
    modules = folder / "modules"
    modules.mkdir(parents=True, exist_ok=True, mode=0o700)
    tokens = sorted(path for path in (folder / "tokens").iterdir() if _LABEL.fullmatch(path.name))
    if len(tokens) > MAX_TOKENS:
        raise SetupError(f"one folder holds at most {MAX_TOKENS} NSS tokens: use another --dir")
    listed = " ".join(
        f"{slot:#x}=[configDir='sql:{path}' tokenDescription='{path.name}' flags=]"
        for slot, path in enumerate(tokens, FIRST_SLOT)
    )
    text = (
        f"module: {module}\n"
        f"x-init-reserved: configdir='' certPrefix='' keyPrefix='' secmod='' flags=noModDB tokens=<{listed}>\n"
    )
    path = modules / "nss-softokn.module"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    return modules


def ensure_token(folder: Path, label: str, pin_file: Path, module: str = LIBRARY) -> bool:
    """Make the token `label` under `folder` unless it is there. Returns whether it was made."""
    if not _LABEL.fullmatch(label):
        raise SetupError("a token label has 1 to 32 letters, digits and hyphens")
    if not Path(module).exists():
        raise SetupError(f"there is no {module}: install Debian's libnss3 or name another --module")
    if re.search(r"['\"\\<>\[\]\s]", str(folder)):
        raise SetupError("NSS cannot be told of a folder with blanks, quotes or brackets in its name")
    database = folder / "tokens" / label
    exists = database.exists()
    read_or_make_pin(pin_file, token_exists=exists)
    if not exists:
        make_database(database, pin_file)
    write_module_files(folder, module)
    return not exists


def main() -> int:
    """Command line; exit code 1 with one line on what to do when it fails."""
    parser = argparse.ArgumentParser(description="Make an NSS softokn token; a second run changes nothing.")
    parser.add_argument("--dir", type=Path, required=True, help="holds the folders tokens/ and modules/")
    parser.add_argument("--label", required=True, help="the token's label")
    parser.add_argument("--pin-file", type=Path, required=True, help="the PIN, made if absent")
    parser.add_argument("--module", default=LIBRARY, help=f"NSS's PKCS#11 library ({LIBRARY})")
    options = parser.parse_args()
    try:
        made = ensure_token(options.dir.resolve(), options.label, options.pin_file, options.module)
    except (SetupError, OSError) as error:
        print(f"token {options.label}: {error}", file=sys.stderr)
        return 1
    print(f"token {options.label}: {'made' if made else 'already there'} (p11-kit modules: {options.dir}/modules)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
