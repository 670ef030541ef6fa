"""What follows when a card cryptogram fits no known key set (DESIGN section 3).

Rules: it is never answered with EXTERNAL AUTHENTICATE. Repeated at one terminal it suspends the terminal; a card is
quarantined only when it happened at more than one. Officers decide what comes after.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from kms.domain.cards import CardState
from kms.domain.visits import BreakCode, Terminal, TerminalState, Visit
from kms.service.settling import Settling

SUSPEND_AFTER = 3  # visits with a mismatch at one terminal since it was last trusted


@dataclass(frozen=True)
class EarlierMismatches:
    """Visits in which a cryptogram fitted nothing: `at_terminal` of any card, `of_card` at any terminal."""

    at_terminal: tuple[Visit, ...]
    of_card: tuple[Visit, ...]


def judge_mismatch(settling: Settling, terminal: Terminal, visit: Visit, earlier: EarlierMismatches) -> str:
    """Record the mismatch; suspend the terminal or quarantine the card where the evidence says so. Returns the text."""
    record = settling.record
    settling.log(
        "card.mismatch", f"terminal {terminal.name}", "refused", detail="card cryptogram fits no known key set"
    )
    terminals = {item.terminal_id for item in earlier.of_card} | {terminal.id}
    if len(terminals) > 1:
        reason = f"its cryptogram fitted no known key set at {len(terminals)} terminals"
        aside = replace(
            record.card, state=CardState.QUARANTINED, quarantine_reason=reason, quarantine_code=BreakCode.MISMATCH
        )
        record.save(aside)
        settling.log("card.quarantine", "card", "quarantined", detail=f"{BreakCode.MISMATCH}: {reason}")
        settling.alarm("card.quarantined", f"card {record.card.identity.hex().upper()}", reason)
        return "the card's keys are not the ones on record; the card is set aside"
    visits = {item.id for item in earlier.at_terminal} | {visit.id}
    if len(visits) >= SUSPEND_AFTER and terminal.state is TerminalState.ENROLLED:
        reason = f"card cryptograms fitted no known key set in {len(visits)} visits"
        record.save(replace(terminal, state=TerminalState.SUSPENDED, reason=reason))
        settling.log("terminal.suspend", f"terminal {terminal.name}", "suspended", detail=reason)
        settling.alarm("terminal.suspended", f"terminal {terminal.name}", reason)
        return "card cryptograms at this terminal do not verify; the terminal is suspended"
    return "the card's keys are not the ones on record"


def trusted_since(enrolled_at: datetime, *later: datetime | None) -> datetime:
    """From when on mismatches count: a proof or an officer's word makes what came before it void."""
    return max([enrolled_at, *(item for item in later if item is not None)])
