"""Policies to test with, and the fake of the statements over all key sets, one key set at a time.

Rules: the fake is written from `kms/service/policy_ports.py` and from the policy's own arithmetic, so that the SQL of
the real one is compared with Python.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kms.card.keys import DerivationPurpose
from kms.domain.cards import Card, CardState, DomainKind, DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState
from kms.domain.policies import Policy, PolicyBook, PolicyClass, PolicyState, PolicyVersion
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateReason, UpdateState
from kms.service.policy_ports import Asking, Batch, Reach, Undated
from kms.service.ports import Store

APPLIED_AT = datetime(2026, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
GIVEN_UP = (UpdateState.FAILED, UpdateState.CANCELLED)


def build_policy(name: str = "ssd", **changes: Any) -> Policy:  # noqa: ANN401 - any field of the policy
    """A policy for all SSDs: a year, due 30 days before its end."""
    fields: dict[str, Any] = {
        "applies_to": PolicyClass(DomainKind.SSD),
        "cryptoperiod_days": 365,
        "lead_days": 30,
    } | changes
    return Policy(name=name, **fields)


def build_version(number: int = 1, policy: Policy | None = None, **changes: Any) -> PolicyVersion:  # noqa: ANN401 - any field
    """The first version of a policy, in force."""
    policy = policy or build_policy()
    version = PolicyVersion(
        id=f"00000000-0000-7000-8000-{20_000 + number:012d}",
        name=policy.name,
        version=1,
        state=PolicyState.IN_FORCE,
        policy=policy,
        applied_at=APPLIED_AT,
        applied_by="cli:officer",
        settled_at=APPLIED_AT,
    )
    return replace(version, **changes)


def put_in_force(store: Store) -> None:
    """Put a policy for ISDs and one for SSDs in force, as every installation has them: a year each."""
    isd = build_policy("isd", applies_to=PolicyClass(DomainKind.ISD))
    with store.transaction() as tx:
        tx.policies.add(build_version(1, isd))
        tx.policies.add(build_version(2, build_policy("ssd")))


class MemoryPolicies:
    """`kms.service.policy_ports.PolicyRepository` over a repository of versions."""

    def __init__(self, versions: Any, days: dict[tuple[str, str], int]) -> None:  # noqa: ANN401 - the store's repository
        self._versions = versions
        self._days = days
        self.add = versions.add
        self.get = versions.get
        self.save = versions.save

    def load_book(self) -> PolicyBook:
        in_force = (item for item in self._versions.list(limit=1000) if item.state is PolicyState.IN_FORCE)
        return PolicyBook(tuple(sorted(in_force, key=lambda item: item.name)))

    def list_versions(self, name: str) -> Sequence[PolicyVersion]:
        mine = [item for item in self._versions.list(limit=1000) if item.name == name]
        return sorted(mine, key=lambda item: -item.version)

    def count_asked(self, name: str, day: str) -> int:
        return self._days.get((name, day), 0)

    def add_asked(self, name: str, day: str, count: int) -> None:
        self._days[name, day] = self.count_asked(name, day) + count


class MemorySweeps:
    """`kms.service.policy_ports.Sweeps`. `tables`: of the memory store; `new_id`: for updates."""

    def __init__(self, tables: Any, new_id: Callable[[], str]) -> None:  # noqa: ANN401 - the store's tables
        self._tables = tables
        self._new_id = new_id

    def count_coming_due(self, reach: Reach, platform: str, untils: Sequence[datetime]) -> Sequence[int]:
        served = [
            (item.rotate_at, _date(item, reach.version).rotate_at)
            for item, domain, card in self._reached(reach)
            if self._is_served(domain, card, platform)
        ]
        return [
            sum(new is not None and new <= until and not (old and old <= until) for old, new in served)
            for until in untils
        ]

    def settle(self, reach: Reach, after: str, limit: int) -> Batch:
        ids = sorted(item.id for item, _, _ in self._in_force() if item.id > after)
        last = ids[limit - 1] if len(ids) >= limit else None
        rows = 0
        for item, _, _ in self._reached(reach):
            if after < item.id <= (last or item.id) and item.policy_id != reach.version.id:
                dated = _date(item, reach.version)
                noticed = item.noticed_days if dated.expires_at == item.expires_at else None
                self._tables.key_sets[item.id] = replace(dated, noticed_days=noticed)
                rows += 1
        return Batch(rows, last)

    def release_ended(self, limit: int) -> int:
        found = self._following_ended()[:limit]
        for item in found:
            gone = replace(item, policy_id=None, rotate_at=None, noticed_days=None)
            self._tables.key_sets[item.id] = gone
        return len(found)

    def is_settled(self) -> bool:
        return not self._following_ended()

    def ask_expiry(self, asking: Asking, now: datetime, after: str, scan: int, limit: int) -> Batch:
        due = sorted((item for item, _, _ in self._due(asking)), key=_get_place)
        due = [item for item in due if not after or _get_place(item) > _parse_place(after)]
        last = due[scan - 1] if len(due) >= scan else None
        asked = [item for item in due[:scan] if self._is_askable(item, asking)][:limit]
        for item in asked:
            update = KeyUpdate(
                id=self._new_id(),
                security_domain_id=item.security_domain_id,
                reason=UpdateReason.EXPIRY,
                state=UpdateState.PENDING,
                requested_at=now,
                requested_by=asking.requested_by,
                due_at=item.rotate_at or now,
                deadline=item.expires_at,
            )
            self._tables.key_updates[update.id] = update
        place = None if last is None else f"{last.rotate_at} {last.id}"
        return Batch(len(asked), place)

    def count_waiting(self, asking: Asking) -> int:
        return sum(self._is_askable(item, asking) for item, _, _ in self._due(asking))

    def give_notice(self, version: PolicyVersion, platform: str, days: int, now: datetime, limit: int) -> int:
        fresh = [item for item in self._ending(version, platform, days, now) if (item.noticed_days or days + 1) > days]
        for item in fresh[:limit]:
            self._tables.key_sets[item.id] = replace(item, noticed_days=days)
        return len(fresh[:limit])

    def count_noticed(self, version: PolicyVersion, platform: str, days: int, now: datetime) -> int:
        return sum(item.noticed_days is not None for item in self._ending(version, platform, days, now))

    def count_undated(self, platform: str) -> int:
        return len(self.list_undated(platform, limit=1_000_000))

    def list_undated(self, platform: str, *, limit: int = 100, offset: int = 0) -> Sequence[Undated]:
        found = [
            Undated(item.id, card.identity, domain.aid, item.proved_at)
            for item, domain, card in sorted(self._in_force(), key=lambda found: found[0].id)
            if self._is_served(domain, card, platform)
            and item.rotate_at is None
            and item.purpose in (DerivationPurpose.ISD, DerivationPurpose.SSD)
        ]
        return found[offset : offset + limit]

    def _in_force(self) -> Iterator[tuple[KeySet, SecurityDomain, Card]]:
        for item in list(self._tables.key_sets.values()):
            if item.state is KeyState.ACTIVE and item.delivery is Delivery.PROVED:
                domain = self._tables.security_domains[item.security_domain_id]
                yield item, domain, self._tables.cards[domain.card_id]

    def _reached(self, reach: Reach) -> Iterator[tuple[KeySet, SecurityDomain, Card]]:
        for item, domain, card in self._in_force():
            where = (domain.kind, domain.aid, domain.managed_by, card.batch)
            fits = reach.version.policy.applies_to.holds(*where) and not any(x.holds(*where) for x in reach.inner)
            if fits and item.purpose is not None and item.proved_at is not None and item.proved_at >= EARLIEST:
                yield item, domain, card

    def _is_served(self, domain: SecurityDomain, card: Card, platform: str) -> bool:
        mine = domain.managed_by == platform and domain.state is DomainState.KEYED
        return mine and card.state is CardState.ENROLLED

    def _due(self, asking: Asking) -> Iterator[tuple[KeySet, SecurityDomain, Card]]:
        for item, domain, card in self._in_force():
            due = item.policy_id == asking.version.id and item.rotate_at is not None and item.rotate_at <= asking.until
            if due and item.proved_at is not None and item.proved_at >= EARLIEST:
                yield item, domain, card

    def _is_askable(self, item: KeySet, asking: Asking) -> bool:
        domain = self._tables.security_domains[item.security_domain_id]
        updates = [x for x in self._tables.key_updates.values() if x.security_domain_id == domain.id]
        fresh = any(x.state in GIVEN_UP and x.finished_at and x.finished_at > asking.retry_since for x in updates)
        served = self._is_served(domain, self._tables.cards[domain.card_id], asking.platform)
        return served and not fresh and not any(x.state in OPEN_STATES for x in updates)

    def _ending(self, version: PolicyVersion, platform: str, days: int, now: datetime) -> list[KeySet]:
        return [
            item
            for item, domain, card in self._in_force()
            if self._is_served(domain, card, platform)
            and item.policy_id == version.id
            and item.rotate_at is not None
            and item.expires_at is not None
            and item.expires_at <= now + timedelta(days=days)
        ]

    def _following_ended(self) -> list[KeySet]:
        ended = {item.id for item in self._tables.policy_versions.values() if item.state is PolicyState.ENDED}
        return [item for item, _, _ in self._in_force() if item.policy_id in ended]


def _date(item: KeySet, version: PolicyVersion) -> KeySet:
    assert item.purpose is not None
    assert item.proved_at is not None
    expires_at = version.policy.find_expiry(item.purpose, item.proved_at)
    rotate_at = version.policy.find_rotation(item.id, item.purpose, expires_at)
    return replace(item, policy_id=version.id, expires_at=expires_at, rotate_at=rotate_at)


def _get_place(item: KeySet) -> tuple[datetime, str]:
    assert item.rotate_at is not None
    return item.rotate_at, item.id


def _parse_place(place: str) -> tuple[datetime, str]:
    moment, _, key_set_id = place.rpartition(" ")
    return datetime.fromisoformat(moment), key_set_id
