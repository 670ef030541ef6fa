from dataclasses import replace

import pytest

from kms.domain.keys import Delivery, KeyState, MasterKind
from kms.domain.visits import TerminalState
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord, load_card_record
from kms.service.ports import Store
from tests.fakes.card_records import (
    ISD,
    MASTERS,
    SSD,
    VENDOR_SET,
    build_record,
    in_doubt,
    isd_set,
    planned,
    ssd_set,
    update_of,
)
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import NOW, build_audit_event, build_card, build_master, build_terminal, build_visit


@pytest.fixture
def store() -> Store:
    store = MemoryStore()
    with store.transaction() as tx:
        tx.cards.add(build_card(1))
        for domain in (ISD, SSD):
            tx.security_domains.add(domain)
        tx.key_sets.add(VENDOR_SET)
        tx.key_updates.add(update_of(SSD))
        tx.terminals.add(build_terminal(1))
        tx.visits.add(build_visit(1, card_id=build_card(1).id))
        for master in MASTERS.values():
            tx.master_keys.add(master)
    return store


def load(store: Store) -> CardRecord:
    with store.transaction() as tx:
        return load_card_record(tx, tx.cards.get(build_card(1).id), tx.visits.list(limit=9))


def write(store: Store, record: CardRecord) -> None:
    with store.transaction() as tx:
        record.write(tx)


def test_everything_of_the_card_is_read_and_what_changed_is_written(store: Store) -> None:
    record = load(store)
    assert record.isd == ISD
    assert record.sets_of(ISD) == [VENDOR_SET]
    record.add_key_set(planned(ssd_set(1)))
    record.save(in_doubt(ssd_set(1)))
    record.save(replace(SSD, last_generation=1))
    record.log(build_audit_event(1))
    visit = record.note(next(iter(record.visits.values())), NOW, "broken", "said the test")
    write(store, record)
    again = load(store)
    assert again.key_sets[ssd_set(1).id].delivery is Delivery.IN_DOUBT
    assert again.domains[SSD.id].last_generation == 1
    assert again.card.version == 1
    with store.transaction() as tx:
        assert [event.text for event in tx.visits.list_events(visit.id)] == ["said the test"]
        assert len(tx.audit.list()) == 1


def test_a_step_that_another_overtook_writes_nothing(store: Store) -> None:
    first, second = load(store), load(store)
    first.save(replace(SSD, last_generation=1))
    second.save(replace(SSD, last_generation=2))
    write(store, first)
    with pytest.raises(KmsError) as caught:
        write(store, second)
    assert caught.value.code is Code.VISIT_CONFLICT
    assert load(store).domains[SSD.id].last_generation == 1


def test_a_changed_card_keeps_the_version_that_the_claim_counted(store: Store) -> None:
    record = load(store)
    record.save(replace(record.card, quarantine_reason="why"))
    write(store, record)
    assert (load(store).card.version, load(store).card.quarantine_reason) == (1, "why")


@pytest.mark.parametrize("state", [TerminalState.REVOKED, TerminalState.ENROLLED])
def test_an_officers_word_about_a_terminal_stands(store: Store, state: TerminalState) -> None:
    record = load(store)
    record.save(build_terminal(1, state=TerminalState.SUSPENDED))
    with store.transaction() as tx:
        tx.terminals.save(build_terminal(1, state=state))
    write(store, record)
    with store.transaction() as tx:
        found = tx.terminals.get(build_terminal(1).id).state
    assert found is (TerminalState.REVOKED if state is TerminalState.REVOKED else TerminalState.SUSPENDED)


def test_the_current_set_is_the_newest_that_is_active_and_known() -> None:
    record = build_record(isd_set(1), in_doubt(isd_set(2)), planned(isd_set(3)))
    assert record.find_current_set(ISD) == isd_set(1)
    assert record.sets_in_doubt(ISD) == [in_doubt(isd_set(2))]
    assert record.find_current_set(SSD) is None


def test_the_newest_master_issues_and_none_is_an_error_that_says_what_to_do() -> None:
    record = build_record()
    newer = build_master(9, kind=MasterKind.SSD, name="newer", generation=2)
    begun = build_master(10, kind=MasterKind.SSD, name="begun", generation=3, activated_at=None)
    begun = replace(begun, state=KeyState.PRE_ACTIVATION)
    record.masters |= {newer.id: newer, begun.id: begun}
    assert record.get_active_master(MasterKind.SSD) == newer
    record.masters = {}
    with pytest.raises(KmsError, match="kms keys generate --kind ssd"):
        record.get_active_master(MasterKind.SSD)


@pytest.mark.parametrize("state", [KeyState.SUSPENDED, KeyState.COMPROMISED, KeyState.DEACTIVATED])
def test_an_older_master_never_takes_the_place_of_one_that_may_issue_nothing(state: KeyState) -> None:
    record = build_record()
    newest = build_master(9, kind=MasterKind.SSD, name="newest", generation=2, state=state)
    record.masters |= {newest.id: newest}
    with pytest.raises(KmsError) as error:
        record.get_active_master(MasterKind.SSD)
    assert error.value.code is Code.KEY_STATE


def test_a_card_without_an_isd_is_refused() -> None:
    record = build_record()
    del record.domains[ISD.id]
    with pytest.raises(KmsError) as caught:
        _ = record.isd
    assert caught.value.code is Code.NOT_FOUND
