"""Policies: putting them in force, their history, and why a security domain's keys are due.

Rules: what is applied becomes a new version and the one before stays on record. Before anything is written it is
counted how many key sets would become due, and who applies names the number that must become due at once: nothing is
written for any other. Then the dates of all key sets in force are brought in line, batch by batch; a run that was cut
off is finished by the next sweep.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from kms.domain.audit import AuditEvent
from kms.domain.policies import Policy, PolicyBook, PolicyState, PolicyVersion, find_ambiguities
from kms.errors import Code, KmsError
from kms.service.policy_explain import Explanation, explain
from kms.service.policy_ports import Batch, Reach, Undated, build_reaches
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.recovery import check_normal

T = TypeVar("T")
Progress = Callable[[int, int], None]
BATCH = 10_000  # key sets a transaction
HORIZONS = (0, 7, 30)  # days
_ATTEMPTS = 5


@dataclass(frozen=True)
class PolicyChange:
    """What applying does to one policy. `change`: `new`, `changed`, `unchanged` or `ended`; `version`: after it."""

    name: str
    change: str
    version: int


@dataclass(frozen=True)
class PolicyPlan:
    """What applying would do. `due_now`, `due_7_days`, `due_30_days`: key sets that become due until then by it alone.

    `undated`: key sets in force that have no due date before it.
    """

    changes: tuple[PolicyChange, ...]
    due_now: int
    due_7_days: int
    due_30_days: int
    undated: int

    @property
    def changes_nothing(self) -> bool:
        """Whether all policies are in force as they are."""
        return all(item.change == "unchanged" for item in self.changes)


@dataclass(frozen=True)
class Applied:
    """What was done. `settled`: key sets that have other dates now."""

    plan: PolicyPlan
    settled: int


class PolicyService:
    """The use cases of policies. `platform`: this one's name."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers, platform: str) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._platform = platform

    def plan(self, policies: Sequence[Policy], *, whole: bool) -> PolicyPlan:
        """Say what applying would do, and change nothing. Raises as `apply`, `expected` apart."""
        with self._store.reading() as tx:
            return self._plan(tx, self._draft(tx, policies, whole=whole, actor=""))

    def apply(
        self,
        policies: Sequence[Policy],
        *,
        whole: bool,
        expected: int,
        actor: str,
        progress: Progress = lambda done, of: None,  # noqa: ARG005 - nobody listens
    ) -> Applied:
        """Put policies in force. `whole`: these and no others; else the others stay.

        `expected`: how many key sets must become due at once by it. Raises `input.conflict` where another number would,
        or somebody else applied meanwhile; `input.invalid` for classes between which nobody could decide.
        """
        with self._store.transaction() as tx:
            check_normal(tx, "Applying policies")
            draft = self._draft(tx, policies, whole=whole, actor=actor)
            plan = self._plan(tx, draft)
            if plan.due_now != expected:
                text = (
                    f"By these policies {plan.due_now} key sets would become due at once, not {expected}; nothing was "
                    f"changed. Look at them and say --expect {plan.due_now}."
                )
                raise KmsError(Code.CONFLICT, text)
            if not plan.changes_nothing:
                self._write(tx, draft, plan, actor)
        return Applied(plan, self.settle_if_needed() if plan.changes_nothing else self.settle(progress))

    def settle(self, progress: Progress = lambda done, of: None) -> int:  # noqa: ARG005 - nobody listens
        """Bring the dates of all key sets in force in line with the policies; how many changed. May be repeated."""
        with self._store.transaction() as tx:
            reaches = build_reaches(tx.policies.load_book())
        changed = 0
        for number, reach in enumerate(reaches):
            progress(number, len(reaches))
            place: str | None = ""
            while place is not None:
                batch = self._settle_batch(reach, place)
                changed += batch.rows
                place = batch.next
        while released := repeat_overtaken(self._store, lambda tx: tx.sweeps.release_ended(BATCH)):
            changed += released
        now = self._clock.now()
        for reach in reaches:
            self._mark_settled(reach.version, now)
        progress(len(reaches), len(reaches))
        return changed

    def settle_if_needed(self) -> int:
        """`settle` where a run was cut off, or a key set was proved by a version that ended meanwhile."""
        with self._store.transaction() as tx:
            book = tx.policies.load_book()
            if all(item.settled_at for item in book.versions) and tx.sweeps.is_settled():
                return 0
        return self.settle()

    def list(self) -> Sequence[PolicyVersion]:
        """The policies in force."""
        with self._store.reading() as tx:
            return tx.policies.load_book().versions

    def history(self, name: str) -> Sequence[PolicyVersion]:
        """All versions of a policy, the newest first. Raises `input.not-found`."""
        with self._store.reading() as tx:
            versions = tx.policies.list_versions(name)
        if not versions:
            raise KmsError(Code.NOT_FOUND, "There never was a policy of this name: `kms policies list`.")
        return versions

    def list_undated(self, *, limit: int = 100, offset: int = 0) -> Sequence[Undated]:
        """Key sets in force whose due date nobody knows, oldest first."""
        with self._store.reading() as tx:
            return tx.sweeps.list_undated(self._platform, limit=limit, offset=offset)

    def explain(self, identity: bytes, aid: bytes) -> Explanation:
        """Say why a security domain's keys are due or not, and what happens next. Raises `input.not-found`."""
        with self._store.reading() as tx:
            return explain(tx, identity, aid, platform=self._platform, now=self._clock.now())

    def check_in_force(self) -> None:
        """Raise `platform.not-ready` unless a policy is in force."""
        with self._store.reading() as tx:
            if not tx.policies.load_book().versions:
                text = "No policy is in force: `kms policies apply config/policies`"
                raise KmsError(Code.NOT_READY, text)

    def _draft(self, tx: Transaction, policies: Sequence[Policy], *, whole: bool, actor: str) -> "_Draft":
        """What the book would be."""
        before = {item.name: item for item in tx.policies.load_book().versions}
        after = {} if whole else dict(before)
        for policy in policies:
            old = before.get(policy.name)
            unchanged = old is not None and old.policy == policy
            after[policy.name] = old if old is not None and unchanged else self._next(tx, policy, actor)
        if faults := tuple(find_ambiguities(item.policy for item in after.values())):
            raise KmsError(Code.INPUT_INVALID, "Nobody could say which of these policies holds", faults=faults)
        ended = tuple(item for name, item in before.items() if name not in after)
        return _Draft(before, PolicyBook(tuple(after[name] for name in sorted(after))), ended)

    def _next(self, tx: Transaction, policy: Policy, actor: str) -> PolicyVersion:
        versions = tx.policies.list_versions(policy.name)
        number = versions[0].version + 1 if versions else 1
        return PolicyVersion(
            id=self._identifiers.new(),
            name=policy.name,
            version=number,
            state=PolicyState.IN_FORCE,
            policy=policy,
            applied_at=self._clock.now(),
            applied_by=actor,
        )

    def _plan(self, tx: Transaction, draft: "_Draft") -> PolicyPlan:
        now = self._clock.now()
        reaches = build_reaches(draft.book)
        untils = [now + timedelta(days=days) for days in HORIZONS]
        counts = [tx.sweeps.count_coming_due(reach, self._platform, untils) for reach in reaches]
        due = [sum(column) for column in zip(*counts, strict=True)] or [0] * len(HORIZONS)
        return PolicyPlan(tuple(draft.list_changes()), due[0], due[1], due[2], tx.sweeps.count_undated(self._platform))

    def _write(self, tx: Transaction, draft: "_Draft", plan: PolicyPlan, actor: str) -> None:
        now = self._clock.now()
        for old in draft.list_over():
            tx.policies.save(replace(old, state=PolicyState.ENDED, ended_at=now))
        for change, version in zip(draft.list_changes(), draft.list_all(), strict=True):
            if change.change == "unchanged":
                # Its reach may have changed with the others: its key sets are gone through again.
                tx.policies.save(replace(version, settled_at=None))
                continue
            if change.change != "ended":
                tx.policies.add(version)
            subject = f"policy {version.name}"
            detail = f"version {version.version}; {plan.due_now} key sets due at once by all that was applied"
            event = AuditEvent(self._identifiers.new(), now, actor, "policy.apply", subject, change.change, "", detail)
            tx.audit.append(event)

    def _settle_batch(self, reach: Reach, after: str) -> Batch:
        return repeat_overtaken(self._store, lambda tx: tx.sweeps.settle(reach, after, BATCH))

    def _mark_settled(self, version: PolicyVersion, now: datetime) -> None:
        with self._store.transaction() as tx:
            stored = tx.policies.get(version.id)
            if stored.state is PolicyState.IN_FORCE:
                tx.policies.save(replace(stored, settled_at=now))


@dataclass(frozen=True)
class _Draft:
    """The policies before and after."""

    before: dict[str, PolicyVersion]
    book: PolicyBook
    ended: tuple[PolicyVersion, ...]

    def list_all(self) -> Sequence[PolicyVersion]:
        """Those in force after, then those that end."""
        return (*self.book.versions, *self.ended)

    def list_over(self) -> Iterable[PolicyVersion]:
        """Versions that are in force and will not be."""
        ids = {item.id for item in self.book.versions}
        return [item for item in self.before.values() if item.id not in ids]

    def list_changes(self) -> Iterable[PolicyChange]:
        """One for each of `list_all`."""
        for item in self.book.versions:
            old = self.before.get(item.name)
            how = "new" if old is None else "unchanged" if old.id == item.id else "changed"
            yield PolicyChange(item.name, how, item.version)
        for item in self.ended:
            yield PolicyChange(item.name, "ended", item.version)


def repeat_overtaken(store: Store, work: Callable[[Transaction], T]) -> T:
    """Do work in a transaction of its own, again while others come first. Raises `visit.conflict` in the end."""
    for _ in range(_ATTEMPTS - 1):
        try:
            with store.transaction() as tx:
                return work(tx)
        except KmsError as error:
            if error.code is not Code.VISIT_CONFLICT:
                raise
    with store.transaction() as tx:
        return work(tx)
