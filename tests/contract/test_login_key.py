"""The login key on each make of token: it computes CMACs, and nothing else can be done with it or by others with it."""

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from pkcs11 import Attribute
from pkcs11.types import DecryptMixin, DeriveMixin, EncryptMixin, UnwrapMixin, VerifyMixin, WrapMixin

from kms.card.keys import KcvMethod, KeyType, KeyUse
from kms.domain.token_objects import ExpectedObject
from kms.errors import Code
from kms.hsm.gateway import Gateway
from kms.hsm.masters import find_object, generate_master
from kms.hsm.templates import MasterUse
from kms.hsm.vault import TokenVault, open_vault
from tests.contract.conftest import refer, refused
from tests.contract.tokens import FreshToken
from tests.fakes.master_vault import MasterVault

ID = bytes(range(16))
MESSAGE = b"\x01kms one-time codes 1\0credential"


def test_it_signs_and_nothing_else(vault: TokenVault) -> None:
    attributes = dict(vault.generate_login_key(ID, "bank-login-1").attributes)
    rights = {"DERIVE", "ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "EXTRACTABLE", "MODIFIABLE"}
    assert {name for name in rights if attributes[f"CKA_{name}"] == "true"} == {"SIGN"}
    assert attributes["CKA_SENSITIVE"] == "true"


def test_the_token_gives_it_no_other_right(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        generate_master(connection, ID, "bank-login-1", MasterUse.MAC)
        key = find_object(connection, ID)
        assert key is not None
        others = (DeriveMixin, EncryptMixin, DecryptMixin, VerifyMixin, WrapMixin, UnwrapMixin)
        assert not isinstance(key, others)
        assert key[Attribute.EXTRACTABLE] is False


def test_the_same_object_id_gives_the_same_key_and_the_same_macs_again(vault: TokenVault, token: FreshToken) -> None:
    ref = refer(vault.generate_login_key(ID, "bank-login-1"))
    mac = vault.mac(ref, MESSAGE)
    assert len(mac) == 16
    assert mac != vault.mac(ref, MESSAGE + b"2")
    vault.close()
    again = open_vault(token.settings)
    assert refer(again.generate_login_key(ID, "bank-login-1")) == ref
    assert again.mac(ref, MESSAGE) == mac
    again.close()


def test_its_check_value_is_a_cmac_of_its_own(vault: TokenVault) -> None:
    made = vault.generate_login_key(ID, "bank-login-1")
    assert made.kcv_method is KcvMethod.AES_CMAC
    assert vault.mac(refer(made), bytes(16))[:5] == made.kcv


def test_masters_compute_no_macs_and_the_login_key_derives_nothing(vault: TokenVault) -> None:
    master = refer(vault.generate_master(ID, "ssd-1"))
    with refused(Code.KEY_ATTRIBUTES):
        vault.mac(master, MESSAGE)
    with refused(Code.KEY_ATTRIBUTES):
        vault.generate_login_key(ID, "bank-login-1")
    login = refer(vault.generate_login_key(ID[::-1], "bank-login-1"))
    with vault.open_scope() as keys, refused(Code.KEY_ATTRIBUTES):
        keys.derive_cmac(keys.get_master(login), (bytes(16),), KeyType.AES128, KeyUse.MAC)


def test_another_check_value_than_recorded_is_refused(vault: TokenVault) -> None:
    made = vault.generate_login_key(ID, "bank-login-1")
    ref = refer(made)
    with refused(Code.KEY_KCV_MISMATCH):
        vault.mac(type(ref)(ref.object_id, ref.key_type, bytes(5), ref.kcv_method), MESSAGE)


def test_one_that_is_not_there_is_missing(vault: TokenVault) -> None:
    ref = refer(vault.generate_login_key(ID, "bank-login-1"))
    with refused(Code.KEY_MISSING):
        vault.mac(type(ref)(ID[::-1], ref.key_type, ref.kcv, ref.kcv_method), MESSAGE)


def test_the_daily_look_knows_it(vault: TokenVault) -> None:
    ref = refer(vault.generate_login_key(ID, "bank-login-1"))
    report = vault.check_objects([ExpectedObject("bank-login-1", ID, master=ref)])
    assert [finding.code for finding in report.findings] == [None]


def test_the_vault_in_software_computes_real_cmacs() -> None:
    fake = MasterVault()
    made = fake.generate_login_key(ID, "bank-login-1")
    cmac = CMAC(AES(fake.objects[ID]))
    cmac.update(MESSAGE)
    assert fake.mac(refer(made), MESSAGE) == cmac.finalize()
    with refused(Code.KEY_ATTRIBUTES):
        fake.mac(refer(fake.generate_master(ID[::-1], "ssd-1")), MESSAGE)
