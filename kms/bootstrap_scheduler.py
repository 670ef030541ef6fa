"""Joins the scheduler's parts: services over a store that writes only while this node holds the lease."""

import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from kms.bootstrap import (
    Platform,
    SystemClock,
    TimeOrderedIdentifiers,
    build_anchors,
    build_people,
    build_recovery_anchor,
)
from kms.config import PlatformMode
from kms.errors import Code, KmsError
from kms.metrics.exporter import build_exporter
from kms.metrics.listener import MetricsListener
from kms.scheduler.jobs import JobServices, build_jobs
from kms.scheduler.kernel_clock import read_synchronised
from kms.scheduler.runner import ClockWatch, Runner
from kms.service.actions import ActionRegistry
from kms.service.audit_log import AuditLogService
from kms.service.campaigns import CampaignService
from kms.service.housekeeping import HousekeepingLimits, HousekeepingService
from kms.service.jobs import Job, JobService
from kms.service.leases import FencedStore, LeaseKeeper
from kms.service.metrics import FigureReader
from kms.service.platform_keys import PlatformKeyService
from kms.service.recovery import RecoveryService
from kms.service.requests import RequestService
from kms.service.sweeps import SweepService
from kms.service.token_check import TokenCheck

BEATS_A_LEASE = 3  # two may fail before the lease ends


@dataclass(frozen=True)
class SchedulerParts:
    """One scheduler process. `jobs`: all there are. `beat`: how often lease and clock are looked after."""

    platform: Platform
    jobs: Sequence[Job]
    service: JobService
    keeper: LeaseKeeper
    clock: ClockWatch
    beat: timedelta

    def build_runner(self, jobs: Sequence[Job] | None = None) -> Runner:
        """Make the loop over these jobs, or all; its threads begin at once, its jobs with the first beat."""
        return Runner(
            jobs=self.jobs if jobs is None else jobs, service=self.service, keeper=self.keeper, clock=self.clock
        )

    def open_metrics(self) -> MetricsListener | None:
        """Serve this process's metrics, where the configuration says so."""
        platform, where = self.platform, self.platform.config.metrics
        if where.scheduler_port is None:
            return None
        exporter = build_exporter(FigureReader(store=platform.store, monotonic=time.monotonic).find_figures)
        platform.vault.observe(exporter.instruments.observe_hsm)
        platform.vault.watch()
        listener = MetricsListener(where.host, where.scheduler_port, exporter.registry)
        listener.start()
        return listener

    def get_job(self, name: str) -> Job:
        """Get a job by its name. Raises `input.not-found`."""
        for job in self.jobs:
            if job.name == name:
                return job
        names = ", ".join(job.name for job in self.jobs)
        raise KmsError(Code.NOT_FOUND, f"There is no job of this name; there are {names}.")


def open_scheduler(platform: Platform) -> SchedulerParts:
    """Build the scheduler over a platform; connects to nothing yet."""
    config = platform.config
    limits = config.scheduler
    clock, identifiers = SystemClock(), TimeOrderedIdentifiers()
    node = config.platform.node
    # Names this process and no other: two on one node are two holders.
    holder = f"{node}/{os.getpid()}-{secrets.token_hex(4)}"
    keeper = LeaseKeeper(store=platform.store, holder=holder, seconds=limits.lease_seconds)
    store = FencedStore(platform.store, keeper)
    ask_kernel = limits.require_synchronised_clock
    if ask_kernel is None:
        ask_kernel = config.platform.mode is PlatformMode.PRODUCTION
    name = config.platform.name
    logins = build_people(config, store, platform.vault)[1]
    services = JobServices(
        housekeeping=HousekeepingService(
            store=store,
            clock=clock,
            identifiers=identifiers,
            limits=HousekeepingLimits(
                late_reports=timedelta(seconds=limits.late_report), retention=timedelta(days=limits.retention_days)
            ),
        ),
        sweeps=SweepService(store=store, clock=clock, identifiers=identifiers, platform=name),
        campaigns=CampaignService(store=store, clock=clock, identifiers=identifiers, platform=name),
        tokens=TokenCheck(store=store, vault=platform.vault, clock=clock, identifiers=identifiers),
        audit_log=AuditLogService(
            store=store,
            clock=clock,
            platform_keys=PlatformKeyService(
                store=store, vault=platform.vault, clock=clock, identifiers=identifiers, platform=name
            ),
            anchors=build_anchors(config),
            platform=name,
            node=node,
        ),
        recovery=RecoveryService(
            store=store, clock=clock, identifiers=identifiers, anchor=build_recovery_anchor(config)
        ),
        requests=RequestService(  # only ends them here, so it knows no action
            store=store, clock=clock, identifiers=identifiers, registry=ActionRegistry(), authenticator=logins
        ),
        logins=logins,
        ceremonies=platform.ceremonies,  # its writes are conditional: two at once do no harm
    )
    return SchedulerParts(
        platform=platform,
        jobs=build_jobs(services, limits),
        service=JobService(store=store, clock=clock, identifiers=identifiers, node=node),
        keeper=keeper,
        clock=ClockWatch(
            store=platform.store,
            clock=clock,
            identifiers=identifiers,
            node=node,
            tolerance=timedelta(seconds=limits.clock_tolerance),
            read_synchronised=read_synchronised if ask_kernel else None,
        ),
        beat=timedelta(seconds=limits.lease_seconds / BEATS_A_LEASE),
    )
