"""`kms scheduler`: what runs by itself."""

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

import click

from kms.cli.context import get_config, get_platform, get_store, json_option
from kms.cli.output import build_record, print_json, print_record, print_rows
from kms.errors import Code, KmsError
from kms.service.jobs import read_status
from kms.web.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kms.bootstrap_scheduler import SchedulerParts
    from kms.service.jobs import Job

COLUMNS = ("job", "node", "started_at", "finished_at", "lateness_s", "failed", "result", "runs", "failures")


@click.group("scheduler", invoke_without_command=True)
@click.pass_context
def scheduler_group(ctx: click.Context) -> None:
    """Run what runs by itself until a signal ends it. Any number of nodes may; one works at a time."""
    if ctx.invoked_subcommand is None:
        parts = _open(ctx)
        _run(parts, parts.jobs)


@scheduler_group.command("status")
@json_option
@click.pass_context
def show_status(ctx: click.Context, as_json: bool) -> None:
    """Show which node schedules, and what the jobs' last runs came to."""
    status = read_status(get_store(ctx))
    lease = status.lease
    remaining = (lease.expires_at - status.now).total_seconds() if lease is not None and lease.holder else 0.0
    holder = lease.holder if lease is not None and remaining > 0 else ""
    now = {
        "holder": holder,
        "fence": lease.fence if lease is not None else 0,
        "lease_seconds_left": round(max(0.0, remaining), 1),
    }
    rows = [
        build_record(run, overdue_s=round(max(0.0, (status.now - run.started_at).total_seconds() - run.interval_s), 1))
        for run in status.runs
    ]
    if as_json:
        print_json(now | {"jobs": rows})
        return
    print_record(now | {"holder": holder or "no node schedules"}, as_json=False, title="Scheduler")
    print_rows(rows, (*COLUMNS, "overdue_s"), as_json=False, title="\nJobs")


@scheduler_group.command("run")
@click.argument("name", metavar="JOB")
@click.option("--once", is_flag=True, help="Run it once, now, and end; else it runs on its schedule, alone.")
@json_option
@click.pass_context
def run_job(ctx: click.Context, name: str, *, once: bool, as_json: bool) -> None:
    """Run one job, on this node, under the scheduler's lease; refused while another node holds it."""
    parts = _open(ctx)
    job = parts.get_job(name)
    if not once:
        _run(parts, [job])
        return
    if not parts.clock.is_right():
        raise KmsError(Code.SCHEDULER_CLOCK, "This node's clock cannot be trusted; `kms alarms list` tells why.")
    if not parts.keeper.keep():
        raise KmsError(Code.CONFLICT, "A scheduler runs and holds the lease; it runs this job when it is due.")
    try:
        run = parts.service.run(job)
    finally:
        parts.keeper.release()
    if run is None:
        raise KmsError(
            Code.LEASE_LOST, "Another node took the scheduler's lease over; it runs this job when it is due."
        )
    print_record(build_record(run), as_json=as_json, title="Run")
    if run.failed:
        ctx.exit(1)


def _open(ctx: click.Context) -> "SchedulerParts":
    from kms.bootstrap_scheduler import open_scheduler  # noqa: PLC0415 - loads the PKCS#11 library
    from kms.cli.preflight import check_ready_to_schedule  # noqa: PLC0415 - `kms --help` loads no server

    check_ready_to_schedule(get_config(ctx))
    return open_scheduler(get_platform(ctx))


def _run(parts: "SchedulerParts", jobs: "Sequence[Job]") -> None:
    configure_logs()
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    from kms.cli.preflight import record_platform_start  # noqa: PLC0415 - `kms --help` loads no server

    record_platform_start(parts.platform, "scheduler")
    runner = parts.build_runner(jobs)
    metrics = parts.open_metrics()
    click.echo(f"scheduling as {parts.keeper.holder}")
    try:
        runner.run(stop, parts.beat)
    finally:
        if metrics is not None:
            metrics.stop()
