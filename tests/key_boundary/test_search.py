"""The search finds a planted key in every form, whole and by halves, and finds nothing where there is nothing."""

import base64
import json
import secrets
import textwrap
from collections.abc import Callable

import pytest

from tests.key_boundary.search import Searcher, find_whole_keys

KEY = bytes.fromhex("8AB1024D7EF310559CA8D6207B34E1FE")
OTHER = bytes.fromhex("13579BDF02468ACE13579BDF02468ACE")
SEARCHER = Searcher({"planted": KEY, "other": OTHER})


def with_parity(key: bytes) -> bytes:
    """The key with odd parity, as tokens set it."""
    return bytes(byte & 0xFE | ((byte >> 1).bit_count() + 1) % 2 for byte in key)


def in_rows(key: bytes) -> str:
    """As pkcs11-spy prints a buffer."""
    return "    00000000  " + "".join(f"{byte:02X} " for byte in key) + " ...M~..U....{4.."


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda key: b"\x00\x01" + key + b"\xff",
    "lower hex": lambda key: b"key=" + key.hex().encode() + b"\n",
    "upper hex": lambda key: key.hex().upper().encode(),
    "hex with blanks": lambda key: key.hex(" ").upper().encode(),
    "hex with colons": lambda key: key.hex(":").encode(),
    "hex in groups of four": lambda key: key.hex(" ", 4).encode(),
    "hex in lines": lambda key: textwrap.fill(key.hex(), 20).encode(),
    "hex after an odd digit": lambda key: b"a" + key.hex().encode(),
    "a row of the spy": lambda key: in_rows(key).encode(),
    "base64": base64.b64encode,
    "base64 of a longer text": lambda key: base64.b64encode(b"k" + key + b"end"),
    "base64 of another longer text": lambda key: base64.b64encode(b"kk" + key + b"end"),
    "base64 in JSON": lambda key: b'{"key":"' + base64.b64encode(key) + b'"}',
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(b"\xff" + key),
    "base64 in lines": lambda key: base64.encodebytes(bytes(50) + key),
    "Python's way to show bytes": lambda key: repr(key).encode(),
    "the same in JSON": lambda key: json.dumps(repr(key)).encode(),
    "characters in JSON": lambda key: json.dumps(key.decode("latin-1")).encode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("variant", ["as it is", "with parity", "first half", "second half"])
def test_a_planted_key_is_found_in_every_form(form: str, variant: str) -> None:
    planted = {"as it is": KEY, "with parity": with_parity(KEY), "first half": KEY[:8], "second half": KEY[8:]}[variant]
    content = secrets.token_bytes(3000) + b"\n" + FORMS[form](planted) + b"\n" + secrets.token_bytes(3000)
    found = SEARCHER.find("somewhere", content)
    parts = {"first half": {1}, "second half": {2}}.get(variant, {1, 2})
    assert {(item.key, item.part) for item in found} == {("planted", part) for part in parts}
    assert all(item.place == "somewhere" for item in found)


def test_nothing_is_found_where_nothing_is() -> None:
    assert SEARCHER.find("empty", b"") == []
    assert SEARCHER.find("noise", secrets.token_bytes(1_000_000)) == []
    assert SEARCHER.find("hex", secrets.token_bytes(50_000).hex(" ").encode()) == []
    almost = bytearray(KEY)
    almost[3] ^= 0x10
    almost[11] ^= 0x10
    assert SEARCHER.find("almost", bytes(almost) + bytes(almost).hex().encode()) == []


def test_what_is_found_is_told_without_its_value() -> None:
    (found, *_) = SEARCHER.find("log", KEY[8:])
    assert str(found) == "planted (bytes 9 to 16) as raw bytes in log"
    assert KEY.hex() not in repr(SEARCHER).lower()


def test_a_whole_key_is_told_from_a_half() -> None:
    assert find_whole_keys(SEARCHER.find("x", KEY[:8] + OTHER[8:]), SEARCHER) == ["other"]  # its halves are the same
    assert find_whole_keys(SEARCHER.find("x", KEY[:8] + b"-" + KEY[8:]), SEARCHER) == ["planted"]
    assert find_whole_keys(SEARCHER.find("x", KEY.hex().encode()), SEARCHER) == []


def test_a_key_of_an_odd_size_is_not_searched_for_in_part() -> None:
    with pytest.raises(ValueError, match="parts of 8"):
        Searcher({"short": KEY[:7]})
