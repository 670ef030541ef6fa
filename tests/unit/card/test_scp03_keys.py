"""SCP03 session keys, cryptograms and wraps are the published ones, made in the token."""

import json
from pathlib import Path

import pytest

from kms.card.key_sets import compute_kcv
from kms.card.keys import KcvMethod, KeyHandle, KeyRole, KeyType, KeyUse
from kms.card.scp03_keys import S_ENC, S_MAC, S_RMAC, Scp03Keys, build_kdf_block
from kms.errors import Code, KmsError
from tests.fakes.software_keys import RecordedKeys

RECORDINGS = sorted((Path(__file__).parents[2] / "vectors" / "gp").glob("*scp03*.json"))
SESSIONS = [session for path in RECORDINGS for session in json.loads(path.read_text())["sessions"]]
AES = {16: KeyType.AES128, 24: KeyType.AES192, 32: KeyType.AES256}


def recorded(session: dict[str, object]) -> tuple[RecordedKeys, Scp03Keys]:
    static_keys = session["static_keys"]
    assert isinstance(static_keys, dict)
    static = {role.kid: bytes.fromhex(static_keys[role]) for role in KeyRole}
    keys = RecordedKeys(static, 1, bytes(10), AES[len(static[1])])
    context = bytes.fromhex(f"{session['host_challenge']}{session['card_challenge']}")
    return keys, Scp03Keys(keys, keys.ref, context, 16 if session["s16"] else 8)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: f"{session['i']}-{session['key_bits']}")
def test_session_keys_are_the_recorded_ones(session: dict[str, object]) -> None:
    keys, session_keys = recorded(session)
    expected, static = session["session_keys"], session["static_keys"]
    assert isinstance(expected, dict)
    assert isinstance(static, dict)
    for name, constant, role in (("S-ENC", S_ENC, "ENC"), ("S-MAC", S_MAC, "MAC"), ("S-RMAC", S_RMAC, "MAC")):
        value = bytes.fromhex(static[role])
        parent = keys.load(value, AES[len(value)], KeyUse.DERIVE)
        made: KeyHandle = session_keys.derive_session_key(parent, constant, KeyUse.MAC)
        assert made == keys.load(bytes.fromhex(expected[name]), AES[len(value)], KeyUse.MAC)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: f"{session['i']}-{session['key_bits']}")
def test_both_cryptograms_are_the_recorded_ones(session: dict[str, object]) -> None:
    _, session_keys = recorded(session)
    assert session_keys.make_card_cryptogram().hex().upper() == session["card_cryptogram"]
    assert session_keys.make_host_cryptogram().hex().upper() == session["host_cryptogram"]


def test_a_key_under_the_static_dek_is_the_published_block() -> None:
    keys = RecordedKeys(dict.fromkeys((1, 2, 3), bytes(range(16))), 1, bytes(10), KeyType.AES128)
    wrapped = Scp03Keys(keys, keys.ref, bytes(16), 8).wrap(
        keys.load(bytes(range(0x40, 0x50)), KeyType.AES128, KeyUse.PAYLOAD)
    )
    assert wrapped.hex().upper() == "D533E59B45A153ED7E5E9C5DFCFD4AAA"


@pytest.mark.parametrize(
    ("key_type", "length"),
    [(KeyType.DES2, 16), (KeyType.DES3, 32), (KeyType.AES128, 16), (KeyType.AES192, 32), (KeyType.AES256, 32)],
)
def test_keys_of_every_type_go_under_the_static_dek_padded_to_its_blocks(key_type: KeyType, length: int) -> None:
    keys = RecordedKeys(dict.fromkeys((1, 2, 3), bytes(range(32))), 1, bytes(10), KeyType.AES256)
    payload = keys.load(bytes(range(key_type.length)), key_type, KeyUse.PAYLOAD)
    assert len(Scp03Keys(keys, keys.ref, bytes(16), 8).wrap(payload)) == length
    method = KcvMethod.AES_GP if key_type.is_aes else KcvMethod.DES_ZERO
    assert len(compute_kcv(keys, payload, method)) == 3


@pytest.mark.parametrize("key_type", [KeyType.DES2, KeyType.DES3])
def test_a_triple_des_key_set_is_refused(key_type: KeyType) -> None:
    keys = RecordedKeys({}, 1, bytes(10), key_type)
    with pytest.raises(KmsError) as caught:
        Scp03Keys(keys, keys.ref, bytes(16), 8)
    assert caught.value.code is Code.INPUT_INVALID


@pytest.mark.parametrize(
    ("constant", "length", "number", "block"),
    [
        (0x00, 8, 1, "0000000000000000000000 00 00 0040 01"),
        (0x01, 16, 1, "0000000000000000000000 01 00 0080 01"),
        (0x04, 24, 2, "0000000000000000000000 04 00 00C0 02"),
        (0x07, 32, 2, "0000000000000000000000 07 00 0100 02"),
    ],
)
def test_the_derivation_data_begin_with_label_length_and_counter(
    constant: int, length: int, number: int, block: str
) -> None:
    assert build_kdf_block(constant, length, number) == bytes.fromhex(block)
