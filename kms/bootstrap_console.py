"""Joins the services through which people act: actions and requests, for console, admin API and command line."""

from datetime import timedelta

from kms.bootstrap import Platform, SystemClock, TimeOrderedIdentifiers
from kms.config import PlatformMode
from kms.service.action_definitions.registry import build_registry, ignore_progress
from kms.service.actions import ActionService
from kms.service.campaigns import Progress
from kms.service.requests import Authenticator, RequestService


def open_actions(platform: Platform, progress: Progress = ignore_progress) -> ActionService:
    """Build what takes actions. `progress`: told of long work."""
    config = platform.config
    return ActionService(
        store=platform.store,
        clock=SystemClock(),
        identifiers=TimeOrderedIdentifiers(),
        registry=build_registry(platform, force_without=config.approvals.force_without, progress=progress),
        valid_for=timedelta(hours=config.approvals.valid_hours),
        lab=config.platform.mode is PlatformMode.LAB,
    )


def open_requests(platform: Platform, authenticator: Authenticator) -> RequestService:
    """Build what takes decisions. `authenticator`: takes approvers' second factors."""
    return RequestService(
        store=platform.store,
        clock=SystemClock(),
        identifiers=TimeOrderedIdentifiers(),
        registry=build_registry(platform, force_without=platform.config.approvals.force_without),
        authenticator=authenticator,
    )
