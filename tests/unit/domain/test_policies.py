from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kms.card.keys import DerivationPurpose
from kms.domain.cards import DomainKind
from kms.domain.identifiers import build_uuid7
from kms.domain.policies import Policy, PolicyBook, PolicyClass, find_ambiguities
from kms.domain.policy_window import Window
from kms.errors import Code, KmsError
from tests.fakes.policies import build_policy, build_version
from tests.fakes.records import NOW

SSD, ISD = DomainKind.SSD, DomainKind.ISD
AID = bytes.fromhex("A0000009510001")


def classed(name: str, *fields: Any, **named: Any) -> Policy:  # noqa: ANN401 - any field of the class
    return build_policy(name, applies_to=PolicyClass(*fields, **named))


def book(*policies: Policy) -> PolicyBook:
    return PolicyBook(tuple(build_version(number, item) for number, item in enumerate(policies)))


def find(policies: PolicyBook, aid: bytes = AID, managed_by: str = "issuer", batch: str = "B7") -> str | None:
    version = policies.find(SSD, aid, managed_by, batch)
    return None if version is None else version.name


class TestClasses:
    def test_the_narrowest_class_holds(self) -> None:
        policies = book(
            classed("any", SSD),
            classed("transit", SSD, AID[:5]),
            classed("batch", SSD, AID[:5], batch="B7"),
            classed("isd", ISD),
        )
        assert find(policies) == "batch"
        assert find(policies, batch="B8") == "transit"
        assert find(policies, aid=b"\xa0\x00\x00\x01\x51") == "any"
        assert policies.find(ISD, AID, "issuer", "") is policies.versions[3]

    def test_what_no_class_holds_has_no_policy(self) -> None:
        policies = book(classed("theirs", SSD, managed_by="provider"))
        assert find(policies) is None
        assert find(policies, managed_by="provider") == "theirs"

    def test_the_shared_part_of_two_classes_may_have_a_policy_of_its_own(self) -> None:
        policies = [classed("prefix", SSD, AID[:5]), classed("batch", SSD, batch="B7")]
        assert [fault.where for fault in find_ambiguities(policies)] == ["prefix, batch: applies_to"]
        policies.append(classed("both", SSD, AID[:5], batch="B7"))
        assert not list(find_ambiguities(policies))
        assert find(book(*policies)) == "both"

    def test_the_same_class_twice_is_ambiguous(self) -> None:
        faults = list(find_ambiguities([classed("one", SSD), classed("two", SSD)]))
        assert "same class" in faults[0].what

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (PolicyClass(SSD), PolicyClass(ISD)),
            (PolicyClass(SSD, AID), PolicyClass(SSD, AID[:-1] + b"\x02")),
            (PolicyClass(SSD, managed_by="a"), PolicyClass(SSD, managed_by="b")),
            (PolicyClass(SSD, batch="a"), PolicyClass(SSD, AID, batch="b")),
            (PolicyClass(SSD), PolicyClass(SSD, AID)),
        ],
    )
    def test_classes_apart_or_one_in_the_other_are_clear(self, one: PolicyClass, other: PolicyClass) -> None:
        policies = [build_policy("one", applies_to=one), build_policy("other", applies_to=other)]
        assert not list(find_ambiguities(policies))

    def test_what_lies_in_a_class_is_named(self) -> None:
        policies = book(classed("any", SSD), classed("inner", SSD, AID), classed("isd", ISD))
        assert policies.list_inner(policies.versions[0]) == [PolicyClass(SSD, AID)]
        assert not policies.list_inner(policies.versions[1])


class TestDates:
    def test_a_set_is_due_its_lead_time_before_its_end(self) -> None:
        policy = build_policy(cryptoperiod_days=100, lead_days=10)
        end = policy.find_expiry(DerivationPurpose.SSD, NOW)
        assert end == NOW + timedelta(days=100)
        assert policy.find_rotation(build_uuid7(0, bytes(10)), DerivationPurpose.SSD, end) == NOW + timedelta(days=90)

    def test_the_spread_is_between_nothing_and_the_jitter_and_always_the_same(self) -> None:
        policy = build_policy(cryptoperiod_days=100, lead_days=10, jitter_days=20)
        end = policy.find_expiry(DerivationPurpose.SSD, NOW)
        tails = (bytes(10), bytes(8) + b"\x80\x00", b"\xff" * 10)
        dues = [policy.find_rotation(build_uuid7(0, tail), DerivationPurpose.SSD, end) for tail in tails]
        assert dues[:2] == [NOW + timedelta(days=90), NOW + timedelta(days=80)]
        assert dues[2] is not None
        assert timedelta(days=70) < dues[2] - NOW < timedelta(days=70, minutes=1)

    def test_initial_keys_have_their_own_end_and_are_never_due(self) -> None:
        policy = build_policy(initial_cryptoperiod_days=7)
        end = policy.find_expiry(DerivationPurpose.SSD_INITIAL, NOW)
        assert end == NOW + timedelta(days=7)
        assert policy.find_rotation(build_uuid7(0, bytes(10)), DerivationPurpose.SSD_INITIAL, end) is None

    def test_the_dates_of_a_policy_begin_inside_and_end_outside(self) -> None:
        policy = build_policy(valid_from=NOW, valid_until=NOW + timedelta(days=1))
        assert policy.is_valid_at(NOW)
        assert not policy.is_valid_at(NOW - timedelta(seconds=1))
        assert not policy.is_valid_at(NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cryptoperiod_days": 0}, "cryptoperiod_days"),
        ({"cryptoperiod_days": 3661}, "cryptoperiod_days"),
        ({"lead_days": -1}, "lead_days"),
        ({"lead_days": 300, "jitter_days": 65}, "lead_days"),
        ({"notice_days": (7, 30)}, "notice_days"),
        ({"notice_days": (7, 7)}, "notice_days"),
        ({"notice_days": (365,)}, "notice_days"),
        ({"grace_days": 367}, "grace_days"),
        ({"max_per_run": 0}, "max_per_run"),
        ({"max_per_run": 11, "max_per_day": 10}, "max_per_run"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"quarantine_after": 0}, "quarantine_after"),
        ({"breaker_percent": 101}, "breaker_percent"),
        ({"window": Window(())}, "window.weekdays"),
        ({"valid_from": datetime(2026, 1, 1)}, "valid_from"),  # noqa: DTZ001 - that is the fault
        ({"valid_from": NOW, "valid_until": NOW}, "valid_until"),
        ({"applies_to": PolicyClass(SSD, bytes(17))}, "applies_to.aid_prefix"),
        ({"name": ""}, "name"),
    ],
)
def test_a_policy_out_of_bounds_is_refused_with_its_field(changes: dict[str, Any], field: str) -> None:
    good: dict[str, Any] = {"name": "ssd", "applies_to": PolicyClass(SSD), "cryptoperiod_days": 365, "lead_days": 30}
    with pytest.raises(KmsError) as error:
        Policy(**good | changes)
    assert error.value.code is Code.INPUT_INVALID
    assert field in {fault.where for fault in error.value.faults}


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(KmsError) as error:
        build_policy(grace_days=-1, max_attempts=0, valid_from=datetime(2026, 1, 1, tzinfo=UTC))
    assert [fault.where for fault in error.value.faults] == ["grace_days", "max_attempts"]
