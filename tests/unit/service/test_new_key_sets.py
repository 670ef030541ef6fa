from dataclasses import replace

import pytest

from kms.card.keys import DerivationPurpose, KeyType
from kms.domain.keys import Delivery, KeySet, KeyState, MasterKind
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord
from kms.service.new_key_sets import NewKeySet, plan_key_set
from tests.fakes.card_records import (
    ISD,
    MASTERS,
    PROFILE,
    SSD,
    VENDOR_SET,
    build_record,
    initial_set,
    isd_set,
    planned,
    ssd_set,
)
from tests.fakes.records import NOW, build_master


def plan(record: CardRecord, purpose: DerivationPurpose) -> KeySet:
    domain = record.domains[ISD.id if purpose is DerivationPurpose.ISD else SSD.id]
    return plan_key_set(record, domain, PROFILE, NewKeySet("new", purpose, KeyType.DES2, NOW))


def test_a_plan_is_the_next_generation_of_the_newest_master_and_never_comes_again() -> None:
    record = build_record(ssd_set(1), ssd=replace(SSD, last_generation=1))
    newer = build_master(9, kind=MasterKind.SSD, name="newer", generation=2)
    record.masters[newer.id] = newer
    new = plan(record, DerivationPurpose.SSD)
    assert (new.generation, new.kvn, new.master_id) == (2, 0x22, newer.id)
    assert (new.delivery, new.state, new.kcvs) == (Delivery.PLANNED, KeyState.PRE_ACTIVATION, ())
    assert record.domains[SSD.id].last_generation == 2
    assert record.key_sets["new"] == new


def test_first_keys_are_generation_zero() -> None:
    assert plan(build_record(), DerivationPurpose.SSD_INITIAL).generation == 0


@pytest.mark.parametrize("kvn", [0x20, 0x21])
def test_initial_keys_take_no_version_that_the_isd_has_or_may_get(kvn: int) -> None:
    record = build_record(replace(VENDOR_SET, kvn=0x20), planned(isd_set(1)))
    assert plan(record, DerivationPurpose.SSD_INITIAL).kvn == 0x22 != kvn


@pytest.mark.parametrize("delivery", [Delivery.PLANNED, Delivery.IN_FLIGHT, Delivery.IN_DOUBT])
def test_the_isd_takes_no_version_of_initial_keys_on_their_way(delivery: Delivery) -> None:
    record = build_record(initial_set(kvn=0x21, delivery=delivery))
    assert plan(record, DerivationPurpose.ISD).kvn == 0x22


def test_versions_of_replaced_sets_are_free_again() -> None:
    sets = [ssd_set(n, delivery=Delivery.REPLACED) for n in range(1, 16)]
    record = build_record(*sets, ssd=replace(SSD, last_generation=16))
    assert plan(record, DerivationPurpose.SSD).kvn == 0x21


def test_without_a_master_or_a_free_version_nothing_is_planned() -> None:
    record = build_record()
    record.masters = {key: item for key, item in record.masters.items() if item.kind is not MasterKind.SSD}
    with pytest.raises(KmsError) as caught:
        plan(record, DerivationPurpose.SSD)
    assert caught.value.code is Code.KEY_MISSING
    full = build_record(*(ssd_set(n, kvn=0x20 + n % 16) for n in range(16)), ssd=replace(SSD, last_generation=15))
    with pytest.raises(KmsError) as caught:
        plan(full, DerivationPurpose.SSD)
    assert caught.value.code is Code.CONFLICT
    assert "new" not in full.key_sets
    assert MASTERS[MasterKind.SSD].id in full.masters
