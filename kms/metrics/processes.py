"""Metrics of several processes in one place: each writes into a folder, whichever is asked adds them up.

Rules: prometheus_client decides when it is imported whether it counts for one process or for several, so the folder is
named before. Nothing here imports it at the top.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import mkdtemp

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def share_metrics() -> Iterator[None]:
    """Let this process's children count together; the folder is gone after the block."""
    folder, owner = mkdtemp(prefix="kms-metrics-"), os.getpid()
    os.environ[VARIABLE] = folder
    try:
        yield
    finally:
        # A forked child that ends comes by here, too: the folder is not its own.
        if os.getpid() == owner:
            del os.environ[VARIABLE]
            shutil.rmtree(folder, ignore_errors=True)


def forget_process(pid: int) -> None:
    """Count no longer what was true of a process only while it lived."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - see the module's rules

    mark_process_dead(pid)  # type: ignore[no-untyped-call] # prometheus_client types it in part
