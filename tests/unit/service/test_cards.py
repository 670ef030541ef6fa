from dataclasses import replace

import pytest

from kms.card.keys import Diversification, KcvMethod, KeyType
from kms.card.profile import CardProfile
from kms.domain.cards import CardState, DomainKind, DomainState
from kms.domain.keys import Delivery, KeyState
from kms.domain.updates import UpdateReason, UpdateState
from kms.errors import Code, KmsError
from kms.service.cards import CardService, CardSettings, ImportResult
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import ISD_AID, NOW, CountingIdentifiers, TickingClock, build_card, build_master
from tests.unit.domain.test_card_file import GOOD, build_file, change

SETTINGS = CardSettings(platform="issuer", profiles={"default": CardProfile(name="default")}, take_over_isd=False)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    with store.transaction() as transaction:
        transaction.master_keys.add(build_master(1, name="acme"))
    return store


def build_service(store: MemoryStore, *, take_over_isd: bool = False) -> CardService:
    settings = replace(SETTINGS, take_over_isd=take_over_isd)
    return CardService(store=store, clock=TickingClock(), identifiers=CountingIdentifiers(), settings=settings)


def list_faults(store: MemoryStore, content: bytes) -> list[tuple[str, str]]:
    with pytest.raises(KmsError) as error:
        build_service(store).import_file(content, actor="cli:operator")
    assert error.value.code is Code.INPUT_INVALID
    return [(fault.where, fault.what) for fault in error.value.faults]


def build_many(count: int) -> bytes:
    return build_file(*(change("identity", f"4292{number:08X}") for number in range(count)))


def test_a_card_is_enrolled_with_its_isd_and_the_vendors_keys(store: MemoryStore) -> None:
    result = build_service(store).import_file(build_file(GOOD), actor="cli:operator")
    assert result == ImportResult(cards=1, enrolled=1, skipped=0)
    with store.transaction() as transaction:
        card = transaction.cards.find_by_identity(bytes.fromhex("4292AABB01"))
        assert card is not None
        assert (card.state, card.enrolled_at, card.profile) == (CardState.ENROLLED, NOW, "default")
        assert (card.scp02_i, card.scp03_i, card.diversification) == (0x55, 0x70, Diversification.VISA2)
        (isd,) = transaction.security_domains.list_for_card(card.id)
        assert (isd.aid, isd.kind, isd.state, isd.managed_by) == (ISD_AID, DomainKind.ISD, DomainState.KEYED, "issuer")
        assert isd.last_generation == 0  # so that the issuer's first own generation is 1
        (factory,) = transaction.key_sets.list_for_domain(isd.id)
        assert (factory.kvn, factory.purpose, factory.generation) == (0xFF, None, 0)
        assert (factory.delivery, factory.state) == (Delivery.FACTORY, KeyState.ACTIVE)
        assert (factory.master_id, factory.key_type) == (build_master(1).id, KeyType.DES2)
        assert (factory.kcvs, factory.kcv_method) == ((), KcvMethod.DES_ZERO)
        assert not transaction.key_updates.list_open_for_card(card.id)


def test_the_takeover_of_the_isd_is_owed_when_so_configured(store: MemoryStore) -> None:
    build_service(store, take_over_isd=True).import_file(build_file(GOOD), actor="cli:operator")
    with store.transaction() as transaction:
        (card,) = transaction.cards.list_pending()
        (update,) = transaction.key_updates.list_open_for_card(card.id)
    assert (update.reason, update.state) == (UpdateReason.VENDOR_TAKEOVER, UpdateState.PENDING)
    assert update.requested_by == "cli:operator"


def test_importing_again_does_no_harm_and_adds_what_is_new(store: MemoryStore) -> None:
    service = build_service(store)
    service.import_file(build_many(3), actor="cli:operator")
    assert service.import_file(build_many(3), actor="cli:operator") == ImportResult(3, 0, 3)
    assert service.import_file(build_many(5), actor="cli:operator") == ImportResult(5, 2, 3)
    with store.transaction() as transaction:
        assert len(transaction.cards.list()) == 5
        assert len(transaction.key_sets.list()) == 5


def test_importing_again_does_no_harm_after_the_vendors_master_was_renewed(store: MemoryStore) -> None:
    service = build_service(store)
    service.import_file(build_file(GOOD), actor="cli:operator")
    with store.transaction() as transaction:
        transaction.master_keys.add(build_master(2, name="acme", generation=2))
    assert service.import_file(build_file(GOOD), actor="cli:operator") == ImportResult(1, 0, 1)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kdd", "FF" * 10),
        ("isd_aid", "A000000151000001"),
        ("isd_kvn", "01"),
        ("scp02_i", "15"),
        ("scp03_i", "00"),
        ("vendor_master", "other"),
        ("diversification", "none"),
        ("profile", "jcop"),
    ],
)
def test_an_enrolled_card_with_another_value_is_a_fault(store: MemoryStore, column: str, value: str) -> None:
    with store.transaction() as transaction:
        transaction.master_keys.add(build_master(2, name="other"))
    settings = replace(SETTINGS, profiles={name: CardProfile(name=name) for name in ("default", "jcop")})
    service = CardService(store=store, clock=TickingClock(), identifiers=CountingIdentifiers(), settings=settings)
    service.import_file(build_file(GOOD), actor="cli:operator")
    with pytest.raises(KmsError) as error:
        service.import_file(build_file(change(column, value)), actor="cli:operator")
    assert [(fault.where, fault.what) for fault in error.value.faults] == [
        (f"line 2, column {column}", "the card is enrolled with another value")
    ]


def test_with_one_fault_nothing_is_enrolled(store: MemoryStore) -> None:
    content = build_file(GOOD, change("identity", "00").replace(",default", ",nowhere"))
    assert list_faults(store, content) == [
        ("line 3, column profile", "there is no such card profile in the configuration")
    ]
    with store.transaction() as transaction:
        assert not transaction.cards.list()
        assert not transaction.audit.list()


def test_faults_of_the_file_and_of_this_installation_come_together_by_line(store: MemoryStore) -> None:
    content = build_file(
        change("vendor_master", "nobody"),
        change("identity", "00").replace("visa2", "other"),
        change("identity", "01").replace(",default", ",nowhere"),
    )
    assert list_faults(store, content) == [
        (
            "line 2, column vendor_master",
            "there is no ACTIVE vendor master of this name; import it with `kms keys import`",
        ),
        ("line 3, column diversification", "is none of: none, visa2, emv-cps-1.1, kdf3"),
        ("line 4, column profile", "there is no such card profile in the configuration"),
    ]


@pytest.mark.parametrize(
    "master",
    [
        build_master(2, name="late", state=KeyState.PRE_ACTIVATION),
        build_master(2, name="late", state=KeyState.COMPROMISED),
    ],
    ids=["not active yet", "compromised"],
)
def test_a_master_that_is_not_active_is_a_fault(store: MemoryStore, master: object) -> None:
    with store.transaction() as transaction:
        transaction.master_keys.add(master)  # type: ignore[arg-type] # parametrize hands objects
    faults = list_faults(store, build_file(change("vendor_master", "late")))
    assert [where for where, _ in faults] == ["line 2, column vendor_master"]


AES_SCHEME = "does not go with a vendor master of type AES256: AES masters take kdf3, others do not"


def add_aes_master(store: MemoryStore) -> None:
    with store.transaction() as transaction:
        transaction.master_keys.add(build_master(2, name="aes", key_type=KeyType.AES256))


@pytest.mark.parametrize("options", ["55,70", ",01", ","])
def test_a_card_under_an_aes_master_has_aes_keys(store: MemoryStore, options: str) -> None:
    add_aes_master(store)
    line = GOOD.replace("55,70,acme,visa2", f"{options},aes,kdf3")
    build_service(store).import_file(build_file(line), actor="cli:operator")
    with store.transaction() as transaction:
        (factory,) = transaction.key_sets.list()
    assert (factory.key_type, factory.kcv_method) == (KeyType.AES256, KcvMethod.AES_GP)


@pytest.mark.parametrize(
    ("columns", "where", "what"),
    [
        ("55,,aes,kdf3", "vendor_master", "is of type AES256, whose keys open SCP03; the line gives no scp03_i"),
        (",70,acme,none", "vendor_master", "is of type DES2, whose keys open SCP02; the line gives no scp02_i"),
        (",70,aes,visa2", "diversification", AES_SCHEME),
        (",70,aes,none", "diversification", AES_SCHEME),
        ("55,,acme,kdf3", "diversification", AES_SCHEME.replace("AES256", "DES2")),
    ],
)
def test_master_protocol_and_diversification_go_together(
    store: MemoryStore, columns: str, where: str, what: str
) -> None:
    add_aes_master(store)
    line = GOOD.replace("55,70,acme,visa2", columns)
    assert list_faults(store, build_file(line)) == [(f"line 2, column {where}", what)]


def test_a_card_that_is_to_be_recognized_may_be_imported_again_once_it_was(store: MemoryStore) -> None:
    service, content = build_service(store), build_file(GOOD.replace("55,70", ","))
    service.import_file(content, actor="cli:operator")
    with store.transaction() as transaction:
        (card,) = transaction.cards.list()
        assert not card.is_known
        transaction.cards.save(replace(card, scp02_i=0x55))
    assert service.import_file(content, actor="cli:operator") == ImportResult(1, 0, 1)


@pytest.mark.parametrize("said", [(0x15, None), (None, 0x71), (0x55, 0x70)])
def test_what_a_card_speaks_can_be_said_instead_of_asked(
    store: MemoryStore, said: tuple[int | None, int | None]
) -> None:
    with store.transaction() as transaction:
        transaction.cards.add(build_card(scp02_i=0x35, scp02_claimed=True))
    card = build_service(store).set_protocols(build_card().identity, *said, actor="cli:officer")
    assert (card.scp02_i, card.scp03_i, card.scp02_claimed) == (*said, False)
    with store.transaction() as transaction:
        assert transaction.cards.get(card.id) == card
        (event,) = transaction.audit.list()
    assert (event.actor, event.action) == ("cli:officer", "card.set-protocols")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ((0x15, None), Code.CONFLICT),
        ((None, 0x70), Code.CONFLICT),
        ((None, None), Code.INPUT_INVALID),
        ((0x55, 0x40), Code.INPUT_INVALID),
    ],
)
def test_what_is_fixed_and_what_does_not_exist_cannot_be_said(
    store: MemoryStore, said: tuple[int | None, int | None], code: Code
) -> None:
    with store.transaction() as transaction:
        transaction.cards.add(build_card(scp02_i=0x55))
    with pytest.raises(KmsError) as error:
        build_service(store).set_protocols(build_card().identity, *said, actor="cli:officer")
    assert error.value.code is code
    with pytest.raises(KmsError) as error:
        build_service(store).set_protocols(b"\x00", 0x55, None, actor="cli:officer")
    assert error.value.code is Code.CARD_UNKNOWN


def test_the_isds_own_keys_are_of_the_type_that_the_profile_says(store: MemoryStore) -> None:
    profile = CardProfile(name="default", isd_key_type=KeyType.AES256)
    settings = replace(SETTINGS, profiles={"default": profile})
    service = CardService(store=store, clock=TickingClock(), identifiers=CountingIdentifiers(), settings=settings)
    service.import_file(build_file(GOOD), actor="cli:operator")
    with store.transaction() as transaction:
        assert [domain.key_type for domain in transaction.security_domains.list()] == [KeyType.AES256]


def test_an_import_leaves_one_audit_event_with_the_files_digest(store: MemoryStore) -> None:
    build_service(store).import_file(build_file(GOOD), actor="cli:operator")
    with store.transaction() as transaction:
        (event,) = transaction.audit.list()
    assert (event.actor, event.action, event.result) == ("cli:operator", "cards.import", "done")
    assert event.subject.startswith("card-file sha256:")
    assert len(event.subject.removeprefix("card-file sha256:")) == 64
    assert event.detail == "1 cards, 1 enrolled, 0 enrolled before"


def test_progress_goes_up_to_the_number_of_cards(store: MemoryStore) -> None:
    seen: list[tuple[int, int]] = []
    build_service(store).import_file(
        build_many(1001), actor="cli:operator", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1000, 1001), (1001, 1001)]


def test_a_released_card_is_served_again_and_trusted_afresh(store: MemoryStore) -> None:
    quarantined = build_card(state=CardState.QUARANTINED, quarantine_reason="fitted nothing at 2 terminals")
    with store.transaction() as transaction:
        transaction.cards.add(quarantined)
    service = build_service(store)
    released = service.release(quarantined.identity, actor="cli:officer")
    assert (released.state, released.quarantine_reason, released.trusted_since) == (CardState.ENROLLED, "", NOW)
    with store.transaction() as transaction:
        assert transaction.cards.get(quarantined.id) == released
        (event,) = transaction.audit.list()
    assert (event.actor, event.action, event.detail) == ("cli:officer", "card.release", "fitted nothing at 2 terminals")
    with pytest.raises(KmsError, match="nothing to release"):
        service.release(quarantined.identity, actor="cli:officer")
    with pytest.raises(KmsError) as error:
        service.release(b"\x00", actor="cli:officer")
    assert error.value.code is Code.CARD_UNKNOWN


def test_cards_carry_the_name_of_their_batch(store: MemoryStore) -> None:
    service = build_service(store)
    service.import_file(build_many(1), actor="cli:operator", batch="2026-B7")
    service.import_file(build_many(2), actor="cli:operator", batch="other")
    with store.transaction() as transaction:
        assert [card.batch for card in transaction.cards.list()] == ["2026-B7", "other"]
    with pytest.raises(KmsError, match="batch's name"):
        service.import_file(build_many(3), actor="cli:operator", batch="a b")
