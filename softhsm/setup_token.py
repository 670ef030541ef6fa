"""Make a SoftHSM2 token for this project; running it again changes nothing.

Rules: PINs are random, live in files that only their owner can read, and are never on a command line, in the
environment or in the output (softhsm2-util would take them on its command line, which `ps` shows to everybody).
python-pkcs11 cannot initialise a token, so this program speaks to the library by itself: C_InitToken and C_InitPIN
(PKCS#11 2.40 sections 5.5 and 5.6). It needs nothing but Python's standard library.
"""

import argparse
import ctypes
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPLATE = Path(__file__).with_name("softhsm2.conf.template")
LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
PIN_BYTES = 16  # of randomness; written as 32 hexadecimal digits

_CKU_SO = 0
_CKF_SERIAL_SESSION = 4
_CKF_RW_SESSION = 2
_CKF_USER_PIN_INITIALIZED = 0x8
_CKF_TOKEN_INITIALIZED = 0x400
_LABEL_LENGTH = 32
_FLAGS_OFFSET = 96  # of CK_TOKEN_INFO: label[32] manufacturerID[32] model[16] serialNumber[16] flags …
_TOKEN_INFO_LENGTH = 256


class SetupError(Exception):
    """What went wrong and what to do, in one line."""


class Library:
    """The few PKCS#11 functions that make a token, straight from the shared library."""

    def __init__(self, path: str) -> None:
        try:
            self._functions = ctypes.CDLL(path)
        except OSError as error:
            raise SetupError(f"cannot load {path}: install Debian's softhsm2 or name another --module") from error

    def call(self, name: str, *arguments: object) -> None:
        """Call a PKCS#11 function; raises SetupError with the function and its return value unless it is CKR_OK."""
        result = int(getattr(self._functions, name)(*arguments)) & 0xFFFFFFFF
        if result:
            raise SetupError(f"{name} answered 0x{result:08X}; is the token directory writable and not full?")

    def find_slots(self) -> dict[str, tuple[int, int]]:
        """All slots by token label, with the token's flags; the one without an initialised token has the label ""."""
        count = ctypes.c_ulong()
        self.call("C_GetSlotList", ctypes.c_ubyte(1), None, ctypes.byref(count))
        slots = (ctypes.c_ulong * count.value)()
        self.call("C_GetSlotList", ctypes.c_ubyte(1), slots, ctypes.byref(count))
        found: dict[str, tuple[int, int]] = {}
        for slot in slots:
            info = ctypes.create_string_buffer(_TOKEN_INFO_LENGTH)
            self.call("C_GetTokenInfo", ctypes.c_ulong(slot), info)
            flags = int.from_bytes(info.raw[_FLAGS_OFFSET : _FLAGS_OFFSET + 8], sys.byteorder)
            label = info.raw[:_LABEL_LENGTH].decode().rstrip() if flags & _CKF_TOKEN_INITIALIZED else ""
            found[label] = (slot, flags)
        return found

    def initialise_token(self, slot: int, label: str, so_pin: bytes) -> None:
        """Initialise the token in `slot` with its label and the security officer's PIN."""
        padded = label.encode().ljust(_LABEL_LENGTH)
        self.call("C_InitToken", ctypes.c_ulong(slot), so_pin, ctypes.c_ulong(len(so_pin)), padded)

    def set_user_pin(self, slot: int, so_pin: bytes, pin: bytes) -> None:
        """Give the user of an initialised token a first PIN."""
        hsm_session = ctypes.c_ulong()
        flags = ctypes.c_ulong(_CKF_SERIAL_SESSION | _CKF_RW_SESSION)
        self.call("C_OpenSession", ctypes.c_ulong(slot), flags, None, None, ctypes.byref(hsm_session))
        self.call("C_Login", hsm_session, ctypes.c_ulong(_CKU_SO), so_pin, ctypes.c_ulong(len(so_pin)))
        self.call("C_InitPIN", hsm_session, pin, ctypes.c_ulong(len(pin)))
        self.call("C_CloseSession", hsm_session)


@contextmanager
def open_library(path: str) -> Iterator[Library]:
    """The library, initialised for the time of the block."""
    library = Library(path)
    library.call("C_Initialize", None)
    try:
        yield library
    finally:
        library.call("C_Finalize", None)


def read_or_make_pin(path: Path, *, token_exists: bool) -> bytes:
    """The PIN in `path`, made at random in a file of mode 0600 if absent. Raises when the token is there already."""
    if path.exists():
        return path.read_text(encoding="ascii").strip().encode()
    if token_exists:
        raise SetupError(f"the token is there but {path} is not: bring the PIN file back, or remove the token")
    path.parent.mkdir(parents=True, exist_ok=True)
    pin = secrets.token_hex(PIN_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(pin + "\n")
    return pin.encode()


def write_configuration(folder: Path) -> Path:
    """Write softhsm2.conf for the tokens under `folder`/tokens; returns its path."""
    tokens = folder / "tokens"
    tokens.mkdir(parents=True, exist_ok=True, mode=0o700)
    configuration = folder / "softhsm2.conf"
    text = TEMPLATE.read_text(encoding="utf-8").replace("@TOKEN_DIR@", str(tokens))
    if not configuration.exists() or configuration.read_text(encoding="utf-8") != text:
        configuration.write_text(text, encoding="utf-8")
    return configuration


def keep_copies(folder: Path) -> None:
    """Keep a copy of each token's file beside it, from which the server brings it back when it is found empty.

    SoftHSM2 writes the file anew at each login, and not atomically: a process killed in that moment leaves it empty.
    """
    for token_file in (folder / "tokens").glob("*/token.object"):
        copy = token_file.with_name("token.object.copy")
        if not copy.exists() and token_file.stat().st_size:
            descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(token_file.read_bytes())


def ensure_token(folder: Path, label: str, pin_file: Path, so_pin_file: Path, module: str = LIBRARY) -> bool:
    """Make the token `label` under `folder` unless it is there. Returns whether it was made."""
    if not label or len(label.encode()) > _LABEL_LENGTH:
        raise SetupError(f"a token label has 1 to {_LABEL_LENGTH} bytes")
    os.environ["SOFTHSM2_CONF"] = str(write_configuration(folder.resolve()))
    with open_library(module) as library:
        slots = library.find_slots()
        slot, flags = slots.get(label, (0, 0))
        if flags & _CKF_USER_PIN_INITIALIZED:
            read_or_make_pin(pin_file, token_exists=True)
            return False
        so_pin = read_or_make_pin(so_pin_file, token_exists=label in slots)
        pin = read_or_make_pin(pin_file, token_exists=False)
        if label not in slots:
            slot, _ = slots[""]  # SoftHSM2 always shows one slot more than it has tokens
            library.initialise_token(slot, label, so_pin)
            # It gives a new token another slot number (its serial number), so the slot is looked up again.
            slot, _ = library.find_slots()[label]
        library.set_user_pin(slot, so_pin, pin)
    return True


def main() -> int:
    """Command line; exit code 1 with one line on what to do when it fails."""
    parser = argparse.ArgumentParser(description="Make a SoftHSM2 token; a second run changes nothing.")
    parser.add_argument("--dir", type=Path, required=True, help="holds softhsm2.conf and the folder tokens/")
    parser.add_argument("--label", required=True, help="the token's label")
    parser.add_argument("--pin-file", type=Path, required=True, help="the user's PIN, made if absent")
    parser.add_argument("--so-pin-file", type=Path, required=True, help="the security officer's PIN, made if absent")
    parser.add_argument("--module", default=LIBRARY, help=f"the PKCS#11 library ({LIBRARY})")
    options = parser.parse_args()
    try:
        made = ensure_token(options.dir, options.label, options.pin_file, options.so_pin_file, options.module)
        keep_copies(options.dir)
    except (SetupError, OSError) as error:
        print(f"token {options.label}: {error}", file=sys.stderr)
        return 1
    print(f"token {options.label}: {'made' if made else 'already there'} (SOFTHSM2_CONF={options.dir}/softhsm2.conf)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
