"""A lab platform for the command line of which only some services are there."""

from types import SimpleNamespace
from typing import cast

from kms.bootstrap import Platform
from kms.cli.context import Invocation
from kms.config import ApprovalsConfig, Config, ConsoleConfig, PlatformMode
from kms.service.action_ports import ActingServices
from tests.fakes.memory_store import MemoryStore

SERVICES = [name for name in vars(ActingServices) if not name.startswith("_")]


def build_lab_invocation(
    *, mode: PlatformMode = PlatformMode.LAB, store: MemoryStore | None = None, **services: object
) -> Invocation:
    """An invocation whose platform has these services; calling another one fails."""
    config = SimpleNamespace(
        platform=SimpleNamespace(name="issuer", mode=mode), approvals=ApprovalsConfig(), console=ConsoleConfig()
    )
    made = Invocation()
    made.config = cast("Config", config)
    parts = dict.fromkeys(SERVICES) | {"config": config, "store": store or MemoryStore()} | services
    made.platform = cast("Platform", SimpleNamespace(**parts))
    return made
