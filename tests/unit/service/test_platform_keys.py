"""A platform's key pairs are made once, finished when cut off, and sign only as the pair on record."""

import pytest

from kms.domain.keys import KeyState, PlatformKeyPurpose
from kms.domain.signatures import check_signature
from kms.errors import Code, KmsError
from kms.service.platform_keys import PlatformKeyService
from tests.fakes.master_vault import CutOffError, MasterVault
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock

SIGNING, TRANSPORT = PlatformKeyPurpose.SIGNING, PlatformKeyPurpose.TRANSPORT


@pytest.fixture
def vault() -> MasterVault:
    return MasterVault()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def keys(store: MemoryStore, vault: MasterVault) -> PlatformKeyService:
    return PlatformKeyService(
        store=store, vault=vault, clock=TickingClock(), identifiers=CountingIdentifiers(), platform="bank"
    )


def test_a_pair_is_made_once_and_recorded_with_its_public_half(
    keys: PlatformKeyService, vault: MasterVault, store: MemoryStore
) -> None:
    made = keys.ensure(SIGNING, actor="cli:officer")
    assert (made.name, made.state) == ("bank-signing", KeyState.ACTIVE)
    assert keys.ensure(SIGNING, actor="cli:officer") == made
    assert vault.made == 1
    assert vault.labels[made.object_id] == "bank-signing"
    with store.transaction() as transaction:
        assert [event.action for event in transaction.audit.list()] == ["platform-key.generate", "platform-key.plan"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("purpose", list(PlatformKeyPurpose))
def test_a_run_that_was_cut_off_is_finished_by_the_next(
    keys: PlatformKeyService, vault: MasterVault, when: str, purpose: PlatformKeyPurpose
) -> None:
    vault.cut_off = when
    with pytest.raises(CutOffError):
        keys.ensure(purpose, actor="cli:officer")
    assert [found.presence for found in keys.list_presence()] == ["not made yet"]
    keys.ensure(purpose, actor="cli:officer")
    assert vault.made == 1
    assert [found.presence for found in keys.list_presence()] == ["found"]


def test_a_signature_verifies_under_the_key_on_record(keys: PlatformKeyService) -> None:
    with pytest.raises(KmsError) as failure:
        keys.sign(b"data")
    assert failure.value.code is Code.KEY_MISSING
    made = keys.ensure(SIGNING, actor="cli:officer")
    check_signature(made.public_key_der, b"data", keys.sign(b"data"))


def test_a_signature_by_another_key_does_not_leave(keys: PlatformKeyService, vault: MasterVault) -> None:
    made = keys.ensure(SIGNING, actor="cli:officer")
    vault.generate_signing_key(b"other", "other")
    vault.pairs[made.object_id] = vault.pairs[b"other"]
    with pytest.raises(KmsError) as failure:
        keys.sign(b"data")
    assert failure.value.code is Code.KEY_KCV_MISMATCH
    (found,) = keys.list_presence()
    assert found.presence.startswith(Code.KEY_KCV_MISMATCH)


def test_a_pair_that_is_gone_is_told(keys: PlatformKeyService, vault: MasterVault) -> None:
    keys.ensure(TRANSPORT, actor="cli:officer")
    vault.pairs.clear()
    (found,) = keys.list_presence()
    assert found.presence.startswith(Code.KEY_MISSING)
