"""The key port's promises, kept by the software fake and by each make of token alike. Answers are computed here."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from kms.card.key_sets import compute_kcv, derive_static_key, gp_kcv_method
from kms.card.keys import (
    CipherMode,
    DerivationPurpose,
    DerivedKeys,
    KcvMethod,
    KeyHandle,
    KeyPort,
    KeyRole,
    KeySetRef,
    KeyType,
    KeyUse,
    MasterRef,
)
from kms.errors import Code
from kms.hsm.vault import TokenVault, open_vault
from tests.contract.conftest import refused
from tests.contract.tokens import MAKES, FreshToken, TokenFactory, TokenMake
from tests.fakes.software_keys import open_software_scope

AES_MASTER = bytes.fromhex("603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4")
DES_MASTER = bytes.fromhex("13579BDF02468ACE1F2E3D4C5B6A7980")
GP_TEST_KEY = bytes(range(0x40, 0x50))
AES_ID, DES_ID, GP_ID = b"A" * 16, b"D" * 16, b"G" * 16
B1, B2 = b"\x01" + bytes(range(15)), b"\x02" + bytes(range(15))


def cipher(value: bytes, mode: modes.ECB | modes.CBC, data: bytes, *, aes: bool) -> bytes:
    algorithm = AES(value) if aes else TripleDES((value + value[:8])[:24])
    encryptor = Cipher(algorithm, mode).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def decrypt(value: bytes, mode: modes.ECB | modes.CBC, data: bytes, *, aes: bool) -> bytes:
    decryptor = Cipher(AES(value) if aes else TripleDES((value + value[:8])[:24]), mode).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def ecb(value: bytes, data: bytes, *, aes: bool) -> bytes:
    return cipher(value, modes.ECB(), data, aes=aes)  # noqa: S305 - GlobalPlatform's mode


def mac(value: bytes, message: bytes) -> bytes:
    context = CMAC(AES(value))
    context.update(message)
    return context.finalize()


def with_odd_parity(value: bytes) -> bytes:
    return bytes((byte & 0xFE) | (1 - (byte >> 1).bit_count() % 2) for byte in value)


AES_REF = MasterRef(AES_ID, KeyType.AES256, mac(AES_MASTER, bytes(16))[:5], KcvMethod.AES_CMAC)
AES_REF_GP = MasterRef(AES_ID, KeyType.AES256, ecb(AES_MASTER, b"\x01" * 16, aes=True)[:3], KcvMethod.AES_GP)
DES_REF = MasterRef(DES_ID, KeyType.DES2, ecb(DES_MASTER, bytes(8), aes=False)[:3], KcvMethod.DES_ZERO)
GP_REF = MasterRef(GP_ID, KeyType.DES2, bytes.fromhex("8BAF47"), KcvMethod.DES_ZERO)


@dataclass(frozen=True)
class Subject:
    """One implementation: opens scopes over the two masters."""

    open_scope: Callable[[], AbstractContextManager[KeyPort]]
    is_token: bool


def open_loaded_vault(make_token: Callable[[], FreshToken]) -> TokenVault:
    """A vault over a fresh token that holds the three masters."""
    vault = open_vault(make_token().settings)
    for ref, value in ((AES_REF, AES_MASTER), (DES_REF, DES_MASTER), (GP_REF, GP_TEST_KEY)):
        vault.import_master(
            ref.object_id,
            "contract",
            key_type=ref.key_type,
            components=[bytearray(value)],
            expected_kcv=ref.kcv,
            kcv_method=ref.kcv_method,
        )
    return vault


@pytest.fixture(scope="module", params=["software", *MAKES])
def subject(request: pytest.FixtureRequest, factories: Callable[[TokenMake], TokenFactory]) -> Iterator[Subject]:
    if request.param == "software":
        masters = {AES_ID: AES_MASTER, DES_ID: DES_MASTER, GP_ID: GP_TEST_KEY}
        yield Subject(lambda: open_software_scope(masters), is_token=False)
        return
    vault = open_loaded_vault(factories(MAKES[request.param]))
    yield Subject(vault.open_scope, is_token=True)
    vault.close()


@pytest.fixture
def keys(subject: Subject) -> Iterator[KeyPort]:
    with subject.open_scope() as scope:
        yield scope


@pytest.mark.parametrize("ref", [AES_REF, AES_REF_GP, DES_REF], ids=lambda ref: str(ref.kcv_method))
def test_a_master_is_found_by_object_id_and_each_of_its_check_values(keys: KeyPort, ref: MasterRef) -> None:
    assert keys.get_master(ref).key_type is ref.key_type


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        (MasterRef(b"x" * 16, KeyType.AES256, b"123", KcvMethod.AES_GP), Code.KEY_MISSING),
        (MasterRef(AES_ID, KeyType.AES256, b"123", KcvMethod.AES_GP), Code.KEY_KCV_MISMATCH),
        (MasterRef(DES_ID, KeyType.DES2, DES_REF.kcv[:2], KcvMethod.DES_ZERO), Code.KEY_KCV_MISMATCH),
        (MasterRef(DES_ID, KeyType.AES256, b"123", KcvMethod.AES_GP), Code.KEY_ATTRIBUTES),
    ],
    ids=["unknown", "other kcv", "short kcv", "other type"],
)
def test_a_master_that_is_not_the_one_on_record_is_refused(keys: KeyPort, ref: MasterRef, code: Code) -> None:
    with refused(code):
        keys.get_master(ref)


@pytest.mark.parametrize("key_type", [KeyType.DES2, KeyType.DES3])
@pytest.mark.parametrize("mode", list(CipherMode))
def test_derive_des_makes_the_key_that_is_the_cipher_of_the_data(
    keys: KeyPort, key_type: KeyType, mode: CipherMode
) -> None:
    data = bytes(range(key_type.length))
    chosen: modes.ECB | modes.CBC = modes.ECB() if mode is CipherMode.ECB else modes.CBC(bytes(8))  # noqa: S305 - GlobalPlatform's mode
    value = cipher(DES_MASTER, chosen, data, aes=False)
    key = keys.derive_des(keys.get_master(DES_REF), mode, data, key_type, KeyUse.ENCRYPT)
    assert keys.encrypt(key, CipherMode.ECB, bytes(8)) == ecb(value, bytes(8), aes=False)


def test_a_single_des_key_is_a_triple_one_with_three_equal_parts(keys: KeyPort) -> None:
    value = ecb(DES_MASTER, b"\x01\x01\x00\x05" + bytes(4), aes=False)
    data = (b"\x01\x01\x00\x05" + bytes(4)) * 3
    key = keys.derive_des(keys.get_master(DES_REF), CipherMode.ECB, data, KeyType.DES3, KeyUse.ENCRYPT)
    expected = cipher(value * 3, modes.CBC(b"\x07" * 8), bytes(24), aes=False)
    assert keys.encrypt(key, CipherMode.CBC, bytes(24), b"\x07" * 8) == expected


@pytest.mark.parametrize(
    ("constant", "kcv"),
    [("0182", "F2DCDD"), ("0101", "5FCC69"), ("0181", "85272E"), ("0102", "9F749A")],
    ids=["S-ENC", "C-MAC", "DEK", "R-MAC"],
)
def test_scp02_session_keys_of_the_test_key_have_their_published_check_values(
    keys: KeyPort, constant: str, kcv: str
) -> None:
    data = bytes.fromhex(constant) + bytes(14)  # sequence counter 0000
    key = keys.derive_des(keys.get_master(GP_REF), CipherMode.CBC, data, KeyType.DES2, KeyUse.ENCRYPT)
    assert keys.encrypt(key, CipherMode.ECB, bytes(8))[:3].hex().upper() == kcv


@pytest.mark.parametrize("key_type", list(KeyType))
def test_derive_cmac_makes_the_key_that_is_the_macs_of_the_messages(keys: KeyPort, key_type: KeyType) -> None:
    messages = (B1, B2)[: -(-key_type.length // 16)]
    value = b"".join(mac(AES_MASTER, message) for message in messages)[: key_type.length]
    key = keys.derive_cmac(keys.get_master(AES_REF), messages, key_type, KeyUse.ENCRYPT)
    block = bytes(range(16))
    assert keys.encrypt(key, CipherMode.ECB, block) == ecb(value, block, aes=key_type.is_aes)


@pytest.mark.parametrize("lengths", [(16,), (32,), (48,), (32, 32), (16, 48), (64, 16)])
def test_a_cards_own_key_derives_from_messages_of_several_blocks(keys: KeyPort, lengths: tuple[int, ...]) -> None:
    parent_value = mac(AES_MASTER, B1)
    parent = keys.derive_cmac(keys.get_master(AES_REF), (B1,), KeyType.AES128, KeyUse.DERIVE)
    messages = tuple(bytes([i]) + bytes(range(length - 1)) for i, length in enumerate(lengths))
    key_type = KeyType.AES256 if len(lengths) == 2 else KeyType.AES128
    for _ in range(2):  # the second time the subkey is known already
        key = keys.derive_cmac(parent, messages, key_type, KeyUse.MAC)
        value = b"".join(mac(parent_value, message) for message in messages)
        assert keys.cmac(key, b"any data") == mac(value, b"any data")


@pytest.mark.parametrize("data", [b"", b"short", bytes(16), bytes(99)], ids=len)
def test_cmac_takes_data_of_any_length(keys: KeyPort, data: bytes) -> None:
    key = keys.derive_cmac(keys.get_master(AES_REF), (B1,), KeyType.AES128, KeyUse.MAC)
    assert keys.cmac(key, data) == mac(mac(AES_MASTER, B1), data)


def test_what_was_encrypted_by_aes_cbc_is_decrypted_again(keys: KeyPort) -> None:
    key = keys.derive_cmac(keys.get_master(AES_REF), (B1,), KeyType.AES128, KeyUse.ENCRYPT)
    iv, data = bytes(range(16)), bytes(range(48))
    encrypted = keys.encrypt(key, CipherMode.CBC, data, iv)
    assert encrypted == cipher(mac(AES_MASTER, B1), modes.CBC(iv), data, aes=True)
    assert keys.decrypt(key, CipherMode.CBC, encrypted, iv) == data
    assert keys.encrypt(key, CipherMode.CBC, data) == keys.encrypt(key, CipherMode.CBC, data, bytes(16))


@pytest.mark.parametrize("key_type", list(KeyType))
@pytest.mark.parametrize("wrapping_type", [KeyType.DES2, KeyType.AES128, KeyType.AES256])
def test_a_key_of_any_type_is_wrapped_by_ecb_under_triple_des_and_by_cbc_from_zero_under_aes(
    keys: KeyPort, wrapping_type: KeyType, key_type: KeyType
) -> None:
    master = keys.get_master(AES_REF)
    messages = (B1, B2)[: -(-key_type.length // 16)]
    payload = keys.derive_cmac(master, messages, key_type, KeyUse.PAYLOAD)
    secret = (bytes(16), b"\xff" * 16)[: -(-wrapping_type.length // 16)]
    wrapping = keys.derive_cmac(master, secret, wrapping_type, KeyUse.WRAP)
    wrapping_value = b"".join(mac(AES_MASTER, message) for message in secret)
    value = b"".join(mac(AES_MASTER, message) for message in messages)[: key_type.length]
    aes = wrapping_type.is_aes
    wrapped = keys.wrap(wrapping, payload, CipherMode.CBC if aes else CipherMode.ECB)
    assert len(wrapped) == (-(-key_type.length // 16) * 16 if aes else key_type.length)
    opened = decrypt(wrapping_value, modes.CBC(bytes(16)) if aes else modes.ECB(), wrapped, aes=aes)[: key_type.length]  # noqa: S305 - GlobalPlatform's mode
    # A token may set the parity bits of a triple DES key, which no cipher looks at.
    assert opened in {value, value if key_type.is_aes else with_odd_parity(value)}
    block = bytes(16 if key_type.is_aes else 8)
    assert keys.encrypt(payload, CipherMode.ECB, block) == ecb(value, block, aes=key_type.is_aes)


@pytest.mark.parametrize(
    ("wrapping_type", "mode"), [(KeyType.DES2, CipherMode.CBC), (KeyType.AES128, CipherMode.ECB)], ids=str
)
def test_a_key_wraps_by_its_own_mode_alone(keys: KeyPort, wrapping_type: KeyType, mode: CipherMode) -> None:
    master = keys.get_master(AES_REF)
    payload = keys.derive_cmac(master, (B1,), KeyType.DES2, KeyUse.PAYLOAD)
    wrapping = keys.derive_cmac(master, (bytes(16),), wrapping_type, KeyUse.WRAP)
    with refused(Code.KEY_ATTRIBUTES):
        keys.wrap(wrapping, payload, mode)


@pytest.mark.parametrize(
    ("key_type", "kcv"),
    [("DES2", "30F422"), ("DES3", "572549"), ("AES128", "41727D"), ("AES192", "4F7F30"), ("AES256", "87A97C")],
)
def test_one_master_gives_the_same_card_keys_everywhere(keys: KeyPort, key_type: str, kcv: str) -> None:
    source = DerivedKeys(AES_REF, "issuer", DerivationPurpose.SSD, bytes(range(10)), bytes.fromhex("A000000151"), 7)
    ref = KeySetRef(0x30, KeyType(key_type), source)
    key = derive_static_key(keys, ref, KeyRole.ENC, KeyUse.PAYLOAD)
    assert compute_kcv(keys, key, gp_kcv_method(key.key_type)).hex().upper() == kcv


Try = Callable[[KeyPort, KeyHandle], object]
TRIES: dict[str, Try] = {
    "derive": lambda keys, key: keys.derive_cmac(key, (B1,), KeyType.AES128, KeyUse.MAC),
    "encrypt": lambda keys, key: keys.encrypt(key, CipherMode.CBC, bytes(32)),
    "decrypt": lambda keys, key: keys.decrypt(key, CipherMode.CBC, bytes(32)),
    "mac": lambda keys, key: keys.cmac(key, bytes(16)),
    "wrap": lambda keys, key: keys.wrap(key, key, CipherMode.CBC),
}
ALLOWED = {
    KeyUse.DERIVE: {"derive"},
    KeyUse.ENCRYPT: {"encrypt", "decrypt"},
    KeyUse.MAC: {"mac"},
    KeyUse.WRAP: set(),
    KeyUse.PAYLOAD: set(),
}


@pytest.mark.parametrize(("use", "name"), [(use, name) for use in KeyUse for name in TRIES if name not in ALLOWED[use]])
def test_a_key_does_nothing_but_its_one_use(keys: KeyPort, use: KeyUse, name: str) -> None:
    key = keys.derive_cmac(keys.get_master(AES_REF), (B1,), KeyType.AES128, use)
    with refused(Code.KEY_ATTRIBUTES):
        TRIES[name](keys, key)


@pytest.mark.parametrize("name", [name for name in TRIES if name != "derive"])
def test_a_master_derives_and_does_nothing_else(keys: KeyPort, name: str) -> None:
    with refused(Code.KEY_ATTRIBUTES):
        TRIES[name](keys, keys.get_master(AES_REF))


@pytest.mark.parametrize(
    ("mode", "data", "iv"),
    [
        (CipherMode.ECB, b"", None),
        (CipherMode.ECB, bytes(15), None),
        (CipherMode.CBC, bytes(17), None),
        (CipherMode.ECB, bytes(16), bytes(16)),
    ],
)
def test_data_that_is_no_whole_blocks_is_refused(
    keys: KeyPort, mode: CipherMode, data: bytes, iv: bytes | None
) -> None:
    key = keys.derive_cmac(keys.get_master(AES_REF), (B1,), KeyType.AES128, KeyUse.ENCRYPT)
    with refused(Code.KEY_ATTRIBUTES):
        keys.encrypt(key, mode, data, iv)


@pytest.mark.parametrize(
    ("messages", "key_type"),
    [((B1,), KeyType.AES256), ((B1, B2), KeyType.AES128), ((B1[:15],), KeyType.AES128), ((), KeyType.DES2)],
)
def test_messages_that_do_not_fit_the_key_are_refused(
    keys: KeyPort, messages: tuple[bytes, ...], key_type: KeyType
) -> None:
    with refused(Code.KEY_ATTRIBUTES):
        keys.derive_cmac(keys.get_master(AES_REF), messages, key_type, KeyUse.MAC)


def test_algorithms_are_not_mixed_up(keys: KeyPort) -> None:
    with refused(Code.KEY_ATTRIBUTES):
        keys.derive_des(keys.get_master(AES_REF), CipherMode.ECB, bytes(16), KeyType.DES2, KeyUse.DERIVE)
    with refused(Code.KEY_ATTRIBUTES):
        keys.derive_cmac(keys.get_master(DES_REF), (B1,), KeyType.AES128, KeyUse.DERIVE)
    with refused(Code.KEY_ATTRIBUTES):
        keys.derive_des(keys.get_master(DES_REF), CipherMode.ECB, bytes(8), KeyType.DES2, KeyUse.DERIVE)


def test_a_handle_is_refused_in_another_scope_and_after_its_own_has_closed(subject: Subject) -> None:
    with subject.open_scope() as first:
        key = first.derive_cmac(first.get_master(AES_REF), (B1,), KeyType.AES128, KeyUse.MAC)
        with subject.open_scope() as second, refused(Code.KEY_ATTRIBUTES):
            second.cmac(key, b"data")
    with refused(Code.HSM_UNAVAILABLE):
        first.cmac(key, b"data")


def test_no_repr_shows_a_key(keys: KeyPort) -> None:
    value = mac(AES_MASTER, B1)
    key = keys.derive_cmac(keys.get_master(AES_REF), (B1,), KeyType.AES128, KeyUse.PAYLOAD)
    assert value.hex() not in repr(key).lower()
    assert repr(value) not in repr(key)
