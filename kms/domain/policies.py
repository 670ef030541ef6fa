"""Policies: how long the keys of a class of security domains live, when they are replaced, and within which bounds.

Rules: a policy is checked whole, every fault is told with its field. Of the policies in force whose class a security
domain falls in, the one whose class is the narrowest holds; two classes that overlap need one of them inside the other,
or a third that is exactly what both share. A key set's dates follow from its policy and the time it was proved alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations

from kms.card.keys import DerivationPurpose
from kms.domain.cards import DomainKind
from kms.domain.policy_window import Window
from kms.errors import Code, Fault, KmsError

JITTER_STEPS = 1 << 16
JITTER_DIGITS = 4  # hexadecimal digits at the end of a key set's id, which are random (RFC 9562 section 5.7)
_DAY = 86_400  # seconds
_MAX_DAYS = 3660
_MAX_AID = 16
_MAX_NAME = 64


@dataclass(frozen=True)
class PolicyClass:
    """Which security domains. `aid_prefix`: how the AID begins, 0-16 bytes. Empty `managed_by`, `batch`: any.

    `managed_by`: a platform's name. `batch`: of the card, as it was named when the card was enrolled.
    """

    kind: DomainKind
    aid_prefix: bytes = b""
    managed_by: str = ""
    batch: str = ""

    def holds(self, kind: DomainKind, aid: bytes, managed_by: str, batch: str) -> bool:
        """Whether a security domain falls in this class."""
        return (
            kind is self.kind
            and aid.startswith(self.aid_prefix)
            and self.managed_by in {"", managed_by}
            and self.batch in {"", batch}
        )

    def find_shared(self, other: "PolicyClass") -> "PolicyClass | None":
        """Find the class of what falls in both, if anything can."""
        longer, shorter = sorted((self.aid_prefix, other.aid_prefix), key=len, reverse=True)
        apart = (
            self.kind is not other.kind
            or not longer.startswith(shorter)
            or (self.managed_by and other.managed_by and self.managed_by != other.managed_by)
            or (self.batch and other.batch and self.batch != other.batch)
        )
        if apart:
            return None
        return PolicyClass(self.kind, longer, self.managed_by or other.managed_by, self.batch or other.batch)

    @property
    def narrowness(self) -> int:
        """Greater for a class than for any other that it lies in."""
        return len(self.aid_prefix) + bool(self.managed_by) + bool(self.batch)


@dataclass(frozen=True)
class Policy:
    """One policy. Raises `input.invalid` with every fault and its field. Days are of 24 hours.

    `cryptoperiod_days`: from the proof of a key set to its end; `initial_cryptoperiod_days`: of an SSD's initial keys.
    `lead_days`: how long before its end a set becomes due; `jitter_days`: spread over so many days before that, by the
    set's id. `notice_days`: so long before the end of sets that are still there notice is given, the longest first.
    `grace_days`: how long past its end a set may open the channel for its own replacement. `max_per_run`, `max_per_day`
    (UTC): expiry updates asked for. `max_attempts`: visits after which an update fails; `quarantine_after`: failed
    updates of a card in a row after which it is set aside; `retry_after_days`: how long after a failed or cancelled
    update the next is asked for. `breaker_percent` of failures stops a campaign once `breaker_minimum` updates ended.
    `valid_from`, `valid_until`: outside of them nothing is asked for unattended.
    """

    name: str
    applies_to: PolicyClass
    cryptoperiod_days: int
    lead_days: int
    initial_cryptoperiod_days: int = 90
    jitter_days: int = 0
    notice_days: tuple[int, ...] = (30, 7, 1)
    grace_days: int = 0
    max_per_run: int = 10_000
    max_per_day: int = 100_000
    max_attempts: int = 3
    quarantine_after: int = 3
    retry_after_days: int = 1
    breaker_percent: int = 20
    breaker_minimum: int = 20
    window: Window = field(default_factory=Window)
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def __post_init__(self) -> None:
        faults = tuple(_find_faults(self))
        if faults:
            raise KmsError(Code.INPUT_INVALID, f"The policy {self.name} is not usable", faults=faults)

    def find_expiry(self, purpose: DerivationPurpose, proved_at: datetime) -> datetime:
        """When a set that was proved then ends."""
        initial = purpose is DerivationPurpose.SSD_INITIAL
        return proved_at + timedelta(days=self.initial_cryptoperiod_days if initial else self.cryptoperiod_days)

    def find_rotation(self, key_set_id: str, purpose: DerivationPurpose, expires_at: datetime) -> datetime | None:
        """When a set becomes due: the same for ever for one set. None for initial keys, which are replaced at once."""
        if purpose is DerivationPurpose.SSD_INITIAL:
            return None
        early = self.jitter_days * _DAY * int(key_set_id[-JITTER_DIGITS:], 16) // JITTER_STEPS
        return expires_at - timedelta(days=self.lead_days, seconds=early)

    def is_valid_at(self, now: datetime) -> bool:
        """Whether updates may be asked for unattended at this time, whatever the hour."""
        return (self.valid_from is None or self.valid_from <= now) and (
            self.valid_until is None or now < self.valid_until
        )


class PolicyState(StrEnum):
    """A version holds until the next one of its name, or until the policy is taken out."""

    IN_FORCE = "IN_FORCE"
    ENDED = "ENDED"


@dataclass(frozen=True)
class PolicyVersion:
    """One version of a policy, kept for ever. `version`: of this name, from 1. `applied_by`: who put it in force.

    `settled_at`: when the dates of all key sets that it concerns were brought in line with it.
    """

    id: str
    name: str
    version: int
    state: PolicyState
    policy: Policy
    applied_at: datetime
    applied_by: str
    settled_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class PolicyBook:
    """All policies in force."""

    versions: tuple[PolicyVersion, ...] = ()

    def find(self, kind: DomainKind, aid: bytes, managed_by: str, batch: str) -> PolicyVersion | None:
        """Find the policy of a security domain: that of the narrowest class it falls in."""
        fitting = (item for item in self.versions if item.policy.applies_to.holds(kind, aid, managed_by, batch))
        return max(fitting, key=lambda item: item.policy.applies_to.narrowness, default=None)

    def find_by_id(self, policy_id: str | None) -> PolicyVersion | None:
        """Find a version that is in force."""
        return next((item for item in self.versions if item.id == policy_id), None)

    def list_inner(self, version: PolicyVersion) -> Sequence[PolicyClass]:
        """The classes of other policies that lie in this one's: what falls in them is not this one's."""
        outer = version.policy.applies_to
        others = (item.policy.applies_to for item in self.versions if item.id != version.id)
        return [inner for inner in others if outer.find_shared(inner) == inner]


def find_ambiguities(policies: Iterable[Policy]) -> Iterator[Fault]:
    """Every two policies between which nobody could say which holds; `where` names the two."""
    known = list(policies)
    classes = {policy.applies_to for policy in known}
    for one, other in combinations(known, 2):
        shared = one.applies_to.find_shared(other.applies_to)
        if one.applies_to == other.applies_to:
            yield Fault(f"{one.name}, {other.name}: applies_to", "Is the same class in both: one policy a class")
        elif shared is not None and shared not in classes:
            text = "Overlap, and neither lies in the other: narrow one, or add a policy for exactly what both share"
            yield Fault(f"{one.name}, {other.name}: applies_to", text)


def _find_faults(policy: Policy) -> Iterator[Fault]:
    if not 1 <= len(policy.name) <= _MAX_NAME:
        yield Fault("name", f"Must have 1 to {_MAX_NAME} characters")
    if len(policy.applies_to.aid_prefix) > _MAX_AID:
        yield Fault("applies_to.aid_prefix", f"Must be at most {_MAX_AID} bytes long")
    for name, least, most in _LIMITS:
        if not least <= getattr(policy, name) <= most:
            yield Fault(name, f"Must be {least} to {most}")
    if policy.lead_days + policy.jitter_days >= policy.cryptoperiod_days:
        yield Fault("lead_days", "With jitter_days must be shorter than cryptoperiod_days: keys would be due at once")
    days = policy.notice_days
    if any(not 1 <= day < policy.cryptoperiod_days for day in days) or sorted(set(days), reverse=True) != list(days):
        yield Fault("notice_days", "Must be days below cryptoperiod_days, the longest first, each once")
    if policy.max_per_run > policy.max_per_day:
        yield Fault("max_per_run", "Must not be above max_per_day")
    for fault in policy.window.find_faults():
        yield Fault(f"window.{fault.where}", fault.what)
    for name in ("valid_from", "valid_until"):
        moment = getattr(policy, name)
        if moment is not None and moment.tzinfo is None:
            yield Fault(name, "Must have a time zone: 2026-01-31T00:00:00Z")
            return
    if policy.valid_from and policy.valid_until and policy.valid_from >= policy.valid_until:
        yield Fault("valid_until", "Must be after valid_from")


_LIMITS = (
    ("cryptoperiod_days", 1, _MAX_DAYS),
    ("initial_cryptoperiod_days", 1, _MAX_DAYS),
    ("lead_days", 0, _MAX_DAYS),
    ("jitter_days", 0, _MAX_DAYS),
    ("grace_days", 0, 366),
    ("max_per_run", 1, 10_000_000),
    ("max_per_day", 1, 10_000_000),
    ("max_attempts", 1, 100),
    ("quarantine_after", 1, 100),
    ("retry_after_days", 0, 366),
    ("breaker_percent", 1, 100),
    ("breaker_minimum", 1, 1_000_000),
)
