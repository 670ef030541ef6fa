"""What a visit learns, written into the record: every change an audit event, and nothing proved ever moved back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kms.card.keys import KcvMethod
from kms.card.programs.base import Evidence, Installs
from kms.domain.cards import ApplicationState, DomainKind, DomainState
from kms.domain.keys import Delivery, KeyState
from kms.domain.policies import PolicyBook, PolicyClass
from kms.domain.updates import UpdateState
from kms.service.card_record import CardRecord
from kms.service.settling import Settling
from tests.fakes.card_records import (
    ISD,
    SSD,
    VENDOR_SET,
    build_record,
    in_doubt,
    initial_set,
    isd_set,
    planned,
    ssd_set,
    update_of,
)
from tests.fakes.policies import build_policy, build_version
from tests.fakes.records import NOW, CountingIdentifiers, build_application

LATER = NOW + timedelta(hours=1)
BOOK = PolicyBook(
    (
        build_version(1, build_policy("isd", applies_to=PolicyClass(DomainKind.ISD), cryptoperiod_days=100)),
        build_version(
            2, build_policy("ssd", cryptoperiod_days=100, lead_days=30, initial_cryptoperiod_days=7, grace_days=5)
        ),
    )
)


def settling(record: CardRecord) -> Settling:
    return Settling(record, CountingIdentifiers(80_000), LATER, "terminal counter-1", lambda: BOOK)


def actions(record: CardRecord) -> list[str]:
    return [event.action for event in record._audit]  # noqa: SLF001 - what the step will write


def test_write_ahead_says_what_is_on_its_way() -> None:
    record = build_record(planned(ssd_set(1)))
    settling(record).write_ahead(Installs(ssd_set(1).id, (b"\x01\x02\x03",) * 3, KcvMethod.DES_ZERO))
    item = record.key_sets[ssd_set(1).id]
    assert (item.delivery, item.kcvs) == (Delivery.IN_FLIGHT, (b"\x01\x02\x03",) * 3)
    assert actions(record) == ["key-set.send"]
    assert record._audit[0].kcv.startswith("3des-ecb-zero:010203")  # noqa: SLF001 - the same


def test_only_what_is_in_flight_comes_into_doubt() -> None:
    flying = replace(in_doubt(ssd_set(2)), delivery=Delivery.IN_FLIGHT)
    record = build_record(ssd_set(1), flying, planned(ssd_set(3)))
    settling(record).doubt(SSD)
    assert [item.delivery for item in record.sets_of(SSD)] == [
        Delivery.PROVED,
        Delivery.IN_DOUBT,
        Delivery.PLANNED,
    ]


@pytest.mark.parametrize("delivery", [Delivery.IN_FLIGHT, Delivery.IN_DOUBT, Delivery.PLANNED])
def test_a_proof_puts_a_set_in_force_and_its_predecessor_out(delivery: Delivery) -> None:
    record = build_record(ssd_set(1), replace(in_doubt(ssd_set(2)), delivery=delivery))
    settling(record).prove(Evidence(ssd_set(2).id, 7))
    old, new = record.sets_of(SSD)
    assert (old.delivery, old.state, old.replaced_at) == (Delivery.REPLACED, KeyState.DEACTIVATED, LATER)
    assert (new.delivery, new.state, new.expires_at) == (Delivery.PROVED, KeyState.ACTIVE, LATER + timedelta(days=100))
    assert (new.policy_id, new.rotate_at) == (BOOK.versions[1].id, LATER + timedelta(days=70))
    assert record.domains[SSD.id].state is DomainState.KEYED
    assert actions(record) == ["key-set.replace", "key-set.prove"]


def test_initial_keys_in_force_do_not_make_an_ssd_ready() -> None:
    record = build_record(in_doubt(initial_set()))
    settling(record).prove(Evidence(initial_set().id, 0))
    assert record.domains[SSD.id].state is DomainState.CREATING


def test_the_vendors_set_is_proved_without_becoming_ours_and_ff_stays_until_it_is_deleted() -> None:
    factory = replace(VENDOR_SET, kvn=0xFF)
    record = build_record(factory, in_doubt(isd_set(1)))
    work = settling(record)
    work.prove(Evidence(factory.id, 1))
    work.prove(Evidence(isd_set(1).id, 0))
    old = record.key_sets[factory.id]
    assert (old.delivery, old.state) == (Delivery.PROVED, KeyState.DEACTIVATED)
    work.remove(old)
    assert record.key_sets[factory.id].delivery is Delivery.REPLACED
    assert actions(record)[-1] == "key-set.remove"


@pytest.mark.parametrize("delivery", [Delivery.PROVED, Delivery.REPLACED])
def test_a_late_proof_never_moves_a_set_back(delivery: Delivery) -> None:
    item = replace(ssd_set(1), delivery=delivery, state=KeyState.DEACTIVATED)
    record = build_record(item, ssd_set(2))
    settling(record).prove(Evidence(item.id, 9))
    assert record.sets_of(SSD) == [item, ssd_set(2)]
    assert actions(record) == []


def test_what_was_in_doubt_and_not_seen_may_be_sent_again_with_the_same_keys() -> None:
    record = build_record(ssd_set(1), in_doubt(ssd_set(2)))
    settling(record).settle(SSD, {ssd_set(1).id})
    item = record.key_sets[ssd_set(2).id]
    assert (item.delivery, item.generation, item.kcvs) == (Delivery.PLANNED, 2, ssd_set(2).kcvs)
    assert actions(record) == ["key-set.settle"]


def test_a_completed_update_makes_the_applications_that_waited_for_it_ready() -> None:
    update = update_of(SSD)
    record = build_record(ssd_set(1), updates=(update,))
    waiting, other = build_application(1, security_domain_id=SSD.id), build_application(2, security_domain_id=ISD.id)
    record.applications = {waiting.id: waiting, other.id: other}
    settling(record).complete(update)
    assert record.updates[update.id].state is UpdateState.DONE
    assert record.applications[waiting.id].state is ApplicationState.READY
    assert record.applications[other.id].state is ApplicationState.REQUESTED
    assert actions(record) == ["update.complete", "application.ready"]


def test_a_late_proof_of_a_compromised_set_changes_nothing() -> None:
    compromised = replace(in_doubt(ssd_set(1)), state=KeyState.COMPROMISED)
    record = build_record(compromised)
    settling(record).prove(Evidence(compromised.id, 3))
    assert record.key_sets[compromised.id] == compromised
    assert actions(record) == []


def test_what_no_answer_could_tell_is_to_be_sent_again() -> None:
    record = build_record(in_doubt(initial_set()))
    settling(record).send_again(SSD)
    assert record.key_sets[initial_set().id].delivery is Delivery.PLANNED
    assert actions(record) == ["key-set.settle"]


def test_initial_keys_live_by_their_own_period_and_are_never_due() -> None:
    record = build_record(in_doubt(initial_set()))
    settling(record).prove(Evidence(initial_set().id, 7))
    proved = record.key_sets[initial_set().id]
    assert (proved.expires_at, proved.rotate_at) == (LATER + timedelta(days=7), None)


def test_without_a_policy_a_set_has_no_dates_and_no_grace() -> None:
    record = build_record(ssd_set(1), in_doubt(ssd_set(2)))
    alone = replace(settling(record), policies=PolicyBook)
    alone.prove(Evidence(ssd_set(2).id, 7))
    proved = record.sets_of(SSD)[1]
    assert (proved.state, proved.policy_id, proved.rotate_at) == (KeyState.ACTIVE, None, None)
    assert alone.find_grace(SSD) == timedelta(0)
    assert settling(record).find_grace(SSD) == timedelta(days=5)
