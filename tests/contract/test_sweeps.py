"""The sweeps' contract (`kms/service/policy_ports.py`): SQL on both databases against Python, one key set at a time."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kms.card.keys import DerivationPurpose
from kms.domain.alarms import Alarm
from kms.domain.cards import CardState, DomainKind, DomainState
from kms.domain.keys import Delivery, KeySet, KeyState
from kms.domain.policies import Policy, PolicyClass
from kms.domain.policy_window import Weekday, Window
from kms.domain.recovery import PlatformCondition, PlatformState
from kms.domain.updates import KeyUpdate, UpdateReason, UpdateState
from kms.errors import Code, KmsError
from kms.service import policies as policy_service
from kms.service.leases import FencedStore, LeaseKeeper
from kms.service.policies import PolicyService
from kms.service.ports import Store
from kms.service.recovery import STATE_ID
from kms.service.sweeps import ENDING, UNDATED, SweepService
from tests.fakes.memory_store import MemoryStore
from tests.fakes.policies import build_policy
from tests.fakes.records import (
    NOW,
    CountingIdentifiers,
    TickingClock,
    build_card,
    build_domain,
    build_id,
    build_isd,
    build_key_set,
    build_master,
)
from tests.fakes.stores import DATABASES, open_store_on

YEAR = timedelta(days=365)
LEAD = timedelta(days=30)


class Scene:
    """A store with policies, key sets and a clock."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = TickingClock(NOW)
        self.identifiers = CountingIdentifiers(500_000)
        with store.transaction() as tx:
            tx.master_keys.add(build_master())

    @property
    def policies(self) -> PolicyService:
        return PolicyService(store=self.store, clock=self.clock, identifiers=self.identifiers, platform="issuer")

    @property
    def sweeps(self) -> SweepService:
        return SweepService(store=self.store, clock=self.clock, identifiers=self.identifiers, platform="issuer")

    def apply(self, *policies: Policy, expected: int = 0, whole: bool = True) -> int:
        return self.policies.apply(policies, whole=whole, expected=expected, actor="cli:officer").settled

    def add(self, number: int, age: float, **changes: Any) -> KeySet:  # noqa: ANN401 - any field
        """A card with one SSD whose key set was proved `age` days ago. `changes`: of the three, by `card_...`."""
        parts: dict[str, dict[str, Any]] = {"card": {}, "domain": {}, "set": {}}
        for name, value in changes.items():
            part, _, field = name.partition("_")
            parts[part][field] = value
        card = build_card(number, **parts["card"])
        build = build_isd if parts["domain"].get("kind") is DomainKind.ISD else build_domain
        domain = build(number, **({"card_id": card.id, "aid": b"\xa0\x00\x00\x01\x51\x01"} | parts["domain"]))
        fields = {
            "security_domain_id": domain.id,
            "purpose": DerivationPurpose.SSD,
            "delivery": Delivery.PROVED,
            "state": KeyState.ACTIVE,
            "proved_at": NOW - timedelta(days=age),
            "expires_at": None,
        } | parts["set"]
        key_set = build_key_set(number, **fields)
        with self.store.transaction() as tx:
            tx.cards.add(card)
            tx.security_domains.add(domain)
            tx.key_sets.add(key_set)
        return key_set

    def get(self, key_set: KeySet) -> KeySet:
        with self.store.transaction() as tx:
            return tx.key_sets.get(key_set.id)

    def save(self, key_set: KeySet) -> None:
        with self.store.transaction() as tx:
            tx.key_sets.save(key_set)

    def updates(self) -> list[KeyUpdate]:
        with self.store.transaction() as tx:
            return sorted(tx.key_updates.list(limit=10_000), key=lambda item: (item.requested_at, item.id))

    def alarms(self) -> dict[str, Alarm]:
        with self.store.transaction() as tx:
            return {alarm.kind: alarm for alarm in tx.alarms.list_open()}

    def end(self, update: KeyUpdate, state: UpdateState) -> None:
        with self.store.transaction() as tx:
            tx.key_updates.save(replace(update, state=state, finished_at=self.clock.now()))


@pytest.fixture(params=["memory", *DATABASES])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    if request.param == "memory":
        yield Scene(MemoryStore())
        return
    with open_store_on(request.param, tmp_path) as store:
        yield Scene(store)


class TestDates:
    def test_applying_dates_every_set_in_force_as_python_would(self, scene: Scene) -> None:
        policy = build_policy(jitter_days=100, initial_cryptoperiod_days=7)
        sets = [scene.add(number, number * 10, set_id=build_id(4000 + number * 997)) for number in range(1, 6)]
        initial = scene.add(9, 1, set_purpose=DerivationPurpose.SSD_INITIAL, domain_state=DomainState.CREATING)
        assert scene.apply(policy) == 6
        with scene.store.transaction() as tx:
            version = tx.policies.load_book().versions[0]
        for item in sets:
            assert item.proved_at
            found = scene.get(item)
            assert found.policy_id == version.id
            assert found.expires_at == item.proved_at + YEAR
            assert found.rotate_at == policy.find_rotation(item.id, DerivationPurpose.SSD, item.proved_at + YEAR)
        found = scene.get(initial)
        assert initial.proved_at
        assert (found.expires_at, found.rotate_at) == (initial.proved_at + timedelta(days=7), None)
        assert scene.apply(policy) == 0

    def test_the_narrowest_class_dates_a_set_and_gives_it_back_when_it_ends(self, scene: Scene) -> None:
        wide = build_policy("wide", cryptoperiod_days=100, lead_days=1)
        narrow = build_policy(
            "narrow", applies_to=PolicyClass(DomainKind.SSD, b"\xa0\x00\x00\x02", batch="B7"), cryptoperiod_days=50
        )
        inside = scene.add(1, 0, domain_aid=b"\xa0\x00\x00\x02\x00\x01", card_batch="B7")
        other_batch = scene.add(2, 0, domain_aid=b"\xa0\x00\x00\x02\x00\x01", card_batch="B8")
        elsewhere = scene.add(3, 0, card_batch="B7")
        scene.apply(wide, narrow)
        ends = [scene.get(item).expires_at for item in (inside, other_batch, elsewhere)]
        assert ends == [NOW + timedelta(days=days) for days in (50, 100, 100)]
        scene.apply(wide)
        assert scene.get(inside).expires_at == NOW + timedelta(days=100)

    def test_a_set_that_no_policy_is_for_any_more_has_no_due_date(self, scene: Scene) -> None:
        item = scene.add(1, 0)
        scene.apply(build_policy("ssd"))
        scene.apply(build_policy("isd", applies_to=PolicyClass(DomainKind.ISD)))
        assert (scene.get(item).policy_id, scene.get(item).rotate_at) == (None, None)

    def test_many_are_dated_in_batches(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(policy_service, "BATCH", 2)
        sets = [scene.add(number, number) for number in range(1, 8)]
        assert scene.apply(build_policy()) == 7
        assert all(scene.get(item).rotate_at for item in sets)

    def test_what_was_proved_by_a_version_that_ended_is_dated_anew_by_the_sweep(self, scene: Scene) -> None:
        scene.apply(build_policy(cryptoperiod_days=100))
        with scene.store.transaction() as tx:
            old = tx.policies.load_book().versions[0]
        scene.apply(build_policy(cryptoperiod_days=200))
        late = scene.add(1, 0, set_policy_id=old.id, set_rotate_at=NOW, set_expires_at=NOW + timedelta(days=100))
        assert scene.sweeps.sweep_expiry().created == 0
        assert scene.get(late).expires_at == NOW + timedelta(days=200)


class TestApplying:
    def test_what_would_become_due_is_counted_and_must_be_named(self, scene: Scene) -> None:
        scene.apply(build_policy(cryptoperiod_days=1000, lead_days=1))
        for number, age in enumerate((400, 350, 330, 306, 10), start=1):
            scene.add(number, age)
        scene.apply(build_policy(cryptoperiod_days=1001, lead_days=1))
        shorter = build_policy()
        plan = scene.policies.plan([shorter], whole=True)
        assert (plan.due_now, plan.due_7_days, plan.due_30_days) == (2, 3, 4)
        with pytest.raises(KmsError, match="2 key sets would become due at once, not 0") as error:
            scene.apply(shorter)
        assert error.value.code is Code.CONFLICT
        assert scene.policies.list()[0].version == 2
        assert scene.apply(shorter, expected=2) == 5
        assert scene.sweeps.sweep_expiry().created == 2

    def test_versions_are_kept_with_who_and_when(self, scene: Scene) -> None:
        scene.apply(build_policy())
        scene.clock.move(days=1)
        scene.apply(build_policy(lead_days=20))
        history = scene.policies.history("ssd")
        assert [(item.version, item.state, item.policy.lead_days) for item in history] == [
            (2, "IN_FORCE", 20),
            (1, "ENDED", 30),
        ]
        assert history[1].ended_at == history[0].applied_at == NOW + timedelta(days=1)
        assert history[0].applied_by == "cli:officer"

    def test_one_file_leaves_the_others_and_a_folder_ends_them(self, scene: Scene) -> None:
        isd = build_policy("isd", applies_to=PolicyClass(DomainKind.ISD))
        scene.apply(build_policy("ssd"))
        scene.apply(isd, whole=False)
        assert [item.name for item in scene.policies.list()] == ["isd", "ssd"]
        scene.apply(isd)
        assert [item.name for item in scene.policies.list()] == ["isd"]
        scene.apply(isd, build_policy("ssd"))
        assert [item.version for item in scene.policies.history("ssd")] == [2, 1]

    def test_classes_that_overlap_are_refused(self, scene: Scene) -> None:
        one = build_policy("one", applies_to=PolicyClass(DomainKind.SSD, batch="B7"))
        other = build_policy("other", applies_to=PolicyClass(DomainKind.SSD, b"\xa0\x00\x00\x00\x01"))
        with pytest.raises(KmsError) as error:
            scene.apply(one, other)
        assert [fault.where for fault in error.value.faults] == ["one, other: applies_to"]


class TestTheSweep:
    def test_a_due_set_gets_one_update_and_no_second(self, scene: Scene) -> None:
        scene.apply(build_policy())
        due, later = scene.add(1, 340), scene.add(2, 330)
        scene.policies.settle()
        result = scene.sweeps.sweep_expiry()
        assert (result.created, result.held_back, result.undated) == (1, 0, 0)
        update = scene.updates()[0]
        assert due.proved_at
        assert (update.security_domain_id, update.reason, update.state) == (
            due.security_domain_id,
            UpdateReason.EXPIRY,
            UpdateState.PENDING,
        )
        assert (update.due_at, update.deadline) == (due.proved_at + YEAR - LEAD, due.proved_at + YEAR)
        assert update.id[14] == "7" or isinstance(scene.store, MemoryStore)
        assert scene.sweeps.sweep_expiry().created == 0
        scene.clock.move(days=10)
        assert scene.sweeps.sweep_expiry().created == 1
        assert scene.updates()[-1].security_domain_id == later.security_domain_id

    @pytest.mark.parametrize(
        "changes",
        [
            {"card_state": CardState.QUARANTINED},
            {"card_state": CardState.RETIRED},
            {"domain_state": DomainState.HANDED_OVER},
            {"domain_state": DomainState.DELETED},
            {"domain_managed_by": "somebody"},
            {"set_state": KeyState.DEACTIVATED},
            {"set_state": KeyState.COMPROMISED},
            {"set_delivery": Delivery.PLANNED},
            {"set_purpose": None},
        ],
        ids=lambda changes: "-".join(f"{name}-{value}" for name, value in changes.items()),
    )
    def test_what_is_not_ours_to_replace_is_left_alone(self, scene: Scene, changes: dict[str, Any]) -> None:
        scene.add(1, 400, **changes)
        scene.apply(build_policy())
        assert scene.sweeps.sweep_expiry().created == 0

    @pytest.mark.parametrize("proved_at", [None, NOW.replace(year=1970)], ids=["missing", "zero"])
    def test_a_set_without_a_time_of_proof_stops_and_asks(self, scene: Scene, proved_at: datetime | None) -> None:
        item = scene.add(1, 0, set_proved_at=proved_at)
        assert scene.policies.plan([build_policy()], whole=True).undated == 1
        scene.apply(build_policy())
        result = scene.sweeps.sweep_expiry()
        assert (result.created, result.undated) == (0, 1)
        assert [found.key_set_id for found in scene.policies.list_undated()] == [item.id]
        assert "1 key sets in force have no due date" in scene.alarms()[UNDATED].text
        scene.save(replace(scene.get(item), state=KeyState.DEACTIVATED))
        scene.sweeps.sweep_expiry()
        assert UNDATED not in scene.alarms()

    def test_an_open_update_of_any_kind_is_enough(self, scene: Scene) -> None:
        scene.apply(build_policy())
        due = scene.add(1, 400)
        forced = KeyUpdate(
            build_id(77), due.security_domain_id, UpdateReason.FORCED, UpdateState.RUNNING, NOW, "cli:officer", NOW
        )
        with scene.store.transaction() as tx:
            tx.key_updates.add(forced)
        scene.policies.settle()
        assert scene.sweeps.sweep_expiry().created == 0
        scene.end(forced, UpdateState.DONE)
        assert scene.sweeps.sweep_expiry().created == 1

    @pytest.mark.parametrize("state", [UpdateState.FAILED, UpdateState.CANCELLED])
    def test_a_given_up_update_is_asked_for_again_after_a_while(self, scene: Scene, state: UpdateState) -> None:
        scene.add(1, 400)
        scene.apply(build_policy(retry_after_days=2), expected=1)
        assert scene.sweeps.sweep_expiry().created == 1
        scene.end(scene.updates()[0], state)
        scene.clock.move(days=2, minutes=-1)
        assert scene.sweeps.sweep_expiry().created == 0
        scene.clock.move(minutes=2)
        assert scene.sweeps.sweep_expiry().created == 1

    def test_caps_of_a_run_and_of_a_day_are_kept(self, scene: Scene) -> None:
        for number in range(1, 11):
            scene.add(number, 340 + number)
        scene.apply(build_policy(max_per_run=3, max_per_day=5), expected=10)
        first, second, third = (scene.sweeps.sweep_expiry().policies[0] for _ in range(3))
        assert (first.created, first.held_back, first.why) == (3, 7, "max_per_run")
        assert (second.created, second.held_back, second.why) == (2, 5, "max_per_day")
        assert (third.created, third.held_back) == (0, 5)
        assert min(item.due_at for item in scene.updates()) == NOW - timedelta(days=350) + YEAR - LEAD
        scene.clock.move(days=1)
        assert [scene.sweeps.sweep_expiry().created for _ in range(3)] == [3, 2, 0]

    def test_outside_of_the_window_everything_waits(self, scene: Scene) -> None:
        scene.add(1, 400)
        window = Window((Weekday.TUESDAY,), 6, 8)  # NOW is a Monday
        scene.apply(build_policy(window=window), expected=1)
        result = scene.sweeps.sweep_expiry().policies[0]
        assert (result.created, result.held_back, result.why) == (0, 1, "outside of the working window")
        scene.clock.move(hours=18)
        assert scene.sweeps.sweep_expiry().created == 1

    def test_outside_of_the_policy_s_dates_everything_waits(self, scene: Scene) -> None:
        scene.add(1, 400)
        scene.apply(build_policy(valid_until=NOW), expected=1)
        result = scene.sweeps.sweep_expiry().policies[0]
        assert (result.created, result.held_back) == (0, 1)

    def test_many_are_asked_for_in_batches(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("kms.service.sweeps.BATCH", 3)
        for number in range(1, 12):
            scene.add(number, 340 + number % 4)
        scene.apply(build_policy(), expected=11)
        assert scene.sweeps.sweep_expiry().created == 11
        assert len({item.security_domain_id for item in scene.updates()}) == 11

    def test_two_sweeps_at_once_ask_for_nothing_twice_and_keep_the_cap(self, scene: Scene) -> None:
        for number in range(1, 31):
            scene.add(number, 350)
        scene.apply(build_policy(max_per_run=20, max_per_day=20), expected=30)
        created: list[int] = []
        services = [
            SweepService(
                store=scene.store, clock=scene.clock, identifiers=CountingIdentifiers(10_000 * n), platform="issuer"
            )
            for n in (60, 70)
        ]
        threads = [
            threading.Thread(target=lambda it=item: created.append(it.sweep_expiry().created)) for item in services
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(created) == 20
        assert len({item.security_domain_id for item in scene.updates()}) == 20

    def test_a_node_without_the_lease_asks_for_nothing(self, scene: Scene) -> None:
        scene.add(1, 350)
        scene.apply(build_policy(), expected=1)
        keeper = LeaseKeeper(store=scene.store, holder="node-1", seconds=30)
        fenced = FencedStore(scene.store, keeper)
        sweeps = SweepService(store=fenced, clock=scene.clock, identifiers=scene.identifiers, platform="issuer")
        with pytest.raises(KmsError) as error:
            sweeps.sweep_expiry()
        assert error.value.code is Code.LEASE_LOST
        assert not scene.updates()
        assert keeper.keep()
        assert sweeps.sweep_expiry().created == 1

    def test_in_recovery_nothing_is_asked_for_and_nothing_applied(self, scene: Scene) -> None:
        scene.add(1, 350)
        scene.apply(build_policy(), expected=1)
        state = PlatformState(STATE_ID, PlatformCondition.RECOVERY, NOW, "recovery", "an older database")
        with scene.store.transaction() as tx:
            tx.platform_state.add(state)
        for work in (scene.sweeps.sweep_expiry, lambda: scene.apply(build_policy(lead_days=20))):
            with pytest.raises(KmsError) as error:
                work()
            assert error.value.code is Code.RECOVERY
        assert not scene.updates()


class TestNotices:
    def test_each_threshold_is_told_once_and_the_shortest_alone(self, scene: Scene) -> None:
        for number, age in enumerate((364.5, 360, 340, 300), start=1):
            scene.add(number, age)
        scene.apply(build_policy(), expected=3)
        notices = scene.sweeps.give_notices()
        assert [(item.days, item.key_sets) for item in notices] == [(1, 1), (7, 1), (30, 1)]
        assert scene.alarms()[ENDING].severity == "critical"
        assert not scene.sweeps.give_notices()
        scene.clock.move(days=4)
        assert [(item.days, item.key_sets) for item in scene.sweeps.give_notices()] == [(1, 1)]

    def test_the_alarm_is_over_when_all_are_replaced(self, scene: Scene) -> None:
        item = scene.add(1, 350)
        scene.apply(build_policy(), expected=1)
        scene.sweeps.give_notices()
        assert "1 key sets of policy ssd" in scene.alarms()[ENDING].text
        scene.save(replace(scene.get(item), state=KeyState.DEACTIVATED, delivery=Delivery.REPLACED))
        scene.sweeps.give_notices()
        assert ENDING not in scene.alarms()


class TestExplaining:
    def test_each_case_says_why(self, scene: Scene) -> None:
        scene.apply(build_policy())
        sets = [scene.add(1, 350), scene.add(2, 10), scene.add(3, 0, set_proved_at=None)]
        scene.add(4, 0, card_state=CardState.QUARANTINED)
        scene.policies.settle()
        aid = b"\xa0\x00\x00\x01\x51\x01"
        found = [scene.policies.explain(build_card(number).identity, aid) for number in (1, 2, 3, 4)]
        assert [item.verdict for item in found] == ["due", "not-due", "unknown", "not-served"]
        assert found[0].key_set_id == sets[0].id
        assert found[0].policy == "ssd"
        assert "next sweep" in found[0].next
        assert "never taken for due" in " ".join(found[2].why)
        scene.sweeps.sweep_expiry()
        opened = scene.policies.explain(build_card(1).identity, aid)
        assert (opened.verdict, opened.update_id) == ("open", scene.updates()[0].id)
        with pytest.raises(KmsError) as error:
            scene.policies.explain(b"\x01", aid)
        assert error.value.code is Code.NOT_FOUND

    def test_past_its_end_it_says_what_the_grace_allows(self, scene: Scene) -> None:
        scene.add(1, 370)
        scene.add(2, 380)
        scene.apply(build_policy(grace_days=10), expected=2)
        aid = b"\xa0\x00\x00\x01\x51\x01"
        words = [" ".join(scene.policies.explain(build_card(number).identity, aid).why) for number in (1, 2)]
        assert "may open the channel for its own replacement" in words[0]
        assert "past its grace: officers decide" in words[1]


def test_without_a_policy_nothing_is_served(scene: Scene) -> None:
    with pytest.raises(KmsError, match="kms policies apply") as error:
        scene.policies.check_in_force()
    assert error.value.code is Code.NOT_READY
    scene.apply(build_policy())
    scene.policies.check_in_force()


def test_a_security_domain_is_owed_one_update_at_a_time(scene: Scene) -> None:
    item = scene.add(1, 0)
    update = KeyUpdate(
        build_id(77), item.security_domain_id, UpdateReason.FORCED, UpdateState.PENDING, NOW, "cli:officer", NOW
    )
    with scene.store.transaction() as tx:
        tx.key_updates.add(update)
    with pytest.raises(KmsError) as error, scene.store.transaction() as tx:
        tx.key_updates.add(replace(update, id=build_id(78)))
    assert error.value.code is Code.VISIT_CONFLICT
