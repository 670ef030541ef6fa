"""How many PKCS#11 calls a key replacement takes, by name: the list that docs/hsm.md explains call by call."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.contract.rotation import PROTOCOLS
from tests.contract.tokens import PROJECT, FreshToken

SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so")
pytestmark = pytest.mark.skipif(not SPY.exists(), reason="pkcs11-spy is not installed: apt-get install opensc-pkcs11")

_CALL = re.compile(r"^\d+: (C_\w+)$", re.MULTILINE)


def count_calls(token: FreshToken, protocol: str, folder: Path) -> Counter[str]:
    log = folder / "spy.log"
    settings = asdict(replace(token.settings, module=str(SPY))) | {"environment": dict(token.settings.environment)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.rotation", protocol],
        input=json.dumps(settings),
        env=os.environ | {"PKCS11SPY": token.settings.module, "PKCS11SPY_OUTPUT": str(log)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = _CALL.findall(log.read_text(errors="replace"))
    marks = [number for number, name in enumerate(names) if name == "C_GenerateRandom"]
    assert len(marks) == 2
    return Counter(names[marks[0] + 1 : marks[1]])


# Per make that wraps triple DES keys by itself, and one that does not. docs/hsm.md says what each call is for: whoever
# changes a number changes it there, too.
EXPECTED = {
    "scp02-i15": {True: 84, False: 93},
    "scp02-i55": {True: 108, False: 117},
    "scp03-aes128": {True: 142, False: 142},
    "scp03-aes256": {True: 142, False: 142},
    "scp03-aes128-s16": {True: 172, False: 172},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_replacement_takes_no_more_calls_than_are_explained(
    token: FreshToken, protocol: str, tmp_path: Path
) -> None:
    calls = count_calls(token, protocol, tmp_path)
    assert calls.total() == EXPECTED[protocol][token.make.wraps_des], calls
    # Nothing is left behind, nothing is looked up, and no key is asked for its type.
    assert calls["C_DestroyObject"] == calls["C_DeriveKey"]
    assert not calls["C_FindObjectsInit"]
    assert bool(calls["C_WrapKey"]) is (token.make.wraps_des or protocol.startswith("scp03"))
