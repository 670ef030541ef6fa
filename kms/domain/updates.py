"""Key updates: the work a card is owed, one security domain at a time.

Rules: a security domain has at most one open update (the database holds to it). DONE, FAILED and CANCELLED are final. A
deadline ends nothing by itself: an open update past it is overdue, and shown as such until the card comes.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from kms.card.keys import KeyType
from kms.errors import Code, KmsError


class UpdateReason(StrEnum):
    """Why a key set is put in or replaced."""

    INITIAL = "initial"
    EXPIRY = "expiry"
    FORCED = "forced"
    COMPROMISE = "compromise"
    MASTER_ROTATION = "master-rotation"
    KEY_TYPE = "key-type"  # keys of another type (triple DES to AES)
    VENDOR_TAKEOVER = "vendor-takeover"  # the ISD from the vendor's keys to the issuer's own


class UpdateState(StrEnum):
    """PENDING -> RUNNING -> DONE; a broken visit leads back to PENDING; FAILED and CANCELLED are final.

    CANCELLED: by people, or by a compromise that asks for another update instead.
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


OPEN_STATES = frozenset({UpdateState.PENDING, UpdateState.RUNNING})


@dataclass(frozen=True)
class KeyUpdate:
    """One security domain's key replacement (or first keys). `new_key_set_id`: set once the new set is planned.

    `attempts`: visits that began it. `failure`: safe text of the last failure. `deadline`: when it is overdue; for an
    expiry the end of the key set. `key_type`: of the new keys, None: as the present ones. `past_end`: officers allowed
    it to run under a key set past its end and grace; `past_end_reason` says who and why.
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
    failure_code: str = ""
    deadline: datetime | None = None
    campaign_id: str | None = None
    key_type: KeyType | None = None
    past_end: bool = False
    past_end_reason: str = ""

    def is_overdue(self, now: datetime) -> bool:
        """Whether it is open and past its deadline."""
        return self.state in OPEN_STATES and self.deadline is not None and self.deadline <= now


def cancel_update(update: KeyUpdate, at: datetime, why: str) -> KeyUpdate:
    """The update as people cancelled it. Raises `input.conflict` for one that is finished."""
    if update.state not in OPEN_STATES:
        raise KmsError(Code.CONFLICT, f"The update is {update.state} already: nothing is left to cancel.")
    return replace(update, state=UpdateState.CANCELLED, finished_at=at, failure=why)


def allow_past_end(update: KeyUpdate, by: str, why: str) -> KeyUpdate:
    """The update with the exception that it may run under a key set past its end and grace.

    Raises `input.conflict` for one that is finished, `key.state` for a compromise, which never runs under its set.
    """
    if update.state not in OPEN_STATES:
        raise KmsError(Code.CONFLICT, f"The update is {update.state} already: force a new one first.")
    if update.reason is UpdateReason.COMPROMISE:
        raise KmsError(Code.KEY_STATE, "Compromised keys open no channel, whoever allows it.")
    return replace(update, past_end=True, past_end_reason=f"{by}: {why}")
