"""Py-GP, an off-card tool that nobody here wrote, lists, authenticates and changes keys on the virtual card (PC/SC)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from terminal.virtual_card import VirtualCard, VpcdConnection, build_factory_state
from terminal.virtual_card.diversification import Diversification, derive_card_keys
from terminal.virtual_card.transmission import TransmissionProtocol
from tests.functional.reader_slot import in_reader
from tests.unit.terminal.virtual_card.host import ecb

ROOT = Path(__file__).parents[2]
READER, READER_PORT = "Virtual PCD 00 01", 35964
MASTER = bytes(range(0x40, 0x50))
KDD = bytes.fromhex("00010203040506070809")
VISA2_BLOCKS = [f"000104050607F00{number}0001040506070F0{number}" for number in (1, 2, 3)]
# The tool diversifies no keys: it is given what the schemes make of master and kdd, not by the card's code. Its
# key store cannot replace keys in lower-case digits.
FACTORY_KEYS = {
    Diversification.NONE: [MASTER.hex().upper()] * 3,
    Diversification.VISA2: [ecb(MASTER, bytes.fromhex(block)).hex().upper() for block in VISA2_BLOCKS],
    Diversification.EMV: [  # published with GlobalPlatformPro for this master key and kdd
        "0EF59FCBF8019B62E62AF6EA20B8BF25",
        "3E383EB6F2762B88155F76BDFED05A02",
        "64021E43C0C7D264A1C7C6D01E1C8761",
    ],
}
ADDED = ["11" * 16, "22" * 16, "33" * 16]
REPLACED = ["44" * 16, "55" * 16, "66" * 16]
OTHER = "77" * 16
NO_MATCH = "The verification of the card cryptogram failed."

pytestmark = pytest.mark.pcsc


def make_card(
    scp_i: int, scheme: Diversification = Diversification.NONE, protocol: TransmissionProtocol = TransmissionProtocol.T1
) -> VirtualCard:
    state = build_factory_state(derive_card_keys(MASTER, KDD, scheme), kdd=KDD, scp02_i=scp_i)
    return VirtualCard(state, protocol=protocol)


def run_tool(
    card: VirtualCard, *steps: dict[str, Any], program: str = "tests.interop.pygp_host"
) -> list[dict[str, Any]]:
    """What the tool tells after each step, with the card in its reader."""
    with in_reader(VpcdConnection(card, READER_PORT)):
        done = subprocess.run(
            [sys.executable, "-m", program],
            input=json.dumps({"reader": READER, "steps": steps}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def set_keys(kvn: str, keys: list[str]) -> dict[str, Any]:
    return {"do": "set_keys", "kvn": kvn, "keys": keys}


def put_keys(kvn: str, *, replace: bool) -> dict[str, Any]:
    return {"do": "put_keys", "kvn": kvn, "replace": replace}


def key_rows(*kvns: str) -> list[list[str]]:
    return [[kid, kvn, "10", "80"] for kvn in kvns for kid in ("01", "02", "03")]


def keys_on_card(card: VirtualCard, kvn: int) -> list[str]:
    key_set = card.state.isd.find_key_set(kvn)
    assert key_set is not None
    return [key.value.hex() for key in key_set.keys]


def tell_of_change(card: VirtualCard, i: str, level: int, scheme: Diversification) -> list[dict[str, Any]]:
    """List, add a set, replace it, each time opening the card again under what it should hold now."""
    factory, added = ({"do": "open", "kvn": kvn, "i": i, "level": level} for kvn in ("01", "20"))
    return run_tool(
        card,
        set_keys("01", FACTORY_KEYS[scheme]),
        set_keys("20", ADDED),
        factory,
        {"do": "list"},
        put_keys("20", replace=False),
        added,
        {"do": "list"},
        set_keys("20", REPLACED),
        put_keys("20", replace=True),
        added,
        {"do": "list"},
        set_keys("20", ADDED),
        added,
    )


@pytest.mark.parametrize("scheme", list(FACTORY_KEYS))
@pytest.mark.parametrize("level", [1, 3])
@pytest.mark.parametrize("i", ["15", "55"])
def test_the_tool_lists_authenticates_adds_and_replaces_keys(i: str, level: int, scheme: Diversification) -> None:
    card = make_card(int(i, 16), scheme)
    *steps, under_replaced_keys = tell_of_change(card, i, level, scheme)
    assert [step for step in steps if "error" in step] == []
    listed = [step["result"] for step in steps if step["result"]]
    assert [domain["aid"] for domain in listed[0]["domains"]] == ["A000000151000000"]
    assert [listing["keys"] for listing in listed] == [key_rows("01"), key_rows("01", "20"), key_rows("01", "20")]
    assert under_replaced_keys["error"] == NO_MATCH
    assert keys_on_card(card, 0x20) == REPLACED


def test_it_does_so_by_get_response_with_t0() -> None:
    card = make_card(0x55, protocol=TransmissionProtocol.T0)
    *steps, _under_replaced_keys = tell_of_change(card, "55", 3, Diversification.NONE)
    assert [step for step in steps if "error" in step] == []
    assert keys_on_card(card, 0x20) == REPLACED


@pytest.mark.parametrize("i", ["15", "55"])
def test_a_wrong_key_is_refused(i: str) -> None:
    card = make_card(int(i, 16))
    right = FACTORY_KEYS[Diversification.NONE]
    opened = {"do": "open", "kvn": "01", "i": i, "level": 3}

    def with_wrong(role: int) -> dict[str, Any]:
        return set_keys("01", [OTHER if number == role else key for number, key in enumerate(right)])

    steps = [set_keys("20", ADDED)]
    steps += [with_wrong(0), opened, with_wrong(1), opened]
    steps += [with_wrong(2), opened, put_keys("20", replace=False)]
    steps += [set_keys("01", right), opened, {"do": "list"}]
    results = run_tool(card, *steps)
    wrong_enc, wrong_mac, wrong_dek = results[2], results[4], results[7]
    assert wrong_enc == {"error": NO_MATCH, "sw": "9000"}  # the tool refuses the card
    refused_by_card = {"error": "Security Status not satisfied", "sw": "6982"}
    assert wrong_mac == refused_by_card  # EXTERNAL AUTHENTICATE, by its MAC
    assert wrong_dek == refused_by_card  # PUT KEY, by the key check value
    assert "error" not in results[-2]
    assert results[-1]["result"]["keys"] == key_rows("01")
