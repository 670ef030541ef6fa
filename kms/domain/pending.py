"""What waits for cards: their open key updates, as a terminal may know them, page by page.

Rules: the earliest due first; a page ends where the next begins (a cursor), so that no page gets slower than another. A
page may hold fewer than asked for and still have a next one: what a terminal may not serve was passed over.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime

from kms.domain.terminal_limits import NO_LIMITS, TerminalLimits
from kms.domain.updates import UpdateReason
from kms.errors import Code, KmsError


@dataclass(frozen=True)
class PendingItem:
    """One open update. `aid`: of the security domain, 5-16 bytes. `due_at`: when it should be over, UTC."""

    aid: bytes
    reason: UpdateReason
    due_at: datetime


@dataclass(frozen=True)
class PendingCard:
    """A card with open updates. `identity`: 1-32 bytes, as enrolled."""

    identity: bytes
    items: tuple[PendingItem, ...]


@dataclass(frozen=True)
class PendingCursor:
    """The place in the list after which a page begins: an update's due time and id."""

    due_at: datetime
    update_id: str


@dataclass(frozen=True)
class PendingFilter:
    """Which updates: of one security domain, for one reason, due before a time, within a terminal's limits."""

    aid: bytes | None = None
    reason: UpdateReason | None = None
    due_before: datetime | None = None
    limits: TerminalLimits = NO_LIMITS

    @property
    def is_narrow(self) -> bool:
        """Whether it passes updates over that an index by due time cannot tell."""
        return self.aid is not None or self.reason is not None or self.limits != NO_LIMITS

    def accepts(self, item: PendingItem) -> bool:
        """Whether an update is wanted, the card apart."""
        in_time = self.due_before is None or item.due_at < self.due_before
        fits = self.aid in (None, item.aid) and self.reason in (None, item.reason)
        return fits and in_time and self.limits.allows_domain(item.aid)


@dataclass(frozen=True)
class PendingRow:
    """One open update of a card in service."""

    update_id: str
    identity: bytes
    item: PendingItem


@dataclass(frozen=True)
class PendingRows:
    """A page of updates. `after`: where the next one begins, None when this is the last."""

    rows: tuple[PendingRow, ...]
    after: PendingCursor | None


@dataclass(frozen=True)
class PendingPage:
    """A page of cards, by their first update on it. `after` as in `PendingRows`; a card may be on more than one."""

    cards: tuple[PendingCard, ...]
    after: PendingCursor | None


def group_by_card(rows: tuple[PendingRow, ...]) -> tuple[PendingCard, ...]:
    """Put the updates of each card together, in the order of its first."""
    items: dict[bytes, list[PendingItem]] = {}
    for row in rows:
        items.setdefault(row.identity, []).append(row.item)
    return tuple(PendingCard(identity, tuple(found)) for identity, found in items.items())


def build_cursor(cursor: PendingCursor) -> str:
    """Write a cursor as text that says nothing to who carries it: URL-safe base64, without padding."""
    text = f"{cursor.due_at.astimezone(UTC).isoformat()} {cursor.update_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_cursor(text: str) -> PendingCursor:
    """Read it back. Raises `input.invalid` for anything else."""
    try:
        due_at, update_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii").split(" ")
        cursor = PendingCursor(datetime.fromisoformat(due_at).astimezone(UTC), update_id)
    except (ValueError, binascii.Error) as error:
        raise KmsError(Code.INPUT_INVALID, "The cursor is none of ours: begin the list anew.") from error
    if len(update_id) != 36:
        raise KmsError(Code.INPUT_INVALID, "The cursor is none of ours: begin the list anew.")
    return cursor
