"""A key exchange between two platforms in memory: what is agreed, what is refused, and what a cut costs."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from kms.card.hand_over_keys import check_wrapped_keys, wrap_initial_keys
from kms.card.keys import DerivationPurpose, DerivedKeys, KeySetRef, KeyType, WrappedKeys
from kms.domain.keys import KeyState, MasterKey, MasterKind
from kms.errors import Code, KmsError
from kms.service.exchange import ExchangeFile, ExchangeService
from kms.service.key_refs import build_master_ref
from kms.service.keys import KeyService
from kms.service.platform_keys import PlatformKeyService
from tests.fakes.master_vault import CutOffError, MasterVault
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock

ACTOR = "cli:officer"
WRONG = bytes(32)


@dataclass
class Site:
    """One platform."""

    name: str
    store: MemoryStore
    vault: MasterVault
    keys: KeyService
    exchange: ExchangeService

    def list_keks(self) -> list[tuple[int, KeyState]]:
        return [(key.generation, key.state) for key in self.keys.list() if key.kind is MasterKind.PEER_KEK]

    def find_pinned(self, peer: str) -> bytes | None:
        with self.store.transaction() as transaction:
            pinned = transaction.peer_keys.find_active(peer)
        return None if pinned is None else pinned.public_key_der

    def list_actions(self) -> list[str]:
        with self.store.transaction() as transaction:
            return [event.action for event in reversed(transaction.audit.list(limit=1000))]


def build_site(name: str) -> Site:
    store, vault, clock, identifiers = MemoryStore(), MasterVault(), TickingClock(), CountingIdentifiers()
    pairs = PlatformKeyService(store=store, vault=vault, clock=clock, identifiers=identifiers, platform=name)
    keys = KeyService(store=store, vault=vault, clock=clock, identifiers=identifiers)
    exchange = ExchangeService(
        store=store, vault=vault, clock=clock, identifiers=identifiers, platform_keys=pairs, platform=name
    )
    return Site(name, store, vault, keys, exchange)


@pytest.fixture
def issuer() -> Site:
    return build_site("issuer")


@pytest.fixture
def bank() -> Site:
    return build_site("bank")


def offer(bank: Site) -> ExchangeFile:
    return bank.exchange.offer("issuer", actor=ACTOR)


def answer(issuer: Site, offered: ExchangeFile, *, renew: bool = False, replace_key: bool = False) -> ExchangeFile:
    return issuer.exchange.answer(
        "bank", offered.text, offered.fingerprint, actor=ACTOR, renew=renew, replace_key=replace_key
    )


def accept(bank: Site, answered: ExchangeFile, *, replace_key: bool = False) -> MasterKey:
    return bank.exchange.accept("issuer", answered.text, answered.fingerprint, actor=ACTOR, replace_key=replace_key)


def check_refused(code: Code, step: Callable[[], object]) -> str:
    with pytest.raises(KmsError) as failure:
        step()
    assert failure.value.code is code
    return failure.value.detail


def test_both_sides_hold_one_kek_and_each_others_signing_key(issuer: Site, bank: Site) -> None:
    answered = answer(issuer, offer(bank))
    kek = accept(bank, answered)
    assert answered.kek is not None
    assert (kek.kcv, kek.kcv_method, kek.generation) == (answered.kek.kcv, answered.kek.kcv_method, 1)
    assert issuer.find_pinned("bank") == bytes.fromhex(json.loads(offer(bank).text)["content"]["signing_key"])
    assert bank.find_pinned("issuer") == bytes.fromhex(json.loads(answered.text)["content"]["signing_key"])
    assert issuer.list_actions()[-2:] == ["key-exchange.plan", "key-exchange.answer"]
    assert bank.list_actions()[-3:] == ["key-exchange.plan", "key-exchange.accept", "key-exchange.offer"]


def test_keys_handed_over_under_the_kek_arrive(issuer: Site, bank: Site) -> None:
    answered = answer(issuer, offer(bank))
    kek = accept(bank, answered)
    master = issuer.keys.generate_master(MasterKind.SSD_INITIAL, "ssd-initial", actor=ACTOR)
    assert answered.kek is not None
    source = DerivedKeys(build_master_ref(master), "issuer", DerivationPurpose.SSD_INITIAL, b"card", bytes(5), 0)
    with issuer.vault.open_scope() as keys:
        wrapped, kcvs = wrap_initial_keys(keys, build_master_ref(answered.kek), KeySetRef(0x20, KeyType.DES2, source))
    with bank.vault.open_scope() as keys:
        check_wrapped_keys(keys, KeySetRef(0x20, KeyType.DES2, WrappedKeys(build_master_ref(kek), wrapped)), kcvs)


def test_no_file_holds_a_secret_in_the_clear(issuer: Site, bank: Site) -> None:
    offered = offer(bank)
    answered = answer(issuer, offered)
    assert answered.kek is not None
    value = issuer.vault.objects[answered.kek.object_id]
    for text in (offered.text, answered.text):
        assert value.hex() not in text.lower()


def test_steps_that_are_repeated_change_nothing_or_say_so(issuer: Site, bank: Site) -> None:
    offered = offer(bank)
    assert offer(bank).fingerprint == offered.fingerprint
    answered = answer(issuer, offered)
    assert "--new-generation" in check_refused(Code.CONFLICT, lambda: answer(issuer, offered))
    kek = accept(bank, answered)
    assert accept(bank, answered) == kek
    assert bank.list_keks() == issuer.list_keks() == [(1, KeyState.ACTIVE)]
    assert len(bank.vault.objects) == 1


def test_a_wrong_fingerprint_keeps_nothing(issuer: Site, bank: Site) -> None:
    offered = offer(bank)
    check_refused(Code.EXCHANGE_FINGERPRINT, lambda: issuer.exchange.answer("bank", offered.text, WRONG, actor=ACTOR))
    assert not issuer.list_keks()
    assert issuer.find_pinned("bank") is None
    answered = answer(issuer, offered)
    check_refused(Code.EXCHANGE_FINGERPRINT, lambda: bank.exchange.accept("issuer", answered.text, WRONG, actor=ACTOR))
    assert not bank.list_keks()
    assert bank.find_pinned("issuer") is None


def test_files_for_and_from_others_are_refused(issuer: Site, bank: Site) -> None:
    for_another = bank.exchange.offer("another", actor=ACTOR)
    check_refused(Code.EXCHANGE_REFUSED, lambda: answer(issuer, for_another))
    mallory = build_site("mallory").exchange.offer("issuer", actor=ACTOR)
    check_refused(Code.EXCHANGE_REFUSED, lambda: answer(issuer, mallory))
    answered = answer(issuer, offer(bank))
    shop = build_site("shop")
    check_refused(Code.EXCHANGE_REFUSED, lambda: accept(shop, answered))
    check_refused(
        Code.EXCHANGE_REFUSED,
        lambda: bank.exchange.accept("another", answered.text, answered.fingerprint, actor=ACTOR),
    )
    check_refused(Code.INPUT_INVALID, lambda: bank.exchange.offer("bank", actor=ACTOR))


def test_an_answer_to_the_same_name_with_other_keys_is_refused(issuer: Site, bank: Site) -> None:
    answered = answer(issuer, offer(bank))
    check_refused(Code.EXCHANGE_REFUSED, lambda: accept(build_site("bank"), answered))


def test_an_answer_that_was_replayed_after_a_newer_one_is_refused(issuer: Site, bank: Site) -> None:
    offered = offer(bank)
    first = answer(issuer, offered)
    second = answer(issuer, offered, renew=True)
    assert second.kek is not None
    assert second.kek.generation == 2
    assert accept(bank, second).generation == 2
    assert "old answer" in check_refused(Code.EXCHANGE_REFUSED, lambda: accept(bank, first))
    assert bank.list_keks() == [(2, KeyState.ACTIVE)]


def test_a_new_generation_goes_to_both_and_the_old_stays(issuer: Site, bank: Site) -> None:
    offered = offer(bank)
    accept(bank, answer(issuer, offered))
    accept(bank, answer(issuer, offered, renew=True))
    assert bank.list_keks() == issuer.list_keks() == [(1, KeyState.ACTIVE), (2, KeyState.ACTIVE)]


def test_another_signing_key_of_a_peer_is_taken_only_when_asked_for(issuer: Site, bank: Site) -> None:
    answer(issuer, offer(bank))
    moved = build_site("bank")
    detail = check_refused(Code.EXCHANGE_REFUSED, lambda: answer(issuer, offer(moved), renew=True))
    assert "--new-peer-key" in detail
    answered = answer(issuer, offer(moved), renew=True, replace_key=True)
    assert accept(moved, answered).generation == 2
    assert issuer.find_pinned("bank") == bytes.fromhex(json.loads(offer(moved).text)["content"]["signing_key"])
    with issuer.store.transaction() as transaction:
        assert {key.state for key in transaction.peer_keys.list()} == {KeyState.ACTIVE, KeyState.DEACTIVATED}


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_was_cut_off_is_made_again(issuer: Site, bank: Site, when: str) -> None:
    offered = offer(bank)
    issuer.exchange.offer("another", actor=ACTOR)  # makes the key pairs, so that the cut is at the KEK
    issuer.vault.cut_off = when
    with pytest.raises(CutOffError):
        answer(issuer, offered)
    assert issuer.list_keks() == [(1, KeyState.PRE_ACTIVATION)]
    assert issuer.find_pinned("bank") is None
    assert accept(bank, answer(issuer, offered)).generation == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_acceptance_that_was_cut_off_is_finished_by_the_same_command(issuer: Site, bank: Site, when: str) -> None:
    answered = answer(issuer, offer(bank))
    bank.vault.cut_off = when
    with pytest.raises(CutOffError):
        accept(bank, answered)
    accept(bank, answered)
    assert bank.list_keks() == [(1, KeyState.ACTIVE)]
    assert len(bank.vault.objects) == 1


def test_a_name_that_a_master_has_is_refused(issuer: Site, bank: Site) -> None:
    issuer.keys.generate_master(MasterKind.ISD, "bank", actor=ACTOR)
    assert "isd" in check_refused(Code.CONFLICT, lambda: answer(issuer, offer(bank)))


def test_a_kek_is_made_by_exchange_alone(issuer: Site) -> None:
    check_refused(Code.INPUT_INVALID, lambda: issuer.keys.generate_master(MasterKind.PEER_KEK, "bank", actor=ACTOR))
