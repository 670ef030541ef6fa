"""A key set's keys come from its source, and check values are those every tool shows."""

import pytest

from kms.card.key_sets import compute_kcv, derive_static_key, gp_kcv_method
from kms.card.keys import (
    DerivationPurpose,
    DerivedKeys,
    Diversification,
    KcvMethod,
    KeyRole,
    KeySetRef,
    KeyType,
    KeyUse,
    VendorKeys,
)
from kms.errors import Code, KmsError
from tests.fakes.software_keys import SoftwareKeys, software_master

K = bytes(range(0x40, 0x50))
VENDOR = VendorKeys(software_master(b"v", K, KeyType.DES2), Diversification.EMV_CPS_1_1, bytes(range(10)))
NONE = VendorKeys(software_master(b"v", K, KeyType.DES2), Diversification.NONE, bytes(10))
DERIVED = DerivedKeys(
    software_master(b"d", bytes(32), KeyType.AES256), "p", DerivationPurpose.SSD, b"card", bytes(range(5)), 0
)


@pytest.fixture
def keys() -> SoftwareKeys:
    return SoftwareKeys({b"v": K, b"d": bytes(32)})


@pytest.mark.parametrize(
    ("key_type", "method", "kcv"),
    [
        (KeyType.DES2, KcvMethod.DES_ZERO, "8BAF47"),
        (KeyType.AES128, KcvMethod.AES_GP, "504A77"),
    ],
)
def test_the_default_test_key_has_its_known_check_values(
    keys: SoftwareKeys, key_type: KeyType, method: KcvMethod, kcv: str
) -> None:
    assert gp_kcv_method(key_type) is method
    assert compute_kcv(keys, keys.load(K, key_type, KeyUse.PAYLOAD), method) == bytes.fromhex(kcv)


def test_the_check_value_for_people_is_five_bytes_of_a_cmac(keys: SoftwareKeys) -> None:
    # NIST SP 800-38B example key; AES-CMAC of one block of zeros.
    value = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")
    key = keys.load(value, KeyType.AES128, KeyUse.MAC)
    assert compute_kcv(keys, key, KcvMethod.AES_CMAC) == keys.cmac(key, bytes(16))[:5]


@pytest.mark.parametrize(
    ("key_type", "method"),
    [(KeyType.DES2, KcvMethod.AES_GP), (KeyType.DES2, KcvMethod.AES_CMAC), (KeyType.AES128, KcvMethod.DES_ZERO)],
)
def test_a_method_of_the_other_algorithm_is_refused(keys: SoftwareKeys, key_type: KeyType, method: KcvMethod) -> None:
    with pytest.raises(KmsError) as caught:
        compute_kcv(keys, keys.load(K, key_type, KeyUse.PAYLOAD), method)
    assert caught.value.code is Code.INPUT_INVALID


@pytest.mark.parametrize(("role", "kcv"), [(KeyRole.ENC, "C33013"), (KeyRole.MAC, "6F4CA6"), (KeyRole.DEK, "BB8179")])
def test_a_vendor_set_gives_the_published_keys_of_a_card(keys: SoftwareKeys, role: KeyRole, kcv: str) -> None:
    key = derive_static_key(keys, KeySetRef(1, KeyType.DES2, VENDOR), role, KeyUse.PAYLOAD)
    assert compute_kcv(keys, key, KcvMethod.DES_ZERO) == bytes.fromhex(kcv)


@pytest.mark.parametrize("key_type", list(KeyType))
def test_a_derived_set_gives_three_different_keys_of_its_type(keys: SoftwareKeys, key_type: KeyType) -> None:
    ref = KeySetRef(0x20, key_type, DERIVED)
    made = [derive_static_key(keys, ref, role, KeyUse.PAYLOAD) for role in KeyRole]
    assert {key.key_type for key in made} == {key_type}
    assert len({compute_kcv(keys, key, gp_kcv_method(key_type)) for key in made}) == 3


def test_an_undiversified_set_is_the_master(keys: SoftwareKeys) -> None:
    ref = KeySetRef(0xFF, KeyType.DES2, NONE)
    assert derive_static_key(keys, ref, KeyRole.DEK, KeyUse.DERIVE) == keys.get_master(NONE.master)


@pytest.mark.parametrize("source", [VENDOR, NONE])
def test_a_set_of_another_type_than_its_source_makes_is_refused(keys: SoftwareKeys, source: VendorKeys) -> None:
    with pytest.raises(KmsError) as caught:
        derive_static_key(keys, KeySetRef(1, KeyType.AES128, source), KeyRole.ENC, KeyUse.DERIVE)
    assert caught.value.code is Code.INPUT_INVALID
