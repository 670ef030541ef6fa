"""The account of what crossed: the documented ways are told apart, and whatever is not documented is told.

The log here is written in the spy's own form. tests/functional/test_key_boundary.py reads real ones.
"""

import itertools
import re

import pytest

from tests.key_boundary.crossings import Account, account_for, count_blocks_read
from tests.key_boundary.search import Searcher
from tests.key_boundary.spy_log import SpyLogError, parse_spy_log

KEY = bytes.fromhex("8AB1024D7EF310559CA8D6207B34E1FE")
SEARCHER = Searcher({"card key": KEY})
BLOCK = bytes(range(0xC0, 0xD0))
MASTER_ID = bytes(range(0x30, 0x40))
PAYLOAD = {"KEY_TYPE": "CKK_DES2", "ENCRYPT": "True", "SENSITIVE": "False", "EXTRACTABLE": "True", "TOKEN": "False"}
DEK = {"KEY_TYPE": "CKK_DES2", "ENCRYPT": "True", "SENSITIVE": "True", "EXTRACTABLE": "False", "TOKEN": "False"}
READABLE = {"KEY_TYPE": "CKK_GENERIC_SECRET", "SENSITIVE": "False", "EXTRACTABLE": "True", "TOKEN": "False"}


def build_rows(value: bytes) -> str:
    rows = (value[start : start + 16] for start in range(0, len(value), 16))
    return "".join(
        f"    {16 * number:08X}  " + "".join(f"{byte:02X} " for byte in row).ljust(48) + " " + "." * len(row) + "\n"
        for number, row in enumerate(rows)
    )


def build_call(name: str, *arguments: str, result: str = "0 CKR_OK") -> str:
    """A call with its arguments; numbers are put in when the log is joined."""
    return f"#: {name}\n2026-11-23 17:21:22.322\n[in] hSession = 0x1\n{''.join(arguments)}Returned:  {result}\n\n"


def build_log(*calls: str) -> str:
    numbers = itertools.count()
    text = (
        "\n\n*************** OpenSC PKCS#11 spy *****************\n" + 'Loaded: "libsofthsm2.so"\n\n' + "".join(calls)
    )
    return re.sub(r"^#:", lambda _: f"{next(numbers)}:", text, flags=re.MULTILINE)


def build_attributes(**attributes: str) -> str:
    return "[in] pTemplate[9]: \n" + "".join(f"    CKA_{name:<18}{value}\n" for name, value in attributes.items())


def derive(parent: str, made: str, **attributes: str) -> str:
    template = build_attributes(CLASS="CKO_SECRET_KEY", **attributes)
    return build_call("C_DeriveKey", f"[in] hBaseKey = {parent}\n", template, f"[out] hKey = {made}\n")


def read_value(handle: str, value: bytes) -> str:
    template = f"[out] pTemplate[1]: \n    CKA_VALUE             00007fd2dbd59d30 / {len(value)}\n" + build_rows(value)
    return build_call("C_GetAttributeValue", f"[in] hObject = {handle}\n", template)


def encrypt(value: bytes) -> str:
    return build_call("C_Encrypt", f"[in] pData[ulDataLen] 00007fd2db6861d0 / {len(value)}\n", build_rows(value))


def begin_encrypting(handle: str = "0x20") -> str:
    return build_call("C_EncryptInit", f"[in] hKey = {handle}\n")


def create(value: bytes, made: str, **attributes: str) -> str:
    template = build_attributes(CLASS="CKO_SECRET_KEY", **attributes)
    template += f"    CKA_VALUE             00007fd2dbd59d30 / {len(value)}\n" + build_rows(value)
    return build_call("C_CreateObject", template, f"[out] *phObject = {made}\n")


def destroy(handle: str) -> str:
    return build_call("C_DestroyObject", f"[in] hObject = {handle}\n")


FIND_MASTER = build_call(
    "C_FindObjectsInit", "[in] pTemplate[1]: \n    CKA_ID                00007f9801265f00 / 16\n", build_rows(MASTER_ID)
) + build_call("C_FindObjects", "[out] ulObjectCount = 0x1\nObject 0x10 matches\n")


def write_key(value: bytes = KEY, **payload: str) -> list[str]:
    """A transient read as it is documented, of a master that was found."""
    made = [FIND_MASTER, derive("0x10", "0x20", **DEK), derive("0x10", "0x11", **{**PAYLOAD, **payload})]
    read = [read_value("0x11", value), begin_encrypting(), encrypt(value), encrypt(value)]
    return [*made, *read, destroy("0x11"), destroy("0x20")]


def search(account: Account) -> list[str]:
    found = SEARCHER.find("rest", account.rest)
    for place, value in account.buffers:
        found += SEARCHER.find(place, value)
    return sorted({item.place for item in found})


@pytest.mark.parametrize("key_type", ["CKK_DES2", "CKK_AES"])
def test_a_transient_read_is_accounted_for(key_type: str) -> None:
    account = account_for(build_log(*write_key(KEY_TYPE=key_type)))
    assert [crossing.value for crossing in account.transient] == [KEY]
    assert (account.unexplained, account.left, search(account)) == ([], [], [])
    assert account.calls == 10  # finding the master takes two


@pytest.mark.parametrize("change", [{"KEY_TYPE": "CKK_AES"}, {"WRAP": "True"}, {"DECRYPT": "True"}, {"TOKEN": "True"}])
def test_a_key_that_was_read_goes_under_a_triple_des_key_that_does_nothing_else(change: dict[str, str]) -> None:
    find, _, *others = write_key()
    account = account_for(build_log(find, derive("0x10", "0x20", **{**DEK, **change}), *others))
    assert account.unexplained != []
    assert search(account) != []


def test_a_readable_derivation_is_accounted_for_with_its_master() -> None:
    reads = [
        derive("0x10", "0x11", **READABLE) + read_value("0x11", block) + destroy("0x11")
        for block in (BLOCK, BLOCK[::-1])
    ]
    account = account_for(build_log(FIND_MASTER, *reads, reads[0]))
    assert [crossing.value for crossing in account.readable] == [BLOCK, BLOCK[::-1], BLOCK]
    assert (account.unexplained, account.left) == ([], [])
    assert count_blocks_read([account, account]) == {MASTER_ID: 2}


@pytest.mark.parametrize(
    ("parent", "is_chain"),
    [
        ({"KEY_TYPE": "CKK_AES", "DERIVE": "True", "TOKEN": "False"}, True),
        ({"KEY_TYPE": "CKK_DES2", "DERIVE": "True", "TOKEN": "False"}, False),
        ({"KEY_TYPE": "CKK_AES", "DERIVE": "True", "SIGN": "True", "TOKEN": "False"}, False),
        ({"KEY_TYPE": "CKK_AES", "DERIVE": "True", "TOKEN": "True"}, False),
    ],
)
def test_a_chaining_value_is_of_a_cards_own_aes_key_that_derives(parent: dict[str, str], is_chain: bool) -> None:
    calls = [FIND_MASTER, derive("0x10", "0x12", **parent), derive("0x12", "0x13", **READABLE)]
    (read,) = account_for(build_log(*calls, read_value("0x13", BLOCK))).readable
    assert read.of.is_chain is is_chain


def test_a_creation_is_an_import_unless_its_value_is_published() -> None:
    account = account_for(build_log(create(bytes(range(16)), "0x2"), create(KEY, "0x3", TOKEN="True")))
    assert [(crossing.value, crossing.of.lasts) for crossing in account.imported] == [(KEY, True)]
    assert len(account.left) == 1  # the first; the second is meant to last


@pytest.mark.parametrize(
    "calls",
    [
        [read_value("0x11", KEY)],  # of an object that nobody has made
        [FIND_MASTER, read_value("0x10", KEY)],  # of a master
        [derive("0x10", "0x11", **{**PAYLOAD, "SENSITIVE": "True"}), read_value("0x11", KEY)],
        [derive("0x10", "0x11", **{**PAYLOAD, "DECRYPT": "True"}), read_value("0x11", KEY)],
        [derive("0x10", "0x11", **{**PAYLOAD, "KEY_TYPE": "CKK_GENERIC_SECRET"}), read_value("0x11", KEY)],
        [derive("0x10", "0x11", **{**READABLE, "DERIVE": "True"}), read_value("0x11", KEY)],
        [create(KEY, "0x11", **PAYLOAD), read_value("0x11", KEY)],  # not derived
        [derive("0x10", "0x11", **PAYLOAD), read_value("0x11", KEY), destroy("0x11")],  # read and not encrypted
        write_key()[:-3],  # encrypted once
        [*write_key()[:4], begin_encrypting(), encrypt(BLOCK), encrypt(BLOCK)],
    ],
)
def test_every_other_value_is_unexplained(calls: list[str]) -> None:
    assert account_for(build_log(*calls)).unexplained != []


@pytest.mark.parametrize(
    "call",
    [
        encrypt(KEY),  # without a read before
        encrypt(BLOCK + KEY),  # across rows
        build_call("C_Encrypt", "[in] pData[ulDataLen] 00007fd2db6861d0 / 20\n", build_rows(bytes(4) + KEY)),
        build_call("C_Decrypt", "[out] pData[*pulDataLen] 00007fd2db6861d0 / 16\n", build_rows(KEY)),
        build_call("C_WrapKey", "[out] pWrappedKey[*pulWrappedKeyLen] 00007fd2 / 24\n", build_rows(bytes(8) + KEY)),
        build_call("C_SetAttributeValue", "[in] pTemplate[1]: \n    CKA_LABEL   00007fd2 / 16\n", build_rows(KEY)),
        build_call("C_Sign", "[in] pData[ulDataLen] 00007fd2db6861d0 / 16\n", build_rows(KEY)),
        build_call("C_Login", f"[in] somethingNew = {KEY.hex()}\n"),
    ],
)
def test_a_key_in_any_other_argument_is_found(call: str) -> None:
    assert search(account_for(build_log(*write_key()))) == []
    assert search(account_for(build_log(*write_key(), call))) != []


def test_an_object_that_is_not_destroyed_is_told() -> None:
    (left,) = account_for(build_log(FIND_MASTER, derive("0x10", "0x11", **PAYLOAD))).left
    assert left.maker == "C_DeriveKey"


def test_bytes_are_whole_again_and_refused_where_they_belong_to_nothing() -> None:
    (call,) = parse_spy_log(build_log(encrypt(KEY * 2 + b"end")))
    assert [(buffer.direction, buffer.name, buffer.value) for buffer in call.buffers] == [
        ("in", "pData", KEY * 2 + b"end")
    ]
    with pytest.raises(SpyLogError):
        parse_spy_log(build_log(build_call("C_Encrypt")) + build_rows(KEY))
