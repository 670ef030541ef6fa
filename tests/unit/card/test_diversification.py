"""A card's static keys follow from the vendor's master as the published values say."""

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from kms.card.diversification import build_diversification_data, derive_vendor_key
from kms.card.keys import Diversification, KeyRole, KeyType, KeyUse, VendorKeys
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
    derived = derive_vendor_key(keys, vendor(Diversification.EMV_CPS_1_1), role, KeyUse.DERIVE)
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
    derived = derive_vendor_key(keys, vendor(Diversification.VISA2), role, KeyUse.DERIVE)
    assert derived == keys.load(expected, KeyType.DES2, KeyUse.DERIVE)
    assert keys.calls == {"get_master": 1, "derive_des": 1}


@pytest.mark.parametrize("role", list(KeyRole))
def test_without_diversification_the_master_itself_is_each_key(role: KeyRole) -> None:
    keys = SoftwareKeys({b"v": MASTER})
    source = vendor(Diversification.NONE)
    assert derive_vendor_key(keys, source, role, KeyUse.DERIVE) == keys.get_master(source.master)


@pytest.mark.parametrize(
    "source",
    [
        vendor(Diversification.VISA2, kdd=KDD[:9]),
        vendor(Diversification.EMV_CPS_1_1, kdd=KDD + b"\x00"),
        vendor(Diversification.EMV_CPS_1_1, kind=KeyType.AES128),
    ],
)
def test_a_wrong_length_or_an_aes_master_is_refused(source: VendorKeys) -> None:
    with pytest.raises(KmsError) as caught:
        derive_vendor_key(SoftwareKeys({b"v": MASTER}), source, KeyRole.ENC, KeyUse.DERIVE)
    assert caught.value.code is Code.INPUT_INVALID


def test_no_diversification_has_no_data() -> None:
    with pytest.raises(KmsError) as caught:
        build_diversification_data(Diversification.NONE, KDD, KeyRole.ENC)
    assert caught.value.code is Code.INPUT_INVALID
