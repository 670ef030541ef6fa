"""Initial keys go from one HSM to another and are the same there (tests/contract/test_key_exchange.py has tokens)."""

from dataclasses import replace

import pytest

from kms.card.hand_over_keys import CheckValues, check_wrapped_keys, wrap_initial_keys
from kms.card.key_sets import compute_kcv, derive_static_key, gp_kcv_method
from kms.card.keys import (
    DerivationPurpose,
    DerivedKeys,
    KcvMethod,
    KeyRole,
    KeySetRef,
    KeyType,
    KeyUse,
    MasterRef,
    WrappedKeys,
)
from kms.errors import Code, KmsError
from tests.fakes.software_keys import KekSide, SoftwareKeys, check_value, software_master

KEK = bytes(range(32))
KEK_REF = MasterRef(b"k", KeyType.AES256, check_value(KEK, KeyType.AES256, KcvMethod.AES_CMAC), KcvMethod.AES_CMAC)
MASTER = bytes(range(100, 132))
SOURCE = DerivedKeys(
    software_master(b"d", MASTER, KeyType.AES256), "issuer", DerivationPurpose.SSD_INITIAL, b"card", bytes(5), 0
)


@pytest.fixture
def issuer() -> SoftwareKeys:
    return SoftwareKeys({b"d": MASTER, b"k": KEK}, {b"k": KekSide.WRAPS})


@pytest.fixture
def provider() -> SoftwareKeys:
    return SoftwareKeys({b"k": KEK}, {b"k": KekSide.UNWRAPS})


def hand_over(issuer: SoftwareKeys, key_type: KeyType) -> tuple[KeySetRef, WrappedKeys, CheckValues]:
    wrapped, kcvs = wrap_initial_keys(issuer, KEK_REF, KeySetRef(0x20, key_type, SOURCE))
    source = WrappedKeys(KEK_REF, wrapped)
    return KeySetRef(0x20, key_type, source), source, kcvs


@pytest.mark.parametrize("key_type", list(KeyType))
def test_three_keys_arrive_as_they_were_derived(
    issuer: SoftwareKeys, provider: SoftwareKeys, key_type: KeyType
) -> None:
    ref, _, kcvs = hand_over(issuer, key_type)
    check_wrapped_keys(provider, ref, kcvs)
    method = gp_kcv_method(key_type)
    own = KeySetRef(0x20, key_type, SOURCE)
    for role, kcv in zip(KeyRole, kcvs, strict=True):
        derived = derive_static_key(issuer, own, role, KeyUse.PAYLOAD)
        arrived = derive_static_key(provider, ref, role, KeyUse.ENCRYPT)
        assert compute_kcv(issuer, derived, method) == compute_kcv(provider, arrived, method) == kcv


def test_the_kek_is_looked_up_once_and_each_key_made_once(issuer: SoftwareKeys) -> None:
    hand_over(issuer, KeyType.DES2)
    assert dict(issuer.calls) == {"get_master": 4, "derive_cmac": 3, "wrap_for_peer": 3, "encrypt": 3}


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (0, 0, 2)])
def test_keys_in_another_place_are_refused(
    issuer: SoftwareKeys, provider: SoftwareKeys, order: tuple[int, int, int]
) -> None:
    ref, source, kcvs = hand_over(issuer, KeyType.DES2)
    first, second, third = (source.wrapped[place] for place in order)
    with pytest.raises(KmsError) as failure:
        check_wrapped_keys(provider, replace(ref, source=replace(source, wrapped=(first, second, third))), kcvs)
    assert failure.value.code is Code.KEY_KCV_MISMATCH


def test_a_key_of_another_type_is_refused(issuer: SoftwareKeys, provider: SoftwareKeys) -> None:
    ref, _, kcvs = hand_over(issuer, KeyType.AES128)
    with pytest.raises(KmsError) as failure:
        check_wrapped_keys(provider, replace(ref, key_type=KeyType.DES2), kcvs)
    assert failure.value.code is Code.KEY_KCV_MISMATCH


def test_a_blob_that_was_changed_is_refused(issuer: SoftwareKeys, provider: SoftwareKeys) -> None:
    ref, source, kcvs = hand_over(issuer, KeyType.DES2)
    changed = replace(source, wrapped=(*source.wrapped[:2], bytes(24)))
    with pytest.raises(KmsError) as failure:
        check_wrapped_keys(provider, replace(ref, source=changed), kcvs)
    assert failure.value.code is Code.KEY_UNWRAP_REFUSED


def test_no_repr_shows_a_wrapped_key(issuer: SoftwareKeys) -> None:
    ref, source, _ = hand_over(issuer, KeyType.DES2)
    assert repr(source.wrapped[0]) not in repr(ref)
