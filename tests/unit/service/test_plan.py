"""The plan follows from the records alone."""

from dataclasses import replace

import pytest

from kms.card.keys import KeyType
from kms.card.profile import CardProfile
from kms.card.programs.create_ssd import CreateSsd
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import ProgramState
from kms.domain.cards import DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKind
from kms.domain.transfers import Transfer
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord
from kms.service.plan import find_left_over, is_blind, must_add, was_sent
from tests.fakes.card_records import (
    ISD,
    MASTERS,
    SSD,
    VENDOR_SET,
    build_planner,
    build_record,
    in_doubt,
    initial_set,
    isd_set,
    planned,
    ssd_set,
    update_of,
)
from tests.fakes.records import build_master

KEYED = replace(SSD, state=DomainState.KEYED, last_generation=1)


def plan(record: CardRecord, domain: SecurityDomain, **changes: object) -> ProgramState | None:
    update = update_of(domain, **changes)
    record.save(update)
    program = build_planner().plan(record, update)
    assert not isinstance(program, Transfer)  # the card is this platform's own
    return program


def labels(program: ProgramState | None) -> list[str]:
    assert isinstance(program, Reconcile)
    return [candidate.label for candidate in program.candidates]


def test_an_ssd_without_keys_is_made_under_the_isds_set() -> None:
    program = plan(build_record(), SSD)
    assert isinstance(program, CreateSsd)
    assert (program.parent.label, program.initial.ref.kvn, program.resume) == (VENDOR_SET.id, 0x20, False)
    assert isinstance(plan(build_record(ssd=replace(SSD, state=DomainState.CREATING)), SSD), CreateSsd)


def test_first_keys_are_followed_by_operative_ones() -> None:
    record = build_record(initial_set(), ssd=replace(SSD, state=DomainState.CREATING, last_generation=0))
    program = plan(record, SSD)
    assert isinstance(program, ReplaceKeys)
    assert (program.current.label, program.new.ref.kvn, program.add) == (initial_set().id, 0x21, False)


def test_a_rotation_replaces_and_its_update_remembers_the_new_set() -> None:
    record = build_record(ssd_set(1), ssd=KEYED)
    program = plan(record, KEYED)
    assert isinstance(program, ReplaceKeys)
    (update,) = record.updates.values()
    assert update.new_key_set_id == program.new.label
    assert plan(record, KEYED, new_key_set_id=program.new.label) == program


def test_a_factory_set_is_added_to_and_removed_afterwards() -> None:
    factory = replace(VENDOR_SET, kvn=0xFF)
    assert must_add(factory, KeyType.DES2)
    program = plan(build_record(factory), ISD)
    assert isinstance(program, ReplaceKeys)
    assert program.add
    left = replace(factory, state=KeyState.DEACTIVATED)
    record = build_record(left, isd_set(1))
    removal = plan(record, ISD, new_key_set_id=isd_set(1).id)
    assert isinstance(removal, DeleteKeys)
    assert (removal.current.label, removal.old_kvn) == (isd_set(1).id, 0xFF)
    gone = build_record(replace(left, delivery=Delivery.REPLACED), isd_set(1))
    assert find_left_over(gone, ISD) is None
    assert plan(gone, ISD, new_key_set_id=isd_set(1).id) is None


def test_what_is_in_doubt_is_reconciled_first_and_asked_for_last() -> None:
    record = build_record(ssd_set(1), in_doubt(ssd_set(2)), ssd=KEYED)
    assert labels(plan(record, KEYED)) == [ssd_set(1).id, ssd_set(2).id]


def test_an_ssd_that_may_have_no_keys_is_asked_for_its_parents_too() -> None:
    assert labels(plan(build_record(in_doubt(initial_set())), SSD)) == [VENDOR_SET.id, initial_set().id]


def test_a_parent_in_doubt_is_reconciled_before_an_ssd_is_made_under_it() -> None:
    assert labels(plan(build_record(in_doubt(isd_set(1))), SSD)) == [VENDOR_SET.id, isd_set(1).id]


def test_a_set_that_was_sent_once_stays_one_that_may_be_on_the_card() -> None:
    sent, never = planned(ssd_set(2), sent=True), planned(ssd_set(3))
    assert was_sent(sent)
    assert not was_sent(never)
    record = build_record(ssd_set(1), sent, never, in_doubt(ssd_set(4)), ssd=KEYED)
    assert labels(build_planner().reconcile(record, KEYED)) == [sent.id, ssd_set(1).id, ssd_set(4).id]


def test_a_retry_takes_the_set_that_was_sent_whatever_its_master() -> None:
    newer = build_master(9, kind=MasterKind.SSD, name="newer", generation=2)
    record = build_record(ssd_set(1), planned(ssd_set(2)), planned(ssd_set(3), sent=True), ssd=KEYED)
    record.masters[newer.id] = newer
    program = plan(record, KEYED)
    assert isinstance(program, ReplaceKeys)
    assert program.new.label == ssd_set(3).id


def test_a_set_that_never_left_is_used_only_under_the_newest_master() -> None:
    record = build_record(ssd_set(1), planned(ssd_set(2)), ssd=replace(KEYED, last_generation=2))
    program = plan(record, KEYED)
    assert isinstance(program, ReplaceKeys)
    assert program.new.label == ssd_set(2).id
    record = build_record(ssd_set(1), planned(ssd_set(2)), ssd=replace(KEYED, last_generation=2))
    newer = build_master(9, kind=MasterKind.SSD, name="newer", generation=2)
    record.masters[newer.id] = newer
    program = plan(record, KEYED)
    assert isinstance(program, ReplaceKeys)
    assert record.key_sets[program.new.label].master_id == newer.id


def test_without_a_set_of_the_isd_or_a_master_there_is_no_plan() -> None:
    nothing = build_record(replace(VENDOR_SET, state=KeyState.DEACTIVATED, delivery=Delivery.REPLACED))
    for domain in (ISD, SSD):
        with pytest.raises(KmsError) as caught:
            plan(nothing, domain)
        assert caught.value.code is Code.KEY_STATE
    record = build_record()
    del record.masters[MASTERS[MasterKind.SSD_INITIAL].id]
    with pytest.raises(KmsError) as caught:
        plan(record, SSD)
    assert caught.value.code is Code.KEY_MISSING


@pytest.mark.parametrize(("scp_i", "r_mac", "level"), [(0x55, True, 0x03), (0x75, True, 0x13), (0x75, False, 0x03)])
def test_r_mac_is_asked_for_where_profile_and_card_both_offer_it(scp_i: int, r_mac: bool, level: int) -> None:
    record = build_record()
    record.save(replace(record.card, scp02_i=scp_i))
    planner = build_planner(CardProfile(name="default", r_mac=r_mac))
    assert planner.parameters(record, ISD, KeyType.DES2).level == level


@pytest.mark.parametrize(("scp_i", "refused"), [(0x15, True), (0x35, True), (0x55, False), (0x75, False)])
def test_another_platforms_keys_take_no_route_that_a_dropped_select_bends(scp_i: int, refused: bool) -> None:
    record = build_record(ssd=replace(SSD, managed_by="provider"))
    record.save(replace(record.card, scp02_i=scp_i))
    planner = build_planner(CardProfile(name="default", initial_key_route="put-key"))
    update = update_of(SSD)
    if not refused:
        assert isinstance(planner.plan(record, update), CreateSsd)
        return
    with pytest.raises(KmsError) as caught:
        planner.plan(record, update)
    assert caught.value.code is Code.KEY_STATE
    assert "store-data" in caught.value.detail


def compromised(number: int = 1, **changes: object) -> KeySet:
    return replace(ssd_set(number), state=KeyState.COMPROMISED, **changes)  # type: ignore[arg-type] # its fields


def test_a_compromised_set_opens_nothing_and_new_keys_come_by_the_isd() -> None:
    program = plan(build_record(compromised(), ssd=KEYED), KEYED)
    assert isinstance(program, CreateSsd)
    assert (program.parent.label, program.resume) == (VENDOR_SET.id, True)
    assert program.initial.ref.kvn not in (0x20, compromised().kvn)


def test_initial_keys_in_doubt_beside_a_compromised_set_are_sent_again_and_not_asked_after() -> None:
    waiting = in_doubt(initial_set(generation=2, kvn=0x22))
    record = build_record(compromised(), waiting, ssd=KEYED)
    assert is_blind(record, KEYED)
    record.save(replace(waiting, delivery=Delivery.PLANNED))
    program = plan(record, KEYED)
    assert isinstance(program, CreateSsd)
    assert program.initial.label == waiting.id


def test_a_compromised_set_is_neither_reconciled_nor_used_by_a_retry() -> None:
    in_force = initial_set(generation=2, kvn=0x22)
    record = build_record(compromised(), in_force, in_doubt(ssd_set(3)), ssd=KEYED)
    assert not is_blind(record, KEYED)
    assert labels(plan(record, KEYED)) == [in_force.id, ssd_set(3).id]
    sent = replace(planned(ssd_set(4), sent=True), state=KeyState.COMPROMISED)
    program = plan(build_record(in_force, sent, ssd=replace(KEYED, last_generation=4)), KEYED)
    assert isinstance(program, ReplaceKeys)
    assert program.new.label != sent.id


@pytest.mark.parametrize("delivery", [Delivery.PROVED, Delivery.IN_FLIGHT, Delivery.IN_DOUBT, Delivery.PLANNED])
def test_a_compromised_set_that_may_be_on_the_card_is_deleted_at_last(delivery: Delivery) -> None:
    record = build_record(compromised(delivery=delivery), ssd_set(3), ssd=KEYED)
    program = plan(record, KEYED, new_key_set_id=ssd_set(3).id)
    assert isinstance(program, DeleteKeys)
    assert (program.current.label, program.old_kvn) == (ssd_set(3).id, compromised().kvn)


def test_one_that_never_left_or_is_gone_is_not() -> None:
    for item in (compromised(delivery=Delivery.PLANNED, kcvs=()), compromised(delivery=Delivery.REPLACED)):
        assert find_left_over(build_record(item, ssd_set(3), ssd=KEYED), KEYED) is None


def test_keys_of_a_keyed_ssd_cannot_be_put_under_its_parents() -> None:
    record = build_record(compromised(), ssd=KEYED)
    with pytest.raises(KmsError) as error:
        build_planner(CardProfile(name="default", initial_key_route="put-key")).plan(record, update_of(KEYED))
    assert error.value.code is Code.KEY_STATE
    assert "store-data" in error.value.detail
