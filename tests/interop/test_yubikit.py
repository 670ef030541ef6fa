"""yubikit, an off-card tool that nobody here wrote, opens SCP03 (AES-128, S8, level 33) and changes keys (PC/SC)."""

import pytest

from terminal.virtual_card import AesKeyForm, Personality, VirtualCard
from tests.interop.test_pygp import keys_on_card, run_tool
from tests.interop.test_pygp_scp03 import make_card, make_keys

pytestmark = pytest.mark.pcsc
PROGRAM = "tests.interop.yubikit_host"
WRONG_KEYS = "Incorrect SCP parameters"


def rows(*kvns: int) -> str:
    entries = "".join(f"c004{kid:02x}{kvn:02x}8810" for kvn in kvns for kid in (1, 2, 3))
    return f"e0{len(entries) // 2:02x}{entries}"


@pytest.mark.parametrize("i", [0x60, 0x70])
def test_the_tool_opens_adds_replaces_and_deletes_keys(i: int) -> None:
    factory, added, replaced = make_keys(16), make_keys(16), make_keys(16)
    card = make_card(factory, i)
    results = run_tool(
        card,
        {"do": "open", "kvn": 0x30, "keys": factory},
        {"do": "list"},
        {"do": "put_keys", "kvn": 0x31, "keys": added, "replace": 0},
        {"do": "open", "kvn": 0x31, "keys": added},
        {"do": "list"},
        {"do": "put_keys", "kvn": 0x32, "keys": replaced, "replace": 0x31},
        {"do": "open", "kvn": 0x32, "keys": replaced},
        {"do": "delete", "kvn": 0x30},
        {"do": "list"},
        {"do": "open", "kvn": 0x32, "keys": added},
        program=PROGRAM,
    )
    *steps, under_replaced_keys = results
    assert [step for step in steps if "error" in step] == []
    assert [step["result"] for step in steps if step["result"]] == [rows(0x30), rows(0x30, 0x31), rows(0x32)]
    assert under_replaced_keys["error"] == WRONG_KEYS
    assert [key.upper() for key in keys_on_card(card, 0x32)] == replaced


def test_a_product_that_wants_the_key_length_refuses_the_tools_bare_keys() -> None:
    factory, added = make_keys(16), make_keys(16)
    card = VirtualCard(make_card(factory, 0x70).state, Personality(aes_key_form=AesKeyForm.LONG))
    _opened, put, listed = run_tool(
        card,
        {"do": "open", "kvn": 0x30, "keys": factory},
        {"do": "put_keys", "kvn": 0x31, "keys": added, "replace": 0},
        {"do": "list"},
        program=PROGRAM,
    )
    assert put == {"error": "6A88"}
    assert listed["result"] == rows(0x30)
