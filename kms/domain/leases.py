"""Leases: who of many nodes may do a piece of work, until when, and what the last run of each job came to."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Lease:
    """A lease as the database holds it. `fence`: counts holders; whoever shows an older number has lost the lease.

    `holder`: the node, empty when it was given back. `seconds`: how long a renewal lasts. `expires_at`: by the
    database's clock.
    """

    name: str
    holder: str
    fence: int
    seconds: int
    expires_at: datetime


@dataclass(frozen=True)
class JobRun:
    """The last run of a scheduled job. `finished_at` None: it runs, or its node died in it.

    `result`: what it did in a few words, or the code of the error that ended it, with `failed`. `lateness_s`: seconds
    between when it was due and when it began. `interval_s`: seconds between runs. `runs`,
    `failures`: since the job was first run.
    """

    job: str
    node: str
    started_at: datetime
    interval_s: float
    lateness_s: float
    finished_at: datetime | None = None
    result: str = ""
    failed: bool = False
    runs: int = 1
    failures: int = 0
