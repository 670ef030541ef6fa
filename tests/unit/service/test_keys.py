from datetime import timedelta

import pytest

from kms.card.keys import KcvMethod, KeyType
from kms.domain.keys import Delivery, KeyState, MasterKey, MasterKind
from kms.errors import Code, KmsError
from kms.service.keys import KeyService, check_kcv_form, find_kcv_method
from kms.service.ports import NewMaster
from tests.fakes.master_vault import CutOffError, MasterVault
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock, build_key_set, build_master
from tests.fakes.software_keys import check_value

VALUE = bytes.fromhex("13579BDF02468ACE1F2E3D4C5B6A7980")
KCV = check_value(VALUE, KeyType.DES2, KcvMethod.DES_ZERO)
TEST_KEY = bytes(range(0x40, 0x50))
TEST_KCV = bytes.fromhex("8BAF47")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def vault() -> MasterVault:
    return MasterVault()


@pytest.fixture
def service(store: MemoryStore, vault: MasterVault) -> KeyService:
    return build_service(store, vault)


def build_service(store: MemoryStore, vault: MasterVault, *, lab_mode: bool = False) -> KeyService:
    clock, identifiers = TickingClock(), CountingIdentifiers()
    return KeyService(store=store, vault=vault, clock=clock, identifiers=identifiers, lab_mode=lab_mode)


def generate(service: KeyService, name: str = "isd", *, new_generation: bool = False) -> MasterKey:
    return service.generate_master(MasterKind.ISD, name, actor="cli:officer", new_generation=new_generation)


def import_key(service: KeyService, value: bytes = VALUE, kcv: bytes = KCV) -> MasterKey:
    component = bytearray(value)
    try:
        return service.import_master(
            "vendor", key_type=KeyType.DES2, components=[component], expected_kcv=kcv, actor="cli:officer"
        )
    finally:
        assert component == bytearray(len(value))


def list_actions(store: MemoryStore) -> list[tuple[str, str]]:
    with store.transaction() as transaction:
        return [(event.action, event.kcv) for event in reversed(transaction.audit.list())]


def find_active(store: MemoryStore, kind: MasterKind) -> MasterKey | None:
    with store.transaction() as transaction:
        return transaction.master_keys.find_active(kind)


def fails(code: Code) -> "pytest.RaisesExc[KmsError]":
    return pytest.raises(KmsError, match=f"^{code}: ")


def test_a_generated_master_is_recorded_with_its_check_value_and_method(
    service: KeyService, store: MemoryStore, vault: MasterVault
) -> None:
    key = generate(service)
    assert (key.state, key.generation, key.key_type, key.activated_at) == (KeyState.ACTIVE, 1, KeyType.AES256, NOW)
    assert key.kcv == check_value(vault.objects[key.object_id], KeyType.AES256, KcvMethod.AES_CMAC)
    assert vault.labels[key.object_id] == "isd-1"
    assert find_active(store, MasterKind.ISD) == service.get("isd") == key
    shown = f"aes-cmac-zero:{key.kcv.hex().upper()}"
    assert list_actions(store) == [("master-key.plan", ""), ("master-key.generate", shown)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_was_cut_off_is_finished_by_running_it_again(
    service: KeyService, store: MemoryStore, vault: MasterVault, when: str
) -> None:
    vault.cut_off = when
    with pytest.raises(CutOffError):
        generate(service)
    assert find_active(store, MasterKind.ISD) is None
    assert [key.state for key in service.list()] == [KeyState.PRE_ACTIVATION]
    finished = generate(service)
    assert [finished] == list(service.list())
    assert finished.state is KeyState.ACTIVE
    assert vault.made == 1


def test_a_cut_off_import_is_finished_too_even_with_another_type(service: KeyService, vault: MasterVault) -> None:
    vault.cut_off = "after"
    with pytest.raises(CutOffError):
        import_key(service)
    value = VALUE + VALUE[:8]
    kcv = check_value(value, KeyType.DES3, KcvMethod.DES_ZERO)
    key = service.import_master(
        "vendor", key_type=KeyType.DES3, components=[bytearray(value)], expected_kcv=kcv, actor="cli:officer"
    )
    assert (key.key_type, key.kcv, key.state) == (KeyType.DES3, kcv, KeyState.ACTIVE)
    assert vault.objects[key.object_id] == value


def test_a_name_that_exists_is_not_made_again_by_accident(service: KeyService, vault: MasterVault) -> None:
    generate(service)
    with fails(Code.CONFLICT):
        generate(service)
    assert vault.made == 1


def test_a_new_generation_is_used_from_now_on_and_the_old_one_stays(service: KeyService, store: MemoryStore) -> None:
    first = generate(service)
    second = generate(service, new_generation=True)
    assert second.generation == 2
    assert second.object_id != first.object_id
    assert find_active(store, MasterKind.ISD) == second
    assert list(service.list()) == [first, second]
    assert {found.presence for found in service.list_presence()} == {"found"}


def test_a_second_name_of_one_kind_is_refused_since_its_master_would_never_be_used(
    service: KeyService, vault: MasterVault
) -> None:
    generate(service)
    generate(service, new_generation=True)
    with fails(Code.CONFLICT):
        generate(service, "isd-next")
    assert vault.made == 2


def test_a_name_belongs_to_one_kind(service: KeyService) -> None:
    generate(service, "shared")
    with fails(Code.CONFLICT):
        service.generate_master(MasterKind.SSD, "shared", actor="cli:officer")


def test_vendor_keys_are_imported_not_generated(service: KeyService) -> None:
    with fails(Code.INPUT_INVALID):
        service.generate_master(MasterKind.VENDOR, "vendor", actor="cli:officer")


@pytest.mark.parametrize("name", ["", "ISD", "is d", "x" * 33, "é"])
def test_names_are_short_and_plain(service: KeyService, name: str) -> None:
    with fails(Code.INPUT_INVALID):
        generate(service, name)


def test_an_imported_master_is_a_vendor_key(service: KeyService, store: MemoryStore, vault: MasterVault) -> None:
    key = import_key(service)
    assert (key.kind, key.key_type, key.kcv, key.kcv_method) == (
        MasterKind.VENDOR,
        KeyType.DES2,
        KCV,
        KcvMethod.DES_ZERO,
    )
    assert vault.objects[key.object_id] == VALUE
    assert list_actions(store)[-1] == ("master-key.import", f"3des-ecb-zero:{KCV.hex().upper()}")


@pytest.mark.parametrize(
    ("value", "kcv", "code"),
    [
        (VALUE, b"\x00\x00\x00", Code.KEY_KCV_MISMATCH),
        (VALUE[:8], KCV, Code.INPUT_INVALID),
        (VALUE, KCV + b"\x00\x00", Code.INPUT_INVALID),
        (TEST_KEY, TEST_KCV, Code.KEY_TEST_VALUE),
    ],
    ids=["other kcv", "short component", "long kcv", "test key"],
)
def test_a_wrong_import_leaves_neither_a_record_nor_a_key(
    store: MemoryStore, vault: MasterVault, value: bytes, kcv: bytes, code: Code
) -> None:
    service = build_service(store, vault)
    with fails(code):
        import_key(service, value, kcv)
    assert list(service.list()) == []
    assert list_actions(store) == []
    assert vault.objects == {}


def test_lab_mode_takes_test_keys(store: MemoryStore, vault: MasterVault) -> None:
    assert import_key(build_service(store, vault, lab_mode=True), TEST_KEY, TEST_KCV).kcv == TEST_KCV


def test_an_aes_key_may_come_with_either_check_value_and_is_recorded_by_cmac(service: KeyService) -> None:
    for number, method in enumerate((KcvMethod.AES_GP, KcvMethod.AES_CMAC)):
        key = service.import_master(
            f"vendor-{number}",
            key_type=KeyType.AES128,
            components=[bytearray(VALUE)],
            expected_kcv=check_value(VALUE, KeyType.AES128, method),
            actor="cli:officer",
        )
        assert key.kcv == check_value(VALUE, KeyType.AES128, KcvMethod.AES_CMAC)
        assert key.kcv_method is KcvMethod.AES_CMAC


def test_presence_tells_a_key_that_is_gone_from_one_that_is_another(service: KeyService, vault: MasterVault) -> None:
    gone = generate(service)
    other, good = generate(service, new_generation=True), generate(service, new_generation=True)
    del vault.objects[gone.object_id]
    vault.objects[other.object_id] = bytes(32)
    vault.cut_off = "before"
    with pytest.raises(CutOffError):
        generate(service, new_generation=True)
    presence = {found.key.generation: found.presence for found in service.list_presence()}
    assert presence[gone.generation].startswith(Code.KEY_MISSING)
    assert presence[other.generation].startswith(Code.KEY_KCV_MISMATCH)
    assert presence[good.generation] == "found"
    assert presence[4] == "not made yet"


def test_a_key_that_another_run_finished_meanwhile_is_not_finished_twice(
    service: KeyService, store: MemoryStore, vault: MasterVault
) -> None:
    class Racing(MasterVault):
        def generate_master(self, object_id: bytes, label: str) -> NewMaster:
            made = vault.generate_master(object_id, label)
            generate(service)  # the other run, from planned to active
            return made

    with fails(Code.CONFLICT):
        generate(build_service(store, Racing()))
    assert [key.state for key in service.list()] == [KeyState.ACTIVE]
    assert vault.made == 1


def test_an_unknown_name_says_so(service: KeyService) -> None:
    with fails(Code.NOT_FOUND):
        service.get("nobody")


@pytest.mark.parametrize(
    ("key_type", "length", "method"),
    [
        (KeyType.DES2, 3, KcvMethod.DES_ZERO),
        (KeyType.AES128, 3, KcvMethod.AES_GP),
        (KeyType.AES256, 5, KcvMethod.AES_CMAC),
    ],
)
def test_the_method_follows_from_type_and_length(key_type: KeyType, length: int, method: KcvMethod) -> None:
    assert find_kcv_method(key_type, bytes(length)) is method
    check_kcv_form(key_type, method, bytes(length))


@pytest.mark.parametrize(
    ("key_type", "method", "length"),
    [
        (KeyType.DES2, KcvMethod.AES_GP, 3),
        (KeyType.AES128, KcvMethod.DES_ZERO, 3),
        (KeyType.AES128, KcvMethod.AES_GP, 5),
    ],
)
def test_a_check_value_that_cannot_be_right_is_refused(key_type: KeyType, method: KcvMethod, length: int) -> None:
    with fails(Code.INPUT_INVALID):
        check_kcv_form(key_type, method, bytes(length))


def test_a_master_issues_for_a_year_or_as_long_as_it_is_told(service: KeyService) -> None:
    assert generate(service).expires_at == NOW + timedelta(days=365)
    longer = service.generate_master(
        MasterKind.ISD, "isd", actor="cli:officer", new_generation=True, valid_for=timedelta(days=500)
    )
    assert longer.expires_at == NOW + timedelta(days=500)
    assert import_key(service).expires_at is None


def test_a_generation_is_deactivated_only_when_nothing_hangs_on_it(service: KeyService, store: MemoryStore) -> None:
    first = generate(service)
    generate(service, new_generation=True)
    with store.transaction() as transaction:
        transaction.key_sets.add(build_key_set(1, master_id=first.id))
    with pytest.raises(KmsError, match="1 key sets on cards") as error:
        service.deactivate("isd", 1, actor="cli:officer")
    assert error.value.code is Code.KEY_STATE
    with store.transaction() as transaction:
        replaced = build_key_set(1, master_id=first.id, delivery=Delivery.REPLACED, state=KeyState.DEACTIVATED)
        transaction.key_sets.save(replaced)
    assert service.deactivate("isd", 1, actor="cli:officer", why="replaced").state is KeyState.DEACTIVATED
    assert service.deactivate("isd", 1, actor="cli:officer").state is KeyState.DEACTIVATED
    assert list_actions(store)[-1][0] == "master-key.deactivate"
    assert service.find_use(first).past == 1
    with pytest.raises(KmsError) as error:
        service.deactivate("isd", 3, actor="cli:officer")
    assert error.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("state", [KeyState.PRE_ACTIVATION, KeyState.COMPROMISED])
def test_only_an_active_one_is_deactivated(service: KeyService, store: MemoryStore, state: KeyState) -> None:
    with store.transaction() as transaction:
        transaction.master_keys.add(build_master(1, name="isd", kind=MasterKind.ISD, state=state))
    with pytest.raises(KmsError) as error:
        service.deactivate("isd", 1, actor="cli:officer")
    assert error.value.code is Code.KEY_STATE


def test_a_production_site_makes_and_imports_masters_in_ceremonies_alone(
    store: MemoryStore, vault: MasterVault
) -> None:
    clock, identifiers = TickingClock(), CountingIdentifiers()
    service = KeyService(store=store, vault=vault, clock=clock, identifiers=identifiers, outside_ceremonies=False)
    with fails(Code.KEY_STATE):
        generate(service)
    with fails(Code.KEY_STATE):
        import_key(service)
    assert vault.made == 0
    assert service.list() == []
