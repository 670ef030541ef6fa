"""Py-GP, an off-card tool that nobody here wrote, opens SCP03 (S8) and changes AES keys on the virtual card (PC/SC)."""

import secrets
from typing import Any

import pytest

from terminal.virtual_card import KEY_TYPE_AES, VirtualCard, build_factory_state
from tests.interop.test_pygp import keys_on_card, put_keys, run_tool

pytestmark = pytest.mark.pcsc
NO_MATCH = "The verification of the card cryptogram failed."


def make_keys(length: int) -> list[str]:
    # The tool's key store cannot replace keys in lower-case digits.
    return [secrets.token_hex(length).upper() for _ in range(3)]


def make_card(keys: list[str], scp03_i: int) -> VirtualCard:
    enc, mac, dek = (bytes.fromhex(key) for key in keys)
    state = build_factory_state((enc, mac, dek), key_type=KEY_TYPE_AES, scp02_i=None, scp03_i=scp03_i, kvn=0x30)
    return VirtualCard(state)


def set_keys(kvn: str, keys: list[str]) -> dict[str, Any]:
    return {"do": "set_keys", "kvn": kvn, "keys": keys, "key_type": "AES"}


@pytest.mark.parametrize("length", [16, 32], ids=["AES-128", "AES-256"])
@pytest.mark.parametrize(("i", "levels"), [("00", [0x01, 0x03]), ("70", [0x01, 0x03, 0x11, 0x13, 0x33])])
def test_the_tool_opens_adds_and_replaces_keys(i: str, levels: list[int], length: int) -> None:
    factory, added = make_keys(length), make_keys(length)
    card = make_card(factory, int(i, 16))

    def opened(kvn: str, level: int) -> dict[str, Any]:
        return {"do": "open", "kvn": kvn, "i": i, "level": level, "scp": "03"}

    steps = [set_keys("30", factory), set_keys("31", added), opened("30", levels[-1]), put_keys("31", replace=False)]
    last = added
    for level in levels:
        last = make_keys(length)
        steps += [opened("31", level), {"do": "list"}, set_keys("31", last), put_keys("31", replace=True)]
    steps += [opened("31", levels[-1]), {"do": "list"}, set_keys("31", added), opened("31", levels[-1])]
    *results, under_replaced_keys = run_tool(card, *steps)
    assert [result for result in results if "error" in result] == []
    rows = [[kid, kvn, f"{length:02X}", "88"] for kvn in ("30", "31") for kid in ("01", "02", "03")]
    assert [result["result"]["keys"] for result in results if result["result"]] == [rows] * (len(levels) + 1)
    assert under_replaced_keys["error"] == NO_MATCH
    assert [key.upper() for key in keys_on_card(card, 0x31)] == last


def test_a_wrong_key_is_refused() -> None:
    right, other = make_keys(16), make_keys(16)
    card = make_card(right, 0x70)
    opened = {"do": "open", "kvn": "30", "i": "70", "level": 0x33, "scp": "03"}
    results = run_tool(
        card,
        set_keys("31", other),
        set_keys("30", [other[0], *right[1:]]),
        opened,
        {"do": "list"},
        set_keys("30", [right[0], other[1], right[2]]),
        opened,
        set_keys("30", [*right[:2], other[2]]),
        opened,
        put_keys("31", replace=False),
        set_keys("30", right),
        opened,
        {"do": "list"},
    )
    wrong_enc, wrong_mac, wrong_dek = results[3], results[5], results[8]
    # Of the three only S-ENC takes no part in the cryptograms: the first encrypted command shows that it is wrong.
    assert wrong_enc == {"error": "Security Status not satisfied", "sw": "6982"}
    assert wrong_mac == {"error": NO_MATCH, "sw": "9000"}  # the tool refuses the card
    assert wrong_dek == {"error": "Security Status not satisfied", "sw": "6982"}  # PUT KEY, by the key check value
    assert "error" not in results[-1]
    assert card.state.isd.find_key_set(0x31) is None
