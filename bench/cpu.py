"""CPU seconds of other processes, from /proc (Linux).

Rules: user and system time of all threads, also of those that ended. The kernel counts in ticks of 10 ms: measure over
seconds.
"""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def read_cpu(pid: int) -> float:
    """CPU seconds that a process has used so far, all its threads."""
    # proc(5): the name in parentheses may hold anything; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def list_children(pid: int) -> list[int]:
    """Processes that a process started and that run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return sorted(found)


def read_children_cpu(pid: int) -> float:
    """CPU seconds of all that a process started and that run: a server's workers, without their master."""
    return sum(read_cpu(child) for child in list_children(pid))


def count_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def read_load() -> float:
    """The load of the last minute: how many others want a processor."""
    return os.getloadavg()[0]
