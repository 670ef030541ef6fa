"""SCP02 session keys are the published ones, made in the token."""

from dataclasses import replace

import pytest

from kms.card.key_sets import compute_kcv
from kms.card.keys import KcvMethod, KeyType, KeyUse
from kms.card.scp02_keys import C_MAC, DEK, ENC, R_MAC, Scp02Keys
from kms.card.secure_messaging import pad
from kms.errors import Code, KmsError
from tests.fakes.software_keys import RecordedKeys

K = bytes(range(0x40, 0x50))


@pytest.fixture
def keys() -> RecordedKeys:
    return RecordedKeys(dict.fromkeys((1, 2, 3), K), 1, bytes(10))


@pytest.mark.parametrize(("constant", "kcv"), [(ENC, "F2DCDD"), (C_MAC, "5FCC69"), (DEK, "85272E"), (R_MAC, "9F749A")])
def test_session_keys_have_the_published_check_values(keys: RecordedKeys, constant: bytes, kcv: str) -> None:
    # KCVs as GlobalPlatformPro's tests publish them for the keys K, K, K at counter 0000.
    session = Scp02Keys(keys, keys.ref, 0)
    static = keys.load(K, KeyType.DES2, KeyUse.DERIVE)
    key = session.derive_session_key(static, constant, KeyUse.PAYLOAD)
    assert compute_kcv(keys, key, KcvMethod.DES_ZERO).hex().upper() == kcv


def test_a_key_under_the_session_dek_is_the_published_block(keys: RecordedKeys) -> None:
    wrapped = Scp02Keys(keys, keys.ref, 0).wrap(keys.load(K, KeyType.DES2, KeyUse.PAYLOAD))
    assert wrapped.hex().upper() == "EFBEE6C6D99D7B70BDE9D7E927F020AF"


def test_both_cryptograms_in_one_call_are_those_of_two(keys: RecordedKeys) -> None:
    session = Scp02Keys(keys, keys.ref, 7)
    card, host = pad(bytes(range(16)), 8), pad(bytes(range(16, 32)), 8)
    right = session.mac_cryptogram(card)
    assert session.mac_both_cryptograms(card, right, host) == (right, session.mac_cryptogram(host))
    assert session.mac_both_cryptograms(card, bytes(8), host)[0] == right


@pytest.mark.parametrize("key_type", [KeyType.DES3, KeyType.AES128])
def test_a_key_set_of_another_type_is_refused(keys: RecordedKeys, key_type: KeyType) -> None:
    with pytest.raises(KmsError) as caught:
        Scp02Keys(keys, replace(keys.ref, key_type=key_type), 0)
    assert caught.value.code is Code.INPUT_INVALID
