"""The jobs, a line each: a name, how often, and the one service function that it calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from kms.config import SchedulerConfig
from kms.service.audit_log import AuditLogService
from kms.service.campaigns import CampaignService
from kms.service.ceremonies.service import CeremonyService
from kms.service.housekeeping import HousekeepingService
from kms.service.jobs import Job
from kms.service.login import LoginService
from kms.service.recovery import RecoveryService
from kms.service.requests import RequestService
from kms.service.sweeps import SweepService
from kms.service.token_check import TokenCheck


@dataclass(frozen=True)
class JobServices:
    """What the jobs call; each writes through a store that checks the lease."""

    housekeeping: HousekeepingService
    sweeps: SweepService
    campaigns: CampaignService
    tokens: TokenCheck
    audit_log: AuditLogService
    recovery: RecoveryService
    requests: RequestService
    logins: LoginService
    ceremonies: CeremonyService


def build_jobs(services: JobServices, every: SchedulerConfig) -> Sequence[Job]:
    """The jobs, in the order in which they are listed."""

    def seconds(count: int) -> timedelta:
        return timedelta(seconds=count)

    housekeeping = services.housekeeping
    return (
        Job("expire-visits", seconds(every.visits_every), housekeeping.expire_visits),
        Job("sweep-expiry", seconds(every.sweep_every), lambda: _sweep(services.sweeps)),
        Job("give-notices", seconds(every.sweep_every), lambda: _give_notices(services.sweeps)),
        Job("escalate-overdue", seconds(every.overdue_every), housekeeping.escalate_overdue),
        Job("tend-campaigns", seconds(every.campaigns_every), services.campaigns.tend),
        Job("check-tokens", seconds(every.tokens_every), services.tokens.check),
        Job("checkpoint-audit", seconds(every.audit_every), lambda: _checkpoint(services.audit_log), audited=False),
        Job("keep-anchor", seconds(every.audit_every), services.recovery.keep_anchor, audited=False),
        Job("expire-requests", seconds(every.overdue_every), services.requests.expire),
        Job("expire-ceremonies", seconds(every.visits_every), services.ceremonies.expire),
        Job("retain-logins", seconds(every.retention_every), services.logins.expire),
        Job("retain-visits", seconds(every.retention_every), housekeeping.retain),
    )


def _checkpoint(audit_log: AuditLogService) -> str:
    return f"the audit log is anchored up to checkpoint {audit_log.checkpoint().anchor.number}"


def _sweep(sweeps: SweepService) -> str:
    result = sweeps.sweep_expiry()
    return f"{result.created} updates asked for, {result.held_back} held back, {result.undated} without a date"


def _give_notices(sweeps: SweepService) -> str:
    return f"{sum(notice.key_sets for notice in sweeps.give_notices())} key sets near their end"
