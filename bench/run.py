"""`make bench`: measures everything side by side and writes a table and var/bench.json (docs/performance.md)."""

import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.cpu import count_processors, read_load
from bench.fleet import PROTOCOLS, Fleet, open_fleet
from bench.rotations import Cost, Counts, Scaling, count_rotation, measure_cost, measure_scaling, run_child
from bench.sweeps import Job, Swept, build_job_text, parse_swept
from demo.installation import PROJECT
from tests.fakes.postgres import TEMPLATE, get_cluster
from tests.fakes.stores import DATABASES, build_database

AIM_COST, AIM_SWEEP, AIM_SCALING = 2.0, 1.5, 0.95
TERMINALS = tuple(f"terminal-{number}" for number in range(1, 5))
PARTS = ("rotations", "sweeps")


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    cards: int
    rounds: int
    sweeps: tuple[int, ...]
    fetches: int


WHOLE = Sizes(cards=8, rounds=12, sweeps=(10_000, 100_000, 1_000_000), fetches=1000)
QUICK = Sizes(cards=2, rounds=2, sweeps=(1_000, 10_000), fetches=50)


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes: does every piece run? The figures mean little.")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Measure this part alone.")
@click.option("--json", "target", type=click.Path(path_type=Path), default=PROJECT / "var" / "bench.json")
def main(*, quick: bool, parts: tuple[str, ...], target: Path) -> None:
    """Measure what the server costs."""
    console, sizes = Console(width=120), QUICK if quick else WHOLE
    found: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": count_processors(),
        "load_before": read_load(),
        "sizes": asdict(sizes),
    }
    began = time.monotonic()
    if not parts or "rotations" in parts:
        found |= measure_rotations(console, sizes)
    if not parts or "sweeps" in parts:
        found |= measure_sweeps(console, sizes)
    found["seconds"] = round(time.monotonic() - began)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(found, indent=1) + "\n")
    console.print(f"{found['seconds']} s; written to {target}")


def measure_rotations(console: Console, sizes: Sizes) -> dict[str, Any]:
    """Figures (a), (b) and (e)."""
    with (
        tempfile.TemporaryDirectory(prefix="kms-") as folder,
        open_fleet(Path(folder), PROTOCOLS, sizes.cards) as fleet,
    ):
        for name in TERMINALS[1:]:
            fleet.site.add_terminal(name)
        counts = [count_rotation(fleet, protocol) for protocol in PROTOCOLS]
        show_counts(console, counts)
        costs = [measure_cost(fleet, protocol, sizes.rounds) for protocol in PROTOCOLS]
        show_costs(console, costs)
        scaling = _measure_scaling(fleet, sizes)
        show_scaling(console, scaling)
    return {
        "cost": [asdict(item) | {"ratio": item.ratio, "rest_ratio": item.rest_ratio} for item in costs],
        "counts": [asdict(item) for item in counts],
        "scaling": asdict(scaling) | {"ratio": scaling.ratio},
    }


def _measure_scaling(fleet: Fleet, sizes: Sizes) -> Scaling:
    cards = [card for made in fleet.cards.values() for card in made]
    return measure_scaling(fleet, cards, TERMINALS, max(2, sizes.rounds // 3))


def measure_sweeps(console: Console, sizes: Sizes) -> dict[str, Any]:
    """Figures (c) and (d)."""
    swept: dict[str, list[Swept]] = {}
    for kind in DATABASES:
        swept[kind] = [sweep(kind, size, sizes.fetches if size == sizes.sweeps[-1] else 0) for size in sizes.sweeps]
    show_sweeps(console, swept)
    show_fetches(console, swept)
    return {
        "sweeps": {
            kind: [_drop_fetches(item) | {"ratio": item.sweep / item.bare} for item in items]
            for kind, items in swept.items()
        },
        "pending": {kind: _summarize(items[-1]) for kind, items in swept.items()},
    }


def sweep(kind: str, size: int, fetches: int) -> Swept:
    """Sweep a new database of a kind (of `DATABASES`), in a process of its own."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="kms-") as folder:
            url = build_database(Path(folder))
            return _run_sweep(Job(url, url, size, fetches))
    cluster = get_cluster()
    name = cluster.create_database(TEMPLATE)
    try:
        return _run_sweep(Job(cluster.build_url(name), cluster.build_url(name, user="postgres"), size, fetches))
    finally:
        cluster.drop_database(name)


def _run_sweep(job: Job) -> Swept:
    return parse_swept(run_child("bench.sweeps", build_job_text(job)))


def _drop_fetches(swept: Swept) -> dict[str, Any]:
    return {key: value for key, value in asdict(swept).items() if key != "fetches"}


def _summarize(swept: Swept) -> dict[str, float]:
    times = swept.fetches
    return {"rows": swept.size, "p50_ms": times[len(times) // 2] * 1000, "p99_ms": times[len(times) * 99 // 100] * 1000}


def _judge(value: float, is_good: Callable[[float], bool]) -> str:
    return f"{value:.2f}" if is_good(value) else f"{value:.2f} (misses)"


def show_costs(console: Console, costs: list[Cost]) -> None:
    """Print (a)."""
    table = Table(title="(a) CPU of one rotation, in ms")
    for name in (
        "",
        "server",
        "HSM calls needed",
        f"ratio (aim ≤ {AIM_COST:g})",
        "bare requests, same SQL",
        "rest : bare",
    ):
        table.add_column(name, justify="right" if name else "left")
    for item in costs:
        figures = (f"{item.server:.1f}", f"{item.hsm:.1f}", _judge(item.ratio, lambda ratio: ratio <= AIM_COST))
        table.add_row(item.protocol, *figures, f"{item.bare:.1f}", f"{item.rest_ratio:.2f}")
    console.print(table)


def show_counts(console: Console, counts: list[Counts]) -> None:
    """Print (b)."""
    table = Table(title="(b) One rotation takes")
    for name in ("", "PKCS#11 calls", "needed", "SQL statements", "transactions", "HTTP requests", "APDUs"):
        table.add_column(name, justify="right" if name else "left")
    for item in counts:
        figures = (item.calls, item.needed_calls, item.statements, item.transactions, item.requests, item.apdus)
        table.add_row(item.protocol, *map(str, figures))
    console.print(table)


def show_sweeps(console: Console, swept: dict[str, list[Swept]]) -> None:
    """Print (c)."""
    table = Table(title="(c) Expiry sweep, a tenth due")
    for name in (
        "",
        "security domains",
        "sweep s",
        "bare INSERT s",
        f"ratio (aim ≤ {AIM_SWEEP:g})",
        "peak MiB",
        "grew MiB",
    ):
        table.add_column(name, justify="right" if name else "left")
    for kind, items in swept.items():
        for item in items:
            ratio = _judge(item.sweep / item.bare, lambda ratio: ratio <= AIM_SWEEP)
            memory = (f"{item.peak / 2**20:.0f}", f"{item.peak_growth / 2**20:.1f}")
            table.add_row(kind, f"{item.size:,}", f"{item.sweep:.2f}", f"{item.bare:.2f}", ratio, *memory)
    console.print(table)


def show_fetches(console: Console, swept: dict[str, list[Swept]]) -> None:
    """Print (d)."""
    table = Table(title="(d) A page of 100 of the pending list, in ms")
    for name in ("", "updates pending", "p50", "p99"):
        table.add_column(name, justify="right" if name else "left")
    for kind, items in swept.items():
        found = _summarize(items[-1])
        table.add_row(kind, f"{found['rows']:,}", f"{found['p50_ms']:.1f}", f"{found['p99_ms']:.1f}")
    console.print(table)


def show_scaling(console: Console, scaling: Scaling) -> None:
    """Print (e)."""
    table = Table(title="(e) Rotations per second of server CPU, all protocols mixed, four terminals")
    for name in ("one process", "two processes", f"ratio (aim ≥ {AIM_SCALING:g})", "shares of the two"):
        table.add_column(name, justify="right")
    ratio = _judge(scaling.ratio, lambda ratio: ratio >= AIM_SCALING)
    shares = " : ".join(f"{share:.2f}" for share in scaling.shares)
    table.add_row(f"{scaling.one:.1f}", f"{scaling.two:.1f}", ratio, shares)
    console.print(table)


if __name__ == "__main__":
    main()
