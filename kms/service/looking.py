"""Looking at a card before anything else is done with it: for a repair order, or because the database was restored.

Rules: a look proves by card cryptograms alone and spends no authentication attempt. For a repair it writes findings and
changes no record: an officer applies them. After a restore what is proved is recorded as in force at once, and shown
for confirmation (DESIGN section 4). Silence proves nothing: an answer that is missing is asked for again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kms.card.keys import KeyPort
from kms.card.programs.base import Evidence, Probed
from kms.card.programs.probe import Probe
from kms.domain.cards import CardState, DomainKind, DomainState, SecurityDomain
from kms.domain.keys import KeySet
from kms.domain.recovery import FindingKind, PlatformCondition, PlatformState, RepairOrder, RepairState
from kms.domain.visits import Terminal
from kms.service.adopting import adopt
from kms.service.card_record import CardRecord
from kms.service.plan import Planner, is_blind
from kms.service.probing import (
    build_findings,
    build_found_set,
    build_probe,
    own_evidence,
    parse_label,
    plan_found_set,
)
from kms.service.settling import Settling

REPAIR_TEXT = "the card was looked at for its repair; officers decide"
RECOVERY_TEXT = "the platform is in recovery: the card was looked at, and nothing else is done until officers confirm"
GONE_TEXT = "an answer of the card is missing: present it again"
SHOWN = frozenset({FindingKind.DERIVED, FindingKind.UNKNOWN})


class UnknownKeysError(Exception):
    """Inside a visit's step: the card answers, and nothing that could be its keys fits."""


@dataclass(frozen=True)
class Looking:
    """What a visit at `terminal` has to look at. `state`: the platform's condition, None while it was always normal."""

    state: PlatformState | None
    terminal: Terminal

    def find_repair(self, record: CardRecord) -> RepairOrder | None:
        """The card's open repair order, where it is meant for this terminal."""
        return record.repair if may_repair(record.repair, self.terminal) else None

    def find_next(self, record: CardRecord) -> SecurityDomain | None:
        """The security domain to look at now, the ISD first; None when there is none, or none any more."""
        mine = [item for item in record.domains.values() if item.state is not DomainState.HANDED_OVER]
        mine.sort(key=lambda item: (item.kind is not DomainKind.ISD, item.id))
        if self.find_repair(record) is not None:
            seen = {finding.security_domain_id for finding in record.findings}
            return next((item for item in mine if item.id not in seen), None)
        restored_at = self.state.restored_at if self.state is not None else None
        if restored_at is None or record.card.state is not CardState.ENROLLED:
            return None
        behind = (item for item in mine if item.looked_at is None or item.looked_at < restored_at)
        return next(behind, None)

    def find_end(self, record: CardRecord) -> str | None:
        """The text with which the visit ends once everything was looked at; None where it goes on."""
        if self.find_repair(record) is not None:
            return REPAIR_TEXT
        if self.state is not None and self.state.condition is PlatformCondition.RECOVERY:
            return RECOVERY_TEXT
        return None


def may_repair(order: RepairOrder | None, terminal: Terminal) -> bool:
    """Whether a repair order is open and meant for this terminal."""
    return order is not None and order.state is RepairState.OPEN and order.terminal_id in (None, terminal.id)


@dataclass(frozen=True)
class Look:
    """The looking of one step of a visit."""

    looking: Looking
    planner: Planner
    settling: Settling
    visit_id: str

    def begin(self) -> Probe | None:
        """The program for the next security domain; None when nothing is left to look at.

        One of which nothing could be known is passed over.
        """
        record = self.settling.record
        while (domain := self.looking.find_next(record)) is not None:
            repair = self.looking.find_repair(record)
            probe = build_probe(self.planner, record, domain, whole=repair is not None)
            if probe is not None:
                return probe
            self._take_down(domain, Probed(present=False, in_force=(), key_versions=None, strange=(), lost=False))
        return None

    def end(self) -> str | None:
        """The text with which the visit ends once everything was looked at; a repair order is FOUND with it."""
        record = self.settling.record
        text = self.looking.find_end(record)
        order = self.looking.find_repair(record)
        if order is not None:
            record.save(replace(order, state=RepairState.FOUND))
            found = f"{len(record.findings)} findings"
            self.settling.log("card.repair-look", f"repair {order.id}", "found", detail=found)
        return text

    def take(self, domain: SecurityDomain, found: Probed, keys: KeyPort) -> str | None:
        """Take what a look showed; the text with which the visit ends, None where it goes on.

        Raises `UnknownKeysError` where, after a restore, the card answers and no derivable keys fit.
        """
        if found.lost:
            return GONE_TEXT
        record = self.settling.record
        if self.looking.find_repair(record) is not None:
            self._take_down(domain, found)
            return None
        own = own_evidence(record, domain, found)
        text = None if own else _explain_silence(record, domain, found)
        if text is not None:
            if found.strange and found.present:
                raise UnknownKeysError
            return text
        self._take_down(domain, found)
        self._adopt(domain, own, keys)
        return None

    def _adopt(self, domain: SecurityDomain, own: Sequence[Evidence], keys: KeyPort) -> None:
        record = self.settling.record
        new: list[KeySet] = []
        in_force: dict[str, int] = {}
        for evidence in own:
            derivable = parse_label(evidence.label)
            label = evidence.label
            if derivable is not None:
                planned = plan_found_set(self.planner, domain, derivable)
                new.append(build_found_set(keys, self.planner, record, derivable, planned))
                label = planned.id
            in_force[label] = evidence.counter
        behind_since = self.looking.state.behind_since if self.looking.state is not None else None
        adopt(self.settling, domain, in_force, new, behind_since=behind_since)
        for item in new:
            self.settling.log_set("key-set.recover", record.key_sets[item.id], "found in force")

    def _take_down(self, domain: SecurityDomain, found: Probed) -> None:
        record, now = self.settling.record, self.settling.now
        repair = self.looking.find_repair(record)
        findings = build_findings(self.planner, record, domain, self.visit_id, found)
        for finding in findings:
            if repair is not None:
                record.add_finding(finding)
            elif finding.kind in SHOWN:
                record.add_finding(replace(finding, repair_order_id=None, applied_at=now))
        record.save(replace(record.domains[domain.id], looked_at=now))
        told = ", ".join(f"{item.kind} {item.kvn:02X}" if item.kvn else str(item.kind) for item in findings)
        visit = record.visits[self.visit_id]
        record.note(visit, now, "looked", f"{domain.kind} {domain.aid.hex().upper()}: {told}")


def _explain_silence(record: CardRecord, domain: SecurityDomain, found: Probed) -> str | None:
    """Why the visit cannot go on, where no set of the security domain answered; None where that is as it should be."""
    name = f"{domain.kind} {domain.aid.hex().upper()}"
    if record.find_current_set(domain) is None and (not found.strange or is_blind(record, domain)):
        return (
            None  # it has no keys that we would know: it is not there, answers with its parent's, or is to be re-keyed
        )
    if not found.present:
        return f"the card has no {name}, or does not let it be selected"
    return f"{name} did not show which keys are in force"
