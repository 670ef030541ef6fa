"""Why a security domain's keys are due or not, when, and what would happen: in words and as values."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kms.card.keys import DerivationPurpose
from kms.domain.cards import Card, CardState, DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState
from kms.domain.policies import PolicyVersion
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateState
from kms.errors import Code, KmsError
from kms.service.ports import Transaction


@dataclass(frozen=True)
class Explanation:
    """`verdict`: `due`, `not-due`, `open` (an update is asked for already), `unknown` or `not-served`.

    `why`: one sentence each, in order. `next`: what happens next, and when. `notices`: when notice is given, if the set
    is still there. `policy`, `version`: of the policy that holds; empty and 0 for none.
    """

    card: bytes
    aid: bytes
    verdict: str
    why: tuple[str, ...]
    next: str
    policy: str = ""
    version: int = 0
    key_set_id: str = ""
    proved_at: datetime | None = None
    rotate_at: datetime | None = None
    expires_at: datetime | None = None
    grace_until: datetime | None = None
    notices: tuple[datetime, ...] = ()
    update_id: str = ""


def explain(tx: Transaction, identity: bytes, aid: bytes, *, platform: str, now: datetime) -> Explanation:
    """Explain one security domain. Raises `input.not-found`."""
    card = tx.cards.find_by_identity(identity)
    domain = None if card is None else tx.security_domains.find_by_aid(card.id, aid)
    if card is None or domain is None:
        raise KmsError(Code.NOT_FOUND, "No security domain with this AID is on record for a card of this identity.")
    version = tx.policies.load_book().find(domain.kind, domain.aid, domain.managed_by, card.batch)
    sets = [item for item in tx.key_sets.list_for_domain(domain.id) if _is_in_force(item)]
    updates = tx.key_updates.list_for_domain(domain.id)
    asked = 0 if version is None else tx.policies.count_asked(version.name, f"{now.astimezone(UTC):%Y-%m-%d}")
    case = _Case(card, domain, platform, now, version, sets[-1] if sets else None, tuple(updates), asked)
    return case.explain()


@dataclass(frozen=True)
class _Case:
    """All that bears on one security domain. `asked`: updates that its policy asked for today."""

    card: Card
    domain: SecurityDomain
    platform: str
    now: datetime
    version: PolicyVersion | None
    key_set: KeySet | None
    updates: tuple[KeyUpdate, ...]
    asked: int

    def explain(self) -> Explanation:
        verdict, why, following = self._judge()
        policy = self.version.policy if self.version else None
        expires_at = self.key_set.expires_at if self.key_set else None
        open_update = self._find_open()
        return Explanation(
            card=self.card.identity,
            aid=self.domain.aid,
            verdict=verdict,
            why=tuple(why),
            next=following,
            policy=self.version.name if self.version else "",
            version=self.version.version if self.version else 0,
            key_set_id=self.key_set.id if self.key_set else "",
            proved_at=self.key_set.proved_at if self.key_set else None,
            rotate_at=self.key_set.rotate_at if self.key_set else None,
            expires_at=expires_at,
            grace_until=expires_at + timedelta(days=policy.grace_days) if policy and expires_at else None,
            notices=tuple(expires_at - timedelta(days=day) for day in policy.notice_days)
            if policy and expires_at
            else (),
            update_id=open_update.id if open_update else "",
        )

    def _judge(self) -> tuple[str, list[str], str]:
        stop = self._find_stop()
        if stop is not None:
            return "not-served", [stop], "Nothing is asked for."
        if self.key_set is None:
            return "not-served", ["No key set of ours is in force there."], "Nothing is asked for."
        if (update := self._find_open()) is not None:
            text = f"A {update.reason} update is {update.state}, asked for at {_tell(update.requested_at)}."
            return "open", [text, *self._tell_end()], "The keys are replaced when the card is next presented."
        why = list(self._tell_dates())
        rotate_at = self.key_set.rotate_at
        if self.version is None or rotate_at is None:
            return "unknown", why, "Nothing is asked for until officers decide: force an update, or apply a policy."
        if rotate_at > self.now:
            return "not-due", why, f"An expiry update is asked for from {_tell(rotate_at)} on."
        held = list(self._tell_bounds())
        following = "The next sweep asks for an expiry update." if not held else "It is held back for now."
        return "due", [*why, *self._tell_end(), *held], following

    def _find_stop(self) -> str | None:
        if self.domain.managed_by != self.platform:
            return f"The platform {self.domain.managed_by} manages this security domain."
        if self.card.state is not CardState.ENROLLED:
            return f"The card is {self.card.state}."
        if self.domain.state is not DomainState.KEYED:
            return f"The security domain is {self.domain.state} and holds no operative keys."
        return None

    def _find_open(self) -> KeyUpdate | None:
        return next((item for item in self.updates if item.state in OPEN_STATES), None)

    def _tell_dates(self) -> Iterator[str]:
        assert self.key_set is not None  # noqa: S101 - judged before
        if self.version is None:
            yield "No policy in force is for this security domain."
            return
        policy = self.version.policy
        yield f"Policy {policy.name}, version {self.version.version}, is the narrowest that holds here."
        if self.key_set.proved_at is None or self.key_set.rotate_at is None or self.key_set.expires_at is None:
            yield "Nobody knows when the key set in force was put in: that is never taken for due."
            return
        yield f"The key set was proved at {_tell(self.key_set.proved_at)} and lives {policy.cryptoperiod_days} days."
        yield (
            f"It ends at {_tell(self.key_set.expires_at)}; the lead time of {policy.lead_days} days and its place in "
            f"the spread of {policy.jitter_days} days make it due at {_tell(self.key_set.rotate_at)}."
        )

    def _tell_end(self) -> Iterator[str]:
        """What a set past its end may still do (SP 800-57 part 1 section 5.3: it protects nothing new)."""
        end = self.key_set.expires_at if self.key_set else None
        if end is None or end > self.now:
            return
        grace = end + timedelta(days=self.version.policy.grace_days if self.version else 0)
        if self.now < grace:
            yield f"The set is past its end; until {_tell(grace)} it may open the channel for its own replacement."
        else:
            yield f"The set is past its end and, since {_tell(grace)}, past its grace: officers decide."

    def _tell_bounds(self) -> Iterator[str]:
        """What holds a due set back."""
        if self.version is None:
            return
        policy = self.version.policy
        if not policy.is_valid_at(self.now):
            yield "The policy does not allow unattended updates at this date (valid_from, valid_until)."
        if self.now not in policy.window:
            yield "The working window is closed."
        if self.asked >= policy.max_per_day:
            yield f"The policy asked for {self.asked} updates today, as many as it may."
        since = self.now - timedelta(days=policy.retry_after_days)
        for update in self.updates[-1:]:
            if update.state in (UpdateState.FAILED, UpdateState.CANCELLED) and (update.finished_at or since) > since:
                wait = f"{policy.retry_after_days} days pass before the next is asked for"
                yield f"The last update is {update.state}: {wait}."


def _is_in_force(item: KeySet) -> bool:
    operative = item.purpose in (DerivationPurpose.ISD, DerivationPurpose.SSD)
    return operative and item.state is KeyState.ACTIVE and item.delivery is Delivery.PROVED


def _tell(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
