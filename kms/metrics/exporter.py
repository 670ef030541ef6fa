"""One process's metrics, joined: what it counts, what its siblings count, what the database knows."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from kms.metrics.figures import FleetCollector
from kms.metrics.instruments import Instruments
from kms.metrics.processes import VARIABLE
from kms.service.metrics import PlatformFigures


@dataclass(frozen=True)
class Exporter:
    """`instruments`: to count with. `registry`: to be read."""

    instruments: Instruments
    registry: CollectorRegistry


def build_exporter(find_figures: Callable[[], PlatformFigures | None]) -> Exporter:
    """Make the metrics of this process; of all that share its folder, where there is one (`share_metrics`)."""
    registry = CollectorRegistry()
    if os.environ.get(VARIABLE):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # prometheus_client types it in part
        instruments = Instruments(None)
    else:
        instruments = Instruments(registry)
    registry.register(FleetCollector(find_figures))
    return Exporter(instruments, registry)
