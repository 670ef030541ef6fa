"""What the HSM adapter promises beyond the key port, shown on SoftHSM2: attributes, gates, recovery, one login."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from pkcs11 import Attribute, MechanismFlag
from pkcs11 import KeyType as TokenKeyType
from pkcs11.exceptions import PKCS11Error
from pkcs11.mechanisms import Mechanism

from kms.card.keys import CipherMode, KcvMethod, KeyType, KeyUse, MasterRef
from kms.errors import Code, KmsError
from kms.hsm.gateway import Gateway
from kms.hsm.masters import find_object, generate_master
from kms.hsm.scope import TokenScope
from kms.hsm.vault import TokenVault, open_vault
from kms.hsm.watch import Watch
from kms.service.ports import NewMaster
from tests.contract.conftest import SoftToken

SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so")
ID = bytes(range(16))
BLOCK = b"\x01" * 16
DES_KEY = bytes.fromhex("13579BDF02468ACE1F2E3D4C5B6A7980")
DES_KCV = bytes.fromhex("F17EF7")


def refused(code: Code) -> "pytest.RaisesExc[KmsError]":
    return pytest.raises(KmsError, match=f"^{code}: ")


def refer(made: NewMaster, key_type: KeyType = KeyType.AES256) -> MasterRef:
    return MasterRef(made.object_id, key_type, made.kcv, made.kcv_method)


@pytest.fixture
def gateway(token: SoftToken) -> Iterator[Gateway]:
    opened = Gateway(token.settings)
    yield opened
    opened.close()


@contextmanager
def away(token: SoftToken) -> Iterator[None]:
    elsewhere = token.folder.with_name("away")
    token.folder.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(token.folder)


def wait_until(attempt: Callable[[], object], seconds: float) -> float:
    """Repeat until it raises no KmsError; returns the seconds it took."""
    start = time.monotonic()
    while True:
        try:
            attempt()
        except KmsError:
            if time.monotonic() - start > seconds:
                raise
            time.sleep(0.005)
        else:
            return time.monotonic() - start


def count_session_objects(gateway: Gateway) -> int:
    with gateway.connect() as connection:
        return len(list(connection.hsm_session.get_objects({Attribute.TOKEN: False})))


def test_a_generated_master_can_be_derived_from_and_nothing_else(vault: TokenVault) -> None:
    attributes = dict(vault.generate_master(ID, "isd-1").attributes)
    assert attributes.pop("CKA_LABEL") == "isd-1"
    true = {name.removeprefix("CKA_") for name, value in attributes.items() if value == "true"}
    assert true == {"TOKEN", "PRIVATE", "SENSITIVE", "ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE", "LOCAL", "DERIVE"}
    assert set(attributes.values()) == {"true", "false"}


def test_the_token_keeps_a_master_from_being_read_changed_copied_or_destroyed(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        generate_master(connection, ID, "isd-1")
        master = find_object(connection, ID)
        assert master is not None
        for attack in (
            lambda: master[Attribute.VALUE],
            lambda: master.__setitem__(Attribute.LABEL, "mine"),
            lambda: master.copy({Attribute.EXTRACTABLE: True}),
            master.destroy,
        ):
            with pytest.raises(PKCS11Error):
                attack()


def test_the_same_object_id_gives_the_same_master_again(vault: TokenVault, token: SoftToken) -> None:
    made = vault.generate_master(ID, "isd-1")
    vault.close()
    assert open_vault(token.settings).generate_master(ID, "isd-1") == made


def test_a_master_of_the_wrong_kind_under_the_object_id_is_not_taken(vault: TokenVault) -> None:
    import_des(vault)
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


def test_two_keys_of_one_object_id_are_an_alarm_and_neither_is_used(gateway: Gateway, vault: TokenVault) -> None:
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
    scope.derive_cmac(master, (BLOCK, BLOCK), KeyType.AES192, KeyUse.PAYLOAD)
    assert count_session_objects(gateway) == len(KeyUse) + 2
    scope.derive_cmac(master, (), KeyType.AES128, KeyUse.MAC)


@pytest.mark.parametrize("use", list(KeyUse))
@pytest.mark.parametrize("key_type", [KeyType.DES2, KeyType.AES128])
def test_session_objects_have_the_attributes_of_their_use(gateway: Gateway, use: KeyUse, key_type: KeyType) -> None:
    with gateway.connect() as connection:
        made = generate_master(connection, ID, "isd-1")
    scope = TokenScope(gateway)
    key = scope.derive_cmac(scope.get_master(refer(made)), (BLOCK,), key_type, use)
    rights = ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")
    kept = ("TOKEN", "PRIVATE", "SENSITIVE", "EXTRACTABLE", "MODIFIABLE", "COPYABLE")
    with gateway.connect():
        found = key.secret.get_attributes([Attribute[name] for name in rights + kept])
    aes = key_type.is_aes
    expected = {
        KeyUse.DERIVE: {"DERIVE", "SENSITIVE"},
        KeyUse.ENCRYPT: {"ENCRYPT", "SENSITIVE"} | ({"DECRYPT"} if aes else set()),
        KeyUse.MAC: {"SIGN", "SENSITIVE"},
        # SoftHSM2 wraps AES keys by itself and triple DES keys not at all.
        KeyUse.WRAP: {"SENSITIVE", "WRAP" if aes else "ENCRYPT"},
        KeyUse.PAYLOAD: {"ENCRYPT", "EXTRACTABLE"} | ({"SENSITIVE"} if aes else set()),
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
    token: SoftToken, allowed: bool, production: bool
) -> None:
    vault = open_vault(replace(token.settings, allow_transient_plaintext=allowed, production=production))
    made = vault.generate_master(ID, "isd-1")
    assert vault.status().wrap_strategy == "refused"
    with vault.open_scope() as keys:
        master = keys.get_master(refer(made))
        for use in (KeyUse.PAYLOAD, KeyUse.WRAP):
            with refused(Code.HSM_WRAP_REFUSED):
                keys.derive_cmac(master, (BLOCK,), KeyType.DES2, use)
        # AES keys, which this token wraps by itself, go their way.
        payload = keys.derive_cmac(master, (BLOCK,), KeyType.AES128, KeyUse.PAYLOAD)
        wrapping = keys.derive_cmac(master, (bytes(16),), KeyType.AES128, KeyUse.WRAP)
        assert len(keys.wrap(wrapping, payload, CipherMode.CBC)) == 16
    vault.close()


def test_status_says_how_keys_are_wrapped_and_why(vault: TokenVault, token: SoftToken) -> None:
    status = vault.status()
    assert status.token_label == token.settings.token_label
    assert status.wrap_strategy == "transient"
    assert status.wrap_reason == ("3DES-ECB transient (C_WrapKey answered MechanismInvalid); AES-CBC native")
    assert status.missing_mechanisms == ()
    assert "AES_CMAC" in status.mechanisms
    assert status.answered_at is not None


def test_a_token_that_went_away_fails_fast_and_recovers_without_a_restart(token: SoftToken) -> None:
    gateway = Gateway(token.settings)
    vault = open_vault(token.settings)
    made = vault.generate_master(ID, "isd-1")
    scope = TokenScope(gateway)
    old_master = scope.get_master(refer(made))
    old_key = scope.derive_cmac(old_master, (BLOCK,), KeyType.AES128, KeyUse.MAC)

    def use() -> None:
        with vault.open_scope() as keys:
            keys.derive_cmac(keys.get_master(refer(made)), (BLOCK,), KeyType.AES128, KeyUse.MAC)

    use()
    with away(token):
        with refused(Code.HSM_UNAVAILABLE):
            use()
        start = time.monotonic()
        for _ in range(50):
            with refused(Code.HSM_UNAVAILABLE):
                use()
        assert (time.monotonic() - start) / 50 < 0.02
    took = wait_until(use, seconds=5)
    assert took < 0.5
    # An old handle may name another object now: it is refused, not used.
    with refused(Code.HSM_UNAVAILABLE):
        scope.cmac(old_key, b"data")
    with refused(Code.HSM_UNAVAILABLE):
        scope.derive_cmac(old_master, (BLOCK,), KeyType.AES128, KeyUse.MAC)
    scope.close()
    vault.close()
    gateway.close()


def test_a_token_that_was_away_unnoticed_is_looked_at_anew(vault: TokenVault, token: SoftToken) -> None:
    made = vault.generate_master(ID, "isd-1")
    vault.close()
    vault.random(8)
    with away(token), pytest.raises(KmsError), vault.open_scope() as keys:
        keys.get_master(refer(made))
    wait_until(lambda: vault.random(8), seconds=5)
    with vault.open_scope() as keys:
        keys.get_master(refer(made))


def test_a_token_that_came_back_with_another_key_is_refused(
    vault: TokenVault, token: SoftToken, tmp_path: Path
) -> None:
    shutil.copytree(token.folder, tmp_path / "before")
    made = vault.generate_master(ID, "isd-1")
    with vault.open_scope() as keys:
        keys.get_master(refer(made))
    with away(token):
        shutil.copytree(tmp_path / "before", token.folder)
        other = wait_until_made(vault)
        with vault.open_scope() as keys, refused(Code.KEY_KCV_MISMATCH):
            keys.get_master(refer(made))
        with vault.open_scope() as keys:
            keys.get_master(refer(other))
        shutil.rmtree(token.folder)


def wait_until_made(vault: TokenVault) -> NewMaster:
    made: list[NewMaster] = []
    wait_until(lambda: made.append(vault.generate_master(ID, "isd-1")), seconds=5)
    return made[0]


def test_readiness_turns_red_and_green_by_itself_and_takes_no_lock(token: SoftToken) -> None:
    gateway = Gateway(token.settings)
    vault = open_vault(token.settings)
    wait_until(vault.check, seconds=5)
    with away(token):
        start = time.monotonic()
        while time.monotonic() - start < 5:
            try:
                vault.check()
            except KmsError:
                break
            time.sleep(0.01)
        assert time.monotonic() - start < 5
    assert wait_until(vault.check, seconds=5) < 1
    with gateway.connect():  # the lock is held, as by a call under way
        start = time.monotonic()
        vault.check()
        assert time.monotonic() - start < 0.1
    vault.close()
    gateway.close()


def test_a_call_that_hangs_ends_the_worker_and_holds_up_nobody_for_long(token: SoftToken) -> None:
    settings = replace(token.settings, call_timeout_s=0.3)
    gateway = Gateway(settings)
    hung = threading.Event()
    watch = Watch(gateway, hung.set)
    watch.start()
    wait_until(gateway.check, seconds=5)
    with gateway.connect():
        assert hung.wait(3)
        with refused(Code.HSM_UNAVAILABLE):
            gateway.check()
        failures: list[Code] = []

        def call_beside() -> None:
            try:
                with gateway.connect():
                    pass
            except KmsError as error:
                failures.append(error.code)

        beside = threading.Thread(target=call_beside)
        beside.start()
        beside.join(2)
        assert failures == [Code.HSM_UNAVAILABLE]
    watch.stop()
    gateway.close()


def test_a_wrong_pin_is_tried_once_and_never_again(token: SoftToken) -> None:
    vault = open_vault(replace(token.settings, pin="not the PIN"))
    for _ in range(3):
        with refused(Code.HSM_LOGIN):
            vault.random(8)
    with refused(Code.HSM_LOGIN):
        vault.check()
    vault.close()
    assert "not the PIN" not in repr(token.settings) + repr(replace(token.settings, pin="not the PIN"))


@pytest.mark.skipif(not SPY.exists(), reason="pkcs11-spy is not installed: apt-get install opensc-pkcs11")
def test_a_wrong_pin_reaches_the_token_once(token: SoftToken, tmp_path: Path) -> None:
    script = """
import sys
from kms.errors import KmsError
from kms.hsm.settings import HsmSettings
from kms.hsm.vault import open_vault
vault = open_vault(HsmSettings(sys.argv[1], sys.argv[2], "not the PIN"))
for _ in range(5):
    try:
        vault.random(8)
    except KmsError as error:
        print(error.code)
"""
    log = tmp_path / "spy.log"
    environment = os.environ | {
        "PKCS11SPY": token.settings.module,
        "PKCS11SPY_OUTPUT": str(log),
        "SOFTHSM2_CONF": token.settings.environment["SOFTHSM2_CONF"],
    }
    command = [sys.executable, "-c", script, str(SPY), token.settings.token_label]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [Code.HSM_LOGIN] * 5
    assert log.read_text().count(": C_Login\n") == 1


def test_a_vault_opened_before_the_fork_is_refused_after_it(vault: TokenVault) -> None:
    vault.random(8)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            vault.random(8)
            os.write(write_end, b"worked")
        except KmsError as error:
            os.write(write_end, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(read_end, 1000).decode()
    os.close(read_end)
    os.close(write_end)
    assert answer.startswith(Code.HSM_UNAVAILABLE)
    assert "before this process was forked" in answer
    assert len(vault.random(8)) == 8


def test_a_vault_made_before_the_fork_and_not_used_opens_in_the_child(token: SoftToken) -> None:
    script = """
import os, sys
from kms.hsm.settings import HsmSettings
from kms.hsm.vault import open_vault
vault = open_vault(HsmSettings(*sys.argv[1:4], environment={"SOFTHSM2_CONF": sys.argv[4]}))
for _ in range(3):
    if os.fork() == 0:
        os._exit(0 if len(vault.random(8)) == 8 else 1)
sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)))
"""
    settings = token.settings
    arguments = [settings.module, settings.token_label, settings.pin, settings.environment["SOFTHSM2_CONF"]]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)


def test_threads_share_the_token_without_harm(vault: TokenVault) -> None:
    made = vault.generate_master(ID, "isd-1")
    answers: list[bytes] = []

    def work() -> None:
        for _ in range(20):
            with vault.open_scope() as keys:
                key = keys.derive_cmac(keys.get_master(refer(made)), (BLOCK,), KeyType.AES128, KeyUse.MAC)
                answers.append(keys.cmac(key, b"data"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 80
    assert len(set(answers)) == 1


def test_a_token_that_is_not_there_says_so(token: SoftToken) -> None:
    vault = open_vault(replace(token.settings, token_label="no such token"))
    with pytest.raises(KmsError, match="no token labelled 'no such token'") as failure:
        vault.random(8)
    assert failure.value.code is Code.HSM_UNAVAILABLE


@pytest.mark.parametrize("length", [0, 1025])
def test_random_is_made_in_sensible_lengths(vault: TokenVault, length: int) -> None:
    with refused(Code.INPUT_INVALID):
        vault.random(length)
