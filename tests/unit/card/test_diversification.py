"""A card's static keys follow from the vendor's master as the published values say."""

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from kms.card.diversification import build_diversification_data, derive_vendor_key
from kms.card.key_sets import compute_kcv
from kms.card.keys import Diversification, KcvMethod, KeyRole, KeyType, KeyUse, VendorKeys
from kms.errors import Code, KmsError
from tests.fakes.software_keys import SoftwareKeys, software_master

MASTER = bytes(range(0x40, 0x50))
KDD = bytes.fromhex("00010203040506070809")


def vendor(
    scheme: Diversification, kdd: bytes = KDD, master: bytes = MASTER, kind: KeyType = KeyType.DES2
) -> VendorKeys:
    return VendorKeys(software_master(b"v", master, kind), scheme, kdd)


@pytest.mark.parametrize(
    ("role", "value"),
    [
        (KeyRole.ENC, "0EF59FCBF8019B62E62AF6EA20B8BF25"),
        (KeyRole.MAC, "3E383EB6F2762B88155F76BDFED05A02"),
        (KeyRole.DEK, "64021E43C0C7D264A1C7C6D01E1C8761"),
    ],
)
def test_emv_cps_1_1_gives_the_published_keys(role: KeyRole, value: str) -> None:
    keys = SoftwareKeys({b"v": MASTER})
    derived = derive_vendor_key(keys, vendor(Diversification.EMV_CPS_1_1), role, KeyType.DES2, KeyUse.DERIVE)
    assert derived == keys.load(bytes.fromhex(value), KeyType.DES2, KeyUse.DERIVE)


@pytest.mark.parametrize(
    ("role", "data"),
    [
        (KeyRole.ENC, "000104050607F001 0001040506070F01"),
        (KeyRole.MAC, "000104050607F002 0001040506070F02"),
        (KeyRole.DEK, "000104050607F003 0001040506070F03"),
    ],
)
def test_visa2_gives_the_master_over_aid_end_and_serial_number(role: KeyRole, data: str) -> None:
    cipher = Cipher(TripleDES(MASTER + MASTER[:8]), modes.ECB()).encryptor()  # noqa: S305 - the scheme is ECB
    expected = cipher.update(bytes.fromhex(data))
    keys = SoftwareKeys({b"v": MASTER})
    derived = derive_vendor_key(keys, vendor(Diversification.VISA2), role, KeyType.DES2, KeyUse.DERIVE)
    assert derived == keys.load(expected, KeyType.DES2, KeyUse.DERIVE)
    assert keys.calls == {"get_master": 1, "derive_des": 1}


@pytest.mark.parametrize("role", list(KeyRole))
def test_without_diversification_the_master_itself_is_each_key(role: KeyRole) -> None:
    keys = SoftwareKeys({b"v": MASTER})
    source = vendor(Diversification.NONE)
    assert derive_vendor_key(keys, source, role, KeyType.DES2, KeyUse.DERIVE) == keys.get_master(source.master)


@pytest.mark.parametrize(
    ("role", "value", "kcv"),
    [
        (KeyRole.ENC, "808BC985A1069AD2A9AC94E0FE7B8843", "E79C05"),
        (KeyRole.MAC, "65942E0BF4F3F32AEFACBA5671456275", "D1BD77"),
        (KeyRole.DEK, "6A74F6F6040CCA10D8A3FDC7914FD7CC", "3FDE8C"),
    ],
)
def test_kdf3_gives_the_published_keys(role: KeyRole, value: str, kcv: str) -> None:
    keys = SoftwareKeys({b"v": MASTER})
    source = vendor(Diversification.KDF3, kind=KeyType.AES128)
    derived = derive_vendor_key(keys, source, role, KeyType.AES128, KeyUse.PAYLOAD)
    assert derived == keys.load(bytes.fromhex(value), KeyType.AES128, KeyUse.PAYLOAD)
    assert keys.calls == {"get_master": 1, "derive_cmac": 1}
    assert compute_kcv(keys, derived, KcvMethod.AES_GP).hex().upper() == kcv


@pytest.mark.parametrize(("key_type", "count"), [(KeyType.AES128, 1), (KeyType.AES192, 2), (KeyType.AES256, 2)])
def test_kdf3_is_one_cmac_block_for_each_16_bytes_of_key(key_type: KeyType, count: int) -> None:
    master = bytes(range(32))
    blocks = [bytes.fromhex(f"{number:02X} 00000002 00") + KDD for number in range(1, count + 1)]
    value = b""
    for block in blocks:
        context = CMAC(AES(master))
        context.update(block)
        value += context.finalize()
    keys = SoftwareKeys({b"v": master})
    source = vendor(Diversification.KDF3, master=master, kind=KeyType.AES256)
    derived = derive_vendor_key(keys, source, KeyRole.MAC, key_type, KeyUse.DERIVE)
    assert derived == keys.load(value[: key_type.length], key_type, KeyUse.DERIVE)


@pytest.mark.parametrize(
    ("source", "key_type"),
    [
        (vendor(Diversification.VISA2, kdd=KDD[:9]), KeyType.DES2),
        (vendor(Diversification.EMV_CPS_1_1, kdd=KDD + b"\x00"), KeyType.DES2),
        (vendor(Diversification.KDF3, kdd=KDD[:9], kind=KeyType.AES128), KeyType.AES128),
        (vendor(Diversification.EMV_CPS_1_1, kind=KeyType.AES128), KeyType.DES2),
        (vendor(Diversification.EMV_CPS_1_1), KeyType.AES128),
        (vendor(Diversification.NONE), KeyType.AES128),
        (vendor(Diversification.KDF3), KeyType.AES128),
        (vendor(Diversification.KDF3, kind=KeyType.AES128), KeyType.DES2),
        (vendor(Diversification.NONE, kind=KeyType.AES128), KeyType.AES128),
    ],
)
def test_a_wrong_length_master_or_key_type_is_refused(source: VendorKeys, key_type: KeyType) -> None:
    with pytest.raises(KmsError) as caught:
        derive_vendor_key(SoftwareKeys({b"v": MASTER}), source, KeyRole.ENC, key_type, KeyUse.DERIVE)
    assert caught.value.code is Code.INPUT_INVALID


@pytest.mark.parametrize("scheme", [Diversification.NONE, Diversification.KDF3])
def test_only_the_triple_des_schemes_have_data_for_it(scheme: Diversification) -> None:
    with pytest.raises(KmsError) as caught:
        build_diversification_data(scheme, KDD, KeyRole.ENC)
    assert caught.value.code is Code.INPUT_INVALID
