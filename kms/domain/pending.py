"""What waits for a card: the open key updates of its security domains, as a terminal may know them."""

from dataclasses import dataclass
from datetime import datetime

from kms.domain.updates import UpdateReason


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
