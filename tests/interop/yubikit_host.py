"""yubikit (Yubico), an off-card tool that nobody here wrote, as a program: steps in JSON on standard input, results on
output.

The tool speaks SCP03 with AES-128, S8 and level 33 only. A process of its own, so that its use of PC/SC ends with it.
This is the one module that knows yubikit.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from smartcard.Exceptions import CardConnectionException, NoCardException
from smartcard.System import readers
from ykman.pcsc import ScardSmartCardConnection
from yubikit.core import BadResponseError
from yubikit.core.smartcard import ApduError
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, StaticKeys
from yubikit.securitydomain import TAG_KEY_INFORMATION, SecurityDomainSession

CARD_SHOWS_UP_SECONDS = 5.0


def build_keys(keys: list[str]) -> StaticKeys:
    return StaticKeys(*(bytes.fromhex(key) for key in keys))


class Host:
    """The tool with a card in its reader; each method is a step."""

    def __init__(self, reader: str) -> None:
        self._connection = connect(reader)
        self._session = SecurityDomainSession(self._connection)

    def run(self, step: dict[str, Any]) -> dict[str, Any]:
        """Return what a step gave, or the tool's error."""
        steps: dict[str, Callable[..., object]] = {
            "open": self._open,
            "list": self._list,
            "put_keys": self._put_keys,
            "delete": self._delete,
        }
        arguments = dict(step)
        action = steps[arguments.pop("do")]
        try:
            return {"result": action(**arguments)}
        except ApduError as error:
            return {"error": f"{error.sw:04X}"}
        except (BadResponseError, ValueError) as error:
            return {"error": str(error)}

    def close(self) -> None:
        self._connection.close()  # type: ignore[no-untyped-call] # the tool's PC/SC module has no types

    def _open(self, kvn: int, keys: list[str]) -> None:
        self._session = SecurityDomainSession(self._connection)
        self._session.authenticate(Scp03KeyParams(KeyRef(ScpKid.SCP03, kvn), build_keys(keys)))

    def _list(self) -> str:
        # The tool's own reading of this object knows the form of its maker's cards alone, without the tag E0.
        return self._session.get_data(TAG_KEY_INFORMATION).hex()

    def _put_keys(self, kvn: int, keys: list[str], replace: int) -> None:
        self._session.put_key(KeyRef(ScpKid.SCP03, kvn), build_keys(keys), replace)

    def _delete(self, kvn: int) -> None:
        self._session.delete_key(kvn=kvn)


def connect(name: str) -> ScardSmartCardConnection:
    deadline = time.monotonic() + CARD_SHOWS_UP_SECONDS
    while True:
        try:
            reader = next(item for item in readers() if str(item) == name)
            return ScardSmartCardConnection(reader.createConnection())  # type: ignore[no-untyped-call] # the same
        except (NoCardException, CardConnectionException, StopIteration):
            if time.monotonic() > deadline:
                sys.exit(f"no card in {name}")
            time.sleep(0.1)


def main() -> None:
    order = json.load(sys.stdin)
    host = Host(order["reader"])
    results = [host.run(step) for step in order["steps"]]
    host.close()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
