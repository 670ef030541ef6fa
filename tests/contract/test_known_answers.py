"""NIST's and Wycheproof's known answers for AES-CMAC, AES-CBC and AES key wrap, through each make of token.

A server that relied on one of these going wrong in a token would give a card keys that nobody can find again, so all
that apply are run: keys of 16, 24 and 32 bytes, whole blocks, no padding. What Wycheproof calls invalid is refused.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from pkcs11 import MechanismFlag, SecretKey

from kms.card.keys import CipherMode, KeyType, KeyUse
from kms.errors import Code
from kms.hsm.connection import Connection
from kms.hsm.gateway import Gateway
from kms.hsm.key_wrap import unwrap_by_aes, wrap_by_aes
from kms.hsm.operations import compute_cmac, decrypt, encrypt
from kms.hsm.templates import PROBE_KEK, TRIAL, Template, build_value_template, get_unwrapped_template
from kms.hsm.trials import make_session_key
from kms.hsm.wrapping import WrapStrategy
from tests.contract.conftest import refused
from tests.contract.tokens import FreshToken

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
TYPES = {16: KeyType.AES128, 24: KeyType.AES192, 32: KeyType.AES256}
OPENING_KEK = Template("opening KEK", MechanismFlag.UNWRAP, TRIAL.attributes)
BLOCK = bytes(range(16))

Case = dict[str, Any]


@pytest.fixture(scope="module")
def connection(make_token: Callable[[], FreshToken]) -> Iterator[Connection]:
    gateway = Gateway(make_token().settings)
    with gateway.connect() as opened:
        yield opened
    gateway.close()


@pytest.fixture
def made() -> Iterator[ExitStack]:
    """What ends with it, after each case too, is destroyed."""
    with ExitStack() as stack:
        yield stack


def read_nist(name: str) -> list[Case]:
    """The records of a file, with the section that each stands in."""
    records: list[Case] = []
    section = ""
    for line in (VECTORS / "nist" / name).read_text().splitlines():
        if found := re.fullmatch(r"\[(.*)\]", line.strip()):
            section = found[1]
        elif line.startswith("COUNT"):
            records.append({"section": section})
        elif records and (found := re.fullmatch(r"(\w+) = ?([0-9a-f]*)", line.strip())):
            records[-1][found[1]] = bytes.fromhex(found[2])
        elif records and line.strip() == "FAIL":
            records[-1]["P"] = None
    return records


def read_wycheproof(name: str) -> list[Case]:
    groups = json.loads((VECTORS / "wycheproof" / name).read_text())["testGroups"]
    return [case for group in groups for case in group["tests"]]


def make_kek(connection: Connection, made: ExitStack, value: bytes, template: Template) -> SecretKey:
    key = connection.hsm_session.create_object(build_value_template(template, TYPES[len(value)], value))
    made.callback(key.destroy)
    assert isinstance(key, SecretKey)
    return key


def check_wraps(connection: Connection, kek: bytes, payload: bytes, wrapped: bytes) -> None:
    with ExitStack() as made:
        key = make_session_key(connection.hsm_session, made, TYPES[len(payload)], payload, KeyUse.PAYLOAD)
        assert wrap_by_aes(make_kek(connection, made, kek, PROBE_KEK), key, len(payload)) == wrapped


def open_wrapped(connection: Connection, made: ExitStack, kek: bytes, wrapped: bytes, key_type: KeyType) -> SecretKey:
    template = get_unwrapped_template(KeyUse.ENCRYPT, key_type, WrapStrategy.NATIVE)
    opening = make_kek(connection, made, kek, OPENING_KEK)
    key = unwrap_by_aes(connection, opening, wrapped, key_type=key_type, template=template)
    made.callback(key.destroy)
    return key


def check_opens(connection: Connection, kek: bytes, payload: bytes, wrapped: bytes) -> None:
    with ExitStack() as made:
        key_type = TYPES[len(payload)]
        key = open_wrapped(connection, made, kek, wrapped, key_type)
        encryptor = Cipher(AES(payload), modes.ECB()).encryptor()  # noqa: S305 - tells one key from another
        assert encrypt(key, key_type, CipherMode.ECB, BLOCK, None) == encryptor.update(BLOCK)


def check_refused(connection: Connection, kek: bytes, wrapped: bytes) -> None:
    for key_type in TYPES.values():
        with ExitStack() as made, refused(Code.KEY_UNWRAP_REFUSED):
            open_wrapped(connection, made, kek, wrapped, key_type)


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_nist_cmac(connection: Connection, bits: int) -> None:
    cases = read_nist(f"nist-800-38b-aes{bits}.txt")
    assert len(cases) == 4
    for case in cases:
        with ExitStack() as made:
            key = make_session_key(connection.hsm_session, made, TYPES[bits // 8], case["KEY"], KeyUse.MAC)
            assert compute_cmac(key, case["MESSAGE"]) == case["OUTPUT"]


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_nist_cbc(connection: Connection, bits: int) -> None:
    cases = read_nist(f"CBCMMT{bits}.rsp")
    assert len(cases) == 20
    for case in cases:
        key_type, mode = TYPES[bits // 8], CipherMode.CBC
        with ExitStack() as made:
            key = make_session_key(connection.hsm_session, made, key_type, case["KEY"], KeyUse.ENCRYPT)
            assert encrypt(key, key_type, mode, case["PLAINTEXT"], case["IV"]) == case["CIPHERTEXT"]
            assert decrypt(key, key_type, mode, case["CIPHERTEXT"], case["IV"]) == case["PLAINTEXT"]


def test_nist_key_wrap(connection: Connection) -> None:
    cases = read_nist("KW_AE_256.txt")
    assert len(cases) == 75
    for case in cases:
        check_wraps(connection, case["K"], case["P"], case["C"])


def test_nist_key_unwrap(connection: Connection) -> None:
    cases = read_nist("KW_AD_256.txt")
    assert len(cases) == 75
    assert any(case["P"] is None for case in cases)
    for case in cases:
        if case["P"] is None:
            check_refused(connection, case["K"], case["C"])
        else:
            check_opens(connection, case["K"], case["P"], case["C"])


def test_wycheproof_cmac(connection: Connection) -> None:
    cases = [case for case in read_wycheproof("aes_cmac_test.json") if len(case["key"]) // 2 in TYPES]
    assert len(cases) == 306
    for case in cases:
        value = bytes.fromhex(case["key"])
        with ExitStack() as made:
            key = make_session_key(connection.hsm_session, made, TYPES[len(value)], value, KeyUse.MAC)
            mac = compute_cmac(key, bytes.fromhex(case["msg"]))
            assert (mac == bytes.fromhex(case["tag"])) is (case["result"] == "valid"), case


def test_wycheproof_key_wrap(connection: Connection) -> None:
    tried = 0
    for case in read_wycheproof("aes_wrap_test.json"):
        kek, payload, wrapped = (bytes.fromhex(case[name]) for name in ("key", "msg", "ct"))
        if case["result"] == "invalid":
            check_refused(connection, kek, wrapped)
        elif len(payload) in TYPES:  # one is 384 bytes long, three are 8: no keys of ours
            check_wraps(connection, kek, payload, wrapped)
            check_opens(connection, kek, payload, wrapped)
        else:
            check_refused(connection, kek, wrapped)
        tried += 1
    assert tried == 165
