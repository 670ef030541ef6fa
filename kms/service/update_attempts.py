"""An update's attempts: which one a visit takes up, and what a visit that gave up leaves of it.

Rules: an update has a retry budget, its policy's (`max_attempts`), else the configuration's. Only refusals of the card
spend it to the end; what was lost, taken away or is our own fault waits for the next visit. An update whose keys may be
in force is never a failure. A failure has a stable code and a text, and raises an alarm.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kms.domain.terminal_limits import TerminalLimits
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateState
from kms.domain.visits import BreakCode
from kms.service.card_record import CardRecord
from kms.service.settling import Settling


@dataclass(frozen=True)
class Failure:
    """Why a visit gave up. `refused`: the card (or who answers for it) said no; `final`: once is too often."""

    code: BreakCode
    reason: str
    refused: bool
    final: bool


def find_next_update(record: CardRecord, limits: TerminalLimits, own_id: str | None) -> KeyUpdate | None:
    """The update to work on: the visit's own to its end, then those tried least, as the record orders them.

    So one that no visit can finish keeps no other from being done. Those of security domains that the terminal may not
    serve wait for another.
    """
    allowed: Iterable[KeyUpdate] = (
        item
        for item in record.updates.values()
        if item.state in OPEN_STATES and limits.allows_domain(record.domains[item.security_domain_id].aid)
    )
    return min(allowed, key=lambda item: (item.id != own_id, item.attempts), default=None)


def break_update(settling: Settling, update: KeyUpdate, failure: Failure, default_budget: int) -> None:
    """Record that a visit gave an open update up: it waits for the next one, or its retry budget is spent."""
    record = settling.record
    domain = record.domains[update.security_domain_id]
    version = settling.find_policy(domain)
    budget = default_budget if version is None else version.policy.max_attempts
    spent = failure.final or (failure.refused and update.attempts >= budget)
    failed = spent and not record.sets_in_doubt(domain)
    state = UpdateState.FAILED if failed else UpdateState.PENDING
    ended = replace(
        update,
        state=state,
        failure=failure.reason,
        failure_code=failure.code,
        finished_at=settling.now if failed else None,
    )
    record.save(ended)
    told = f"{failure.code}: {failure.reason}"
    settling.log("update.break", f"update {update.id}", str(state), detail=told)
    if failed:
        settling.alarm("update.failed", f"update {update.id}", told)
