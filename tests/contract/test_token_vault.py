"""What the HSM adapter promises beyond the key port, on each make of token: attributes, gates, nothing left behind."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from pkcs11 import Attribute, MechanismFlag
from pkcs11 import KeyType as TokenKeyType
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import Mechanism

from kms.card.keys import CipherMode, KcvMethod, KeyType, KeyUse, MasterRef
from kms.domain.fitness import build_token_name
from kms.errors import Code, KmsError
from kms.hsm.gateway import Gateway
from kms.hsm.masters import find_object, generate_master
from kms.hsm.scope import TokenScope
from kms.hsm.vault import TokenVault, open_vault
from kms.service.ports import NewMaster
from tests.contract.conftest import refer, refused
from tests.contract.tokens import FreshToken

ID = bytes(range(16))
BLOCK = b"\x01" * 16
DES_KEY = bytes.fromhex("13579BDF02468ACE1F2E3D4C5B6A7980")
DES_KCV = bytes.fromhex("F17EF7")


def count_session_objects(gateway: Gateway) -> int:
    with gateway.connect() as connection:
        return len(list(connection.hsm_session.get_objects({Attribute.TOKEN: False})))


def test_a_generated_master_can_be_derived_from_and_nothing_else(vault: TokenVault, token: FreshToken) -> None:
    attributes = dict(vault.generate_master(ID, "isd-1").attributes)
    assert attributes.pop("CKA_LABEL") == "isd-1"
    true = {name.removeprefix("CKA_") for name, value in attributes.items() if value == "true"}
    kept = {"TOKEN", "PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "DERIVE"}
    assert true == kept | ({"LOCAL"} if token.make.marks_local else set())
    unknown = {name for name, value in attributes.items() if value == "not supported"}
    assert unknown == (set() if token.make.keeps_optional else {"CKA_COPYABLE", "CKA_DESTROYABLE"})


def test_the_token_keeps_a_master_from_being_read_or_changed_and_where_it_can_from_copies_and_destruction(
    gateway: Gateway, token: FreshToken
) -> None:
    with gateway.connect() as connection:
        generate_master(connection, ID, "isd-1")
        master = find_object(connection, ID)
        assert master is not None
        attacks: list[Callable[[], object]] = [
            lambda: master[Attribute.VALUE],
            lambda: master.__setitem__(Attribute.LABEL, "mine"),
            lambda: master.__setitem__(Attribute.EXTRACTABLE, True),
        ]
        if token.make.keeps_optional:
            attacks += [lambda: master.copy({Attribute.EXTRACTABLE: True}), master.destroy]
        for attack in attacks:
            with pytest.raises(PKCS11Error):
                attack()


def test_the_same_object_id_gives_the_same_master_again(vault: TokenVault, token: FreshToken) -> None:
    made = vault.generate_master(ID, "isd-1")
    vault.close()
    assert open_vault(token.settings).generate_master(ID, "isd-1") == made


def test_a_master_of_the_wrong_kind_under_the_object_id_is_not_taken(vault: TokenVault) -> None:
    import_des(vault)
    with refused(Code.KEY_ATTRIBUTES):
        vault.generate_master(ID, "isd-1")


def test_a_master_that_was_imported_is_not_taken_for_a_generated_one(vault: TokenVault) -> None:
    value = bytes(range(32))
    mac = CMAC(AES(value))
    mac.update(bytes(16))
    kcv = mac.finalize()[:5]
    method = KcvMethod.AES_CMAC
    vault.import_master(
        ID, "x", key_type=KeyType.AES256, components=[bytearray(value)], expected_kcv=kcv, kcv_method=method
    )
    with refused(Code.KEY_ATTRIBUTES):
        vault.generate_master(ID, "isd-1")


def import_des(vault: TokenVault, *components: bytearray, kcv: bytes = DES_KCV) -> NewMaster:
    return vault.import_master(
        ID,
        "vendor-1",
        key_type=KeyType.DES2,
        components=list(components) or [bytearray(DES_KEY)],
        expected_kcv=kcv,
        kcv_method=KcvMethod.DES_ZERO,
    )


def test_components_are_combined_by_xor_and_overwritten(vault: TokenVault) -> None:
    first, second = bytearray(os.urandom(16)), bytearray(os.urandom(16))
    third = bytearray(a ^ b ^ c for a, b, c in zip(DES_KEY, first, second, strict=True))
    made = import_des(vault, first, second, third)
    assert made.kcv == DES_KCV
    assert first == second == third == bytearray(16)
    assert dict(made.attributes)["CKA_LOCAL"] == "false"
    with vault.open_scope() as keys:
        keys.get_master(refer(made, KeyType.DES2))


def test_components_with_another_check_value_leave_nothing_behind(gateway: Gateway, vault: TokenVault) -> None:
    component = bytearray(DES_KEY)
    with refused(Code.KEY_KCV_MISMATCH):
        import_des(vault, component, kcv=b"\x00\x00\x00")
    assert component == bytearray(16)
    with gateway.connect() as connection:
        assert list(connection.hsm_session.get_objects({})) == []
    assert import_des(vault).kcv == DES_KCV


@pytest.mark.parametrize("lengths", [(), (15,), (16, 17), (16,) * 6], ids=str)
def test_components_of_a_wrong_number_or_length_are_refused(vault: TokenVault, lengths: tuple[int, ...]) -> None:
    components = [bytearray(b"\x55" * length) for length in lengths]
    with refused(Code.INPUT_INVALID):
        vault.import_master(
            ID,
            "vendor-1",
            key_type=KeyType.DES2,
            components=components,
            expected_kcv=DES_KCV,
            kcv_method=KcvMethod.DES_ZERO,
        )
    assert not any(any(component) for component in components)


def test_checking_components_keeps_no_key_and_leaves_them_for_the_import(gateway: Gateway, vault: TokenVault) -> None:
    component = bytearray(DES_KEY)
    vault.check_components(KeyType.DES2, [component], DES_KCV, KcvMethod.DES_ZERO)
    assert component == DES_KEY
    with gateway.connect() as connection:
        assert list(connection.hsm_session.get_objects({})) == []


def test_two_keys_of_one_object_id_are_an_alarm_and_neither_is_used(
    gateway: Gateway, vault: TokenVault, token: FreshToken
) -> None:
    if not token.make.keeps_twins:
        pytest.skip(f"{token.make.name} keeps one key for one CKA_ID: the later one takes the place of the earlier")
    made = vault.generate_master(ID, "isd-1")
    vault.close()
    with gateway.connect() as connection:
        connection.hsm_session.generate_key(
            TokenKeyType.AES,
            256,
            id=ID,
            store=True,
            capabilities=MechanismFlag.DERIVE,
            mechanism=Mechanism.AES_KEY_GEN,
        )
    with vault.open_scope() as keys, refused(Code.KEY_AMBIGUOUS):
        keys.get_master(refer(made))
    with refused(Code.KEY_AMBIGUOUS):
        vault.generate_master(ID, "isd-1")


def test_a_key_with_more_rights_than_a_master_is_not_used(gateway: Gateway, vault: TokenVault) -> None:
    with gateway.connect() as connection:
        connection.hsm_session.generate_key(
            TokenKeyType.AES,
            256,
            id=ID,
            store=True,
            capabilities=MechanismFlag.DERIVE | MechanismFlag.ENCRYPT,
            mechanism=Mechanism.AES_KEY_GEN,
        )
    with vault.open_scope() as keys, refused(Code.KEY_ATTRIBUTES):
        keys.get_master(MasterRef(ID, KeyType.AES256, b"12345", KcvMethod.AES_CMAC))


def test_a_missing_master_is_never_made(gateway: Gateway, vault: TokenVault) -> None:
    with vault.open_scope() as keys, refused(Code.KEY_MISSING):
        keys.get_master(MasterRef(ID, KeyType.AES256, b"12345", KcvMethod.AES_CMAC))
    with gateway.connect() as connection:
        assert list(connection.hsm_session.get_objects({})) == []


def test_a_scope_leaves_no_session_object_behind_even_when_its_block_fails(gateway: Gateway, vault: TokenVault) -> None:
    made = vault.generate_master(ID, "isd-1")
    scope = TokenScope(gateway)
    with pytest.raises(KmsError), closing(scope):
        fail_after_making_keys(scope, refer(made), gateway)
    assert count_session_objects(gateway) == 0


def fail_after_making_keys(scope: TokenScope, ref: MasterRef, gateway: Gateway) -> None:
    master = scope.get_master(ref)
    for use in KeyUse:
        scope.derive_cmac(master, (BLOCK,), KeyType.AES128, use)
    wrapping = scope.derive_cmac(master, (BLOCK,), KeyType.AES128, KeyUse.WRAP)
    scope.wrap(wrapping, scope.derive_cmac(master, (BLOCK, BLOCK), KeyType.AES192, KeyUse.PAYLOAD), CipherMode.CBC)
    assert count_session_objects(gateway) == len(KeyUse) + 3
    scope.derive_cmac(master, (), KeyType.AES128, KeyUse.MAC)


@pytest.mark.parametrize("use", list(KeyUse))
@pytest.mark.parametrize("key_type", [KeyType.DES2, KeyType.AES128])
def test_session_objects_have_the_attributes_of_their_use(
    gateway: Gateway, token: FreshToken, use: KeyUse, key_type: KeyType
) -> None:
    with gateway.connect() as connection:
        made = generate_master(connection, ID, "isd-1")
    scope = TokenScope(gateway)
    key = scope.derive_cmac(scope.get_master(refer(made)), (BLOCK,), key_type, use)
    rights = ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")
    kept = ("TOKEN", "PRIVATE", "SENSITIVE", "EXTRACTABLE", "MODIFIABLE", "COPYABLE")
    with gateway.connect():
        found = key.secret.get_attributes([Attribute[name] for name in rights + kept])
    aes = key_type.is_aes
    native = aes or token.make.wraps_des
    expected = {
        KeyUse.DERIVE: {"DERIVE", "SENSITIVE"},
        KeyUse.ENCRYPT: {"ENCRYPT", "SENSITIVE"} | ({"DECRYPT"} if aes else set()),
        KeyUse.MAC: {"SIGN", "SENSITIVE"},
        # SoftHSM2 wraps AES keys by itself and triple DES keys not at all.
        KeyUse.WRAP: {"SENSITIVE", "WRAP" if native else "ENCRYPT"},
        KeyUse.PAYLOAD: {"ENCRYPT", "EXTRACTABLE"} | ({"SENSITIVE"} if native else set()),
    }[use] | {"PRIVATE"}
    assert {Attribute(name).name for name, value in found.items() if value} == expected
    scope.close()


def test_an_aes_key_of_24_bytes_is_wrapped_with_padding_after_it(vault: TokenVault) -> None:
    made = vault.generate_master(ID, "isd-1")
    with vault.open_scope() as keys:
        master = keys.get_master(refer(made))
        wrapping = keys.derive_cmac(master, (BLOCK,), KeyType.AES128, KeyUse.WRAP)
        both = (BLOCK, b"\x02" * 16)
        wrapped = keys.wrap(wrapping, keys.derive_cmac(master, both, KeyType.AES192, KeyUse.PAYLOAD), CipherMode.CBC)
        opener = keys.derive_cmac(master, (BLOCK,), KeyType.AES128, KeyUse.ENCRYPT)
        opened = keys.decrypt(opener, CipherMode.CBC, wrapped)
        check = keys.derive_cmac(master, both, KeyType.AES192, KeyUse.ENCRYPT)
        encryptor = Cipher(AES(opened[:24]), modes.ECB()).encryptor()  # noqa: S305 - a check value
        assert encryptor.update(BLOCK) == keys.encrypt(check, CipherMode.ECB, BLOCK)


@pytest.mark.parametrize(("allowed", "production"), [(False, False), (True, True)])
def test_keys_are_read_for_wrapping_only_where_allowed_and_never_in_production(
    token: FreshToken, allowed: bool, production: bool
) -> None:
    if token.make.wraps_des:
        pytest.skip(f"{token.make.name} wraps by itself: nothing is read")
    vault = open_vault(replace(token.settings, allow_transient_plaintext=allowed, production=production))
    made = vault.generate_master(ID, "isd-1")
    assert vault.status().wrap_strategy == "refused"
    with vault.open_scope() as keys:
        master = keys.get_master(refer(made))
        with refused(Code.HSM_WRAP_REFUSED):
            keys.derive_cmac(master, (BLOCK,), KeyType.DES2, KeyUse.WRAP)
        # Under AES keys, by which this token wraps by itself, keys of either kind go their way, and none can be read.
        wrapping = keys.derive_cmac(master, (bytes(16),), KeyType.AES128, KeyUse.WRAP)
        for key_type in (KeyType.AES128, KeyType.DES2):
            payload = keys.derive_cmac(master, (BLOCK,), key_type, KeyUse.PAYLOAD)
            assert not payload.is_readable
            assert len(keys.wrap(wrapping, payload, CipherMode.CBC)) == 16
    vault.close()


def test_status_says_how_keys_are_wrapped_and_why(vault: TokenVault, token: FreshToken) -> None:
    status = vault.status()
    assert status.token_label == token.settings.token_label
    assert status.wrap_strategy == token.make.strategy
    assert status.wrap_reason == (
        "3DES-ECB native; AES-CBC native"
        if token.make.wraps_des
        else "3DES-ECB transient (C_WrapKey answered MechanismInvalid); AES-CBC native"
    )
    assert status.missing_mechanisms == ()
    assert "AES_CMAC" in status.mechanisms
    assert status.answered_at is not None


def test_where_the_token_wraps_by_itself_nothing_needs_to_be_read(token: FreshToken) -> None:
    if not token.make.wraps_des:
        pytest.skip(f"{token.make.name} cannot wrap triple DES keys")
    vault = open_vault(replace(token.settings, allow_transient_plaintext=False))
    made = vault.generate_master(ID, "isd-1")
    with vault.open_scope() as keys:
        master = keys.get_master(refer(made))
        payload = keys.derive_cmac(master, (BLOCK,), KeyType.DES2, KeyUse.PAYLOAD)
        wrapping = keys.derive_cmac(master, (bytes(16),), KeyType.DES2, KeyUse.WRAP)
        assert len(keys.wrap(wrapping, payload, CipherMode.ECB)) == 16
    vault.close()


def test_a_token_that_gives_keys_away_is_refused_in_production(token: FreshToken) -> None:
    vault = open_vault(replace(token.settings, production=True))
    if token.make.keeps_extractable:
        assert vault.status().missing_mechanisms == ()
        vault.generate_master(ID, "isd-1")
    else:
        assert vault.status().missing_mechanisms == ("CKA_EXTRACTABLE=false",)
        with refused(Code.HSM_MECHANISM):
            vault.generate_master(ID, "isd-1")
    vault.close()


@pytest.mark.parametrize("listed", [False, True])
def test_where_there_is_a_list_of_tokens_software_and_unknown_ones_get_no_pin(token: FreshToken, listed: bool) -> None:
    vault = open_vault(token.settings)
    status = vault.status()
    vault.close()
    name = build_token_name(status.manufacturer, status.model, status.serial)
    # The PIN is wrong: had it been sent, the answer would be another.
    settings = replace(token.settings, allowed_tokens=(name,) if listed else (), pin="never sent")
    guarded = open_vault(settings)
    with refused(Code.HSM_TOKEN) as caught:
        guarded.status()
    assert name in caught.value.detail
    guarded.close()


@pytest.mark.parametrize("length", [0, 1025])
def test_random_is_made_in_sensible_lengths(vault: TokenVault, length: int) -> None:
    with refused(Code.INPUT_INVALID):
        vault.random(length)
