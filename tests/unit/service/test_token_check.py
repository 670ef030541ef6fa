from dataclasses import replace

import pytest

from kms.card.keys import KcvMethod, KeyType
from kms.domain.alarms import Alarm, AlarmSeverity
from kms.domain.keys import KeyState, PlatformKeyPurpose
from kms.service.token_check import DEVIATES, MISSING, UNEXPECTED, TokenCheck
from tests.fakes.master_vault import MasterVault
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock, build_master, build_platform_key

MASTER_ID, PAIR_ID, OTHER_ID = b"M" * 16, b"P" * 16, b"O" * 16


@pytest.fixture
def vault() -> MasterVault:
    return MasterVault()


@pytest.fixture
def store(vault: MasterVault) -> MemoryStore:
    """A record of one master and one key pair, as the vault made them."""
    store = MemoryStore()
    made = vault.generate_master(MASTER_ID, "ssd-1")
    public = vault.generate_signing_key(PAIR_ID, "signing")
    master = replace(
        build_master(),
        object_id=MASTER_ID,
        key_type=KeyType.AES256,
        kcv=made.kcv,
        kcv_method=KcvMethod.AES_CMAC,
        state=KeyState.ACTIVE,
    )
    pair = replace(
        build_platform_key(),
        object_id=PAIR_ID,
        purpose=PlatformKeyPurpose.SIGNING,
        public_key_der=public,
        state=KeyState.ACTIVE,
    )
    with store.transaction() as tx:
        tx.master_keys.add(master)
        tx.platform_keys.add(pair)
    return store


IDENTIFIERS = CountingIdentifiers()


def check(store: MemoryStore, vault: MasterVault) -> str:
    return TokenCheck(store=store, vault=vault, clock=TickingClock(), identifiers=IDENTIFIERS).check()


def list_open(store: MemoryStore) -> list[Alarm]:
    with store.transaction() as tx:
        return list(tx.alarms.list_open())


def test_a_token_as_it_is_on_record_is_no_alarm(store: MemoryStore, vault: MasterVault) -> None:
    assert check(store, vault) == "2 keys looked at, 0 wrong, 0 unexpected objects"
    assert list_open(store) == []


def test_a_key_that_is_gone_or_another_is_an_alarm_until_it_is_back(store: MemoryStore, vault: MasterVault) -> None:
    value = vault.objects.pop(MASTER_ID)
    assert check(store, vault) == "2 keys looked at, 1 wrong, 0 unexpected objects"
    (alarm,) = list_open(store)
    assert (alarm.kind, alarm.severity) == (MISSING, AlarmSeverity.CRITICAL)
    vault.objects[MASTER_ID] = bytes(32)
    check(store, vault)
    (alarm,) = list_open(store)
    assert alarm.kind == DEVIATES
    assert "key.kcv-mismatch" in alarm.text
    vault.objects[MASTER_ID] = value
    check(store, vault)
    assert list_open(store) == []


@pytest.mark.parametrize(
    ("dangerous", "severity"), [(False, AlarmSeverity.WARNING), (True, AlarmSeverity.CRITICAL)], ids=str
)
def test_what_nobody_has_on_record_is_reported(
    store: MemoryStore, vault: MasterVault, dangerous: bool, severity: AlarmSeverity
) -> None:
    vault.generate_master(OTHER_ID, "whose")
    vault.dangerous = {OTHER_ID} if dangerous else set()
    check(store, vault)
    (alarm,) = list_open(store)
    assert (alarm.kind, alarm.subject, alarm.severity) == (UNEXPECTED, f"object {OTHER_ID.hex().upper()}", severity)
    assert "'whose'" in alarm.text


def test_a_key_whose_making_was_cut_off_is_neither_missing_nor_unexpected(vault: MasterVault) -> None:
    store = MemoryStore()
    with store.transaction() as tx:
        tx.master_keys.add(replace(build_master(), object_id=MASTER_ID, kcv=b"", state=KeyState.PRE_ACTIVATION))
    assert check(store, vault) == "0 keys looked at, 0 wrong, 0 unexpected objects"
    vault.generate_master(MASTER_ID, "ssd-1")
    assert check(store, vault) == "0 keys looked at, 0 wrong, 0 unexpected objects"
    assert list_open(store) == []
