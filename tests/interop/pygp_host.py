"""Py-GP, an off-card tool that nobody here wrote, as a program: steps in JSON on standard input, results on output.

A process of its own, because the tool keeps reader, secure channel and keys in globals. What it sends and accepts is
all its own. Two things are put around it so that it loads here: its PC/SC layer is a Windows build of pyscard's
`smartcard.scard`, so it gets the installed one; and its classes for elliptic curves use a decorator that
`cryptography` no longer has. This is the one module that knows Py-GP.
"""

import importlib
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import cryptography.utils
import smartcard.scard

CARD_SHOWS_UP_SECONDS = 5.0


def load_tool() -> tuple[Any, Any]:
    """Return the tool and the module of its commands whose answers the tool itself only logs."""
    sys.modules["pygp.connection.pcsc"] = smartcard.scard
    cryptography.utils.register_interface = lambda _interface: lambda found: found  # type: ignore[attr-defined] # it is gone: that is why
    logging.disable(logging.CRITICAL)  # the tool logs keys
    return importlib.import_module("pygp"), importlib.import_module("pygp.gp.gp_functions")


class Host:
    """The tool with a card in its reader; each method is a step."""

    def __init__(self, reader: str) -> None:
        self._tool, self._commands = load_tool()
        self._tool.terminal(reader)
        deadline = time.monotonic() + CARD_SHOWS_UP_SECONDS
        while "error" in self._attempt(self._tool.card):
            if time.monotonic() > deadline:
                sys.exit(f"no card in {reader}")
            time.sleep(0.1)

    def run(self, step: dict[str, Any]) -> dict[str, Any]:
        """Return what a step gave, or the tool's error, and the card's last status word."""
        steps: dict[str, Callable[..., object]] = {
            "set_keys": self._set_keys,
            "open": self._open,
            "list": self._list,
            "put_keys": self._put_keys,
        }
        arguments = dict(step)
        action = steps[arguments.pop("do")]
        return self._attempt(lambda: action(**arguments)) | {"sw": self._tool.last_status()}

    def close(self) -> None:
        self._tool.close()

    @staticmethod
    def _attempt(action: Callable[[], object]) -> dict[str, Any]:
        try:
            return {"result": action()}
        except BaseException as error:
            # The tool raises BaseException itself, of no class of its own.
            if type(error) is not BaseException:
                raise
            return {"error": str(error)}

    def _set_keys(self, kvn: str, keys: list[str], key_type: str = "DES") -> None:
        """Tell the tool the keys ENC, MAC, DEK of a version."""
        self._tool.set_key(*(f"{kvn}/{kid}/{key_type}/{key}" for kid, key in enumerate(keys, start=1)))

    def _open(self, kvn: str, i: str, level: int, scp: str = "02") -> None:
        self._tool.select_isd()
        self._tool.auth(scp=scp, scpi=i, keysetversion=kvn, securitylevel=level)

    def _list(self) -> dict[str, Any]:
        return {
            "domains": self._checked(self._commands.get_status("80")),
            "keys": self._checked(self._commands.get_key_information_template()),
        }

    def _put_keys(self, kvn: str, replace: bool) -> None:
        self._tool.put_scp_key(kvn, replace)

    @staticmethod
    def _checked(answer: tuple[dict[str, Any], Any]) -> object:
        status, value = answer
        if status["errorStatus"]:
            raise BaseException(status["errorMessage"])  # noqa: TRY002 - as the tool does
        return value


def main() -> None:
    order = json.load(sys.stdin)
    host = Host(order["reader"])
    results = [host.run(step) for step in order["steps"]]
    host.close()
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
