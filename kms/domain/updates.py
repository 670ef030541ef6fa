"""Key updates: the work a card is owed, one security domain at a time."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class UpdateReason(StrEnum):
    """Why a key set is put in or replaced."""

    INITIAL = "initial"
    EXPIRY = "expiry"
    FORCED = "forced"
    COMPROMISE = "compromise"
    MASTER_ROTATION = "master-rotation"
    VENDOR_TAKEOVER = "vendor-takeover"  # the ISD from the vendor's keys to the issuer's own


class UpdateState(StrEnum):
    """PENDING -> RUNNING -> DONE; a broken visit leads back to PENDING; FAILED and CANCELLED are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


OPEN_STATES = frozenset({UpdateState.PENDING, UpdateState.RUNNING})


@dataclass(frozen=True)
class KeyUpdate:
    """One security domain's key replacement (or first keys). `new_key_set_id`: set once the new set is planned.

    `attempts`: visits that began it. `failure`: safe text of the last failure.
    """

    id: str
    security_domain_id: str
    reason: UpdateReason
    state: UpdateState
    requested_at: datetime
    requested_by: str
    due_at: datetime
    attempts: int = 0
    new_key_set_id: str | None = None
    application_id: str | None = None
    finished_at: datetime | None = None
    failure: str = ""
