from datetime import timedelta

import pytest

from kms.card.keys import KcvMethod, KeyType
from kms.domain.ceremonies import Ceremony, CeremonyState, StepRecord
from kms.domain.ceremony_scripts import CeremonyKind, StepKind
from kms.domain.fitness import Finding, Severity
from kms.domain.keys import KeyState, MasterKey, MasterKind
from kms.domain.people import (
    Account,
    AccountState,
    Credential,
    CredentialKind,
    Person,
    PersonState,
    Role,
)
from kms.service.fitness.records import find_record_findings
from tests.fakes.memory_store import MemoryStore
from tests.fakes.policies import put_in_force
from tests.fakes.records import NOW, build_id, build_master

OWN_KCV = {"kcv": b"\x01\x02\x03\x04\x05", "kcv_method": KcvMethod.AES_CMAC, "key_type": KeyType.AES256}
SSD = build_master(1, name="ssd", kind=MasterKind.SSD, **OWN_KCV)
FULL = (CredentialKind.PASSWORD, CredentialKind.WEBAUTHN)


def add_person(
    store: MemoryStore,
    number: int,
    *kinds: CredentialKind,
    role: Role = Role.SECURITY_OFFICER,
    state: AccountState = AccountState.ACTIVE,
    person_state: PersonState = PersonState.ACTIVE,
) -> None:
    person = Person(build_id(number), f"Officer {number}", frozenset({role}), person_state, NOW)
    account = Account(build_id(100 + number), person.id, f"officer{number}", state, NOW)
    with store.transaction() as tx:
        tx.people.add(person)
        tx.accounts.add(account)
        for place, kind in enumerate(kinds):
            made = build_id(1000 + 10 * number + place)
            tx.credentials.add(Credential(made, account.id, kind, "", b"data", PersonState.ACTIVE, NOW))


def add_master(
    store: MemoryStore, key: MasterKey, *steps: StepKind, rehearsal: bool = False, done: bool = True
) -> None:
    """A master, made by a ceremony of these steps; without any by no ceremony."""
    with store.transaction() as tx:
        tx.master_keys.add(key)
        if not steps:
            return
        ceremony = Ceremony(
            id=build_id(7000),
            script_name="script",
            script="",
            digest=bytes(32),
            kind=CeremonyKind.GENERATE_MASTER,
            rehearsal=rehearsal,
            key_name=key.name,
            started_by="person Ada",
            started_at=NOW,
            deadline=NOW + timedelta(hours=1),
            state=CeremonyState.DONE if done else CeremonyState.RUNNING,
            pair_id=b"pair",
            object_id=key.object_id,
            software="1",
            key_id=key.id,
        )
        tx.ceremonies.add(ceremony)
        for number, do in enumerate(steps, 1):
            people = {"person_id": build_id(1), "person_name": "Ada", "account_id": build_id(2), "role": "officer"}
            step = StepRecord(
                build_id(7100 + number),
                ceremony.id,
                number,
                do,
                login_session_id="",
                factor="webauthn",
                done_at=NOW,
                **people,
            )
            tx.ceremonies.add_step(step)


def look(store: MemoryStore) -> dict[str, Finding]:
    with store.reading() as reading:
        return {item.where: item for item in find_record_findings(reading)}


@pytest.fixture
def store() -> MemoryStore:
    """Two officers who can log in, and policies in force."""
    made = MemoryStore()
    put_in_force(made)
    for number in (1, 2):
        add_person(made, number, *FULL)
    return made


def test_nothing_is_said_of_a_site_that_is_fit(store: MemoryStore) -> None:
    add_master(store, SSD, StepKind.BACK_UP, StepKind.PROVE_BACKUP)
    assert look(store) == {}


def test_without_officers_and_policies_nothing_starts() -> None:
    found = look(MemoryStore())
    assert {name: item.severity for name, item in found.items()} == dict.fromkeys(
        ("people", "policies"), Severity.REFUSED
    )
    # policies are applied in the console, the first people are not made there
    assert found["policies"].mended_in_console
    assert not found["people"].mended_in_console


def test_officers_who_have_not_enrolled_yet_keep_nothing_from_starting() -> None:
    store = MemoryStore()
    put_in_force(store)
    for number in (1, 2):
        add_person(store, number, state=AccountState.INVITED)
    assert {name: item.severity for name, item in look(store).items()} == {"people": Severity.WEAKNESS}


def test_one_officer_and_a_disabled_one_are_too_few() -> None:
    store = MemoryStore()
    put_in_force(store)
    add_person(store, 1, *FULL)
    add_person(store, 2, *FULL, person_state=PersonState.DISABLED)
    add_person(store, 3, *FULL, role=Role.AUDITOR)
    assert look(store)["people"].severity is Severity.REFUSED


@pytest.mark.parametrize("role", [Role.SECURITY_OFFICER, Role.AUDITOR])
def test_an_account_without_a_second_factor_is_refused_by_its_login(store: MemoryStore, role: Role) -> None:
    add_person(store, 3, CredentialKind.PASSWORD, role=role)
    found = look(store)
    assert set(found) == {"people.officer3"}
    assert found["people.officer3"].severity is Severity.REFUSED


def test_one_time_codes_alone_are_named_as_a_weakness(store: MemoryStore) -> None:
    add_person(store, 3, CredentialKind.PASSWORD, CredentialKind.TOTP)
    assert {name: item.severity for name, item in look(store).items()} == {"people.officer3": Severity.WEAKNESS}


def test_an_account_that_cannot_log_in_is_not_asked(store: MemoryStore) -> None:
    add_person(store, 3, CredentialKind.PASSWORD, state=AccountState.DISABLED)
    assert look(store) == {}


def test_a_published_test_key_is_refused(store: MemoryStore) -> None:
    add_master(store, build_master(2, kcv=bytes.fromhex("8BAF47")), StepKind.PROVE_BACKUP)
    assert "published test key" in look(store)["keys.vendor-2-1"].what


@pytest.mark.parametrize("state", [KeyState.DESTROYED, KeyState.PRE_ACTIVATION])
def test_a_key_that_is_not_there_is_not_asked(store: MemoryStore, state: KeyState) -> None:
    add_master(store, build_master(2, kcv=bytes.fromhex("8BAF47"), state=state))
    assert look(store) == {}


@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        ((), {}),
        ((StepKind.BACK_UP,), {}),
        ((StepKind.PROVE_BACKUP,), {"rehearsal": True}),
        ((StepKind.PROVE_BACKUP,), {"done": False}),
    ],
    ids=["no ceremony", "not proved", "rehearsal", "not finished"],
)
def test_a_master_without_a_proved_backup_is_refused(
    store: MemoryStore, steps: tuple[StepKind, ...], changes: dict[str, bool]
) -> None:
    add_master(store, SSD, *steps, **changes)
    found = look(store)["keys.ssd-1"]
    assert (found.severity, found.mended_in_console) == (Severity.REFUSED, True)


def test_a_backup_that_officers_waived_is_a_weakness(store: MemoryStore) -> None:
    add_master(store, SSD, StepKind.WAIVE_BACKUP)
    assert look(store)["keys.ssd-1"].severity is Severity.WEAKNESS


def test_a_generation_that_issues_nothing_more_is_a_weakness(store: MemoryStore) -> None:
    add_master(store, build_master(1, name="ssd", kind=MasterKind.SSD, state=KeyState.DEACTIVATED, **OWN_KCV))
    assert look(store)["keys.ssd-1"].severity is Severity.WEAKNESS


@pytest.mark.parametrize("kind", [MasterKind.PEER_KEK, MasterKind.LOGIN, MasterKind.BACKUP])
def test_what_is_made_anew_needs_no_backup(store: MemoryStore, kind: MasterKind) -> None:
    add_master(store, build_master(1, name="other", kind=kind, **OWN_KCV))
    assert look(store) == {}
