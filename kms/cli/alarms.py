"""`kms alarms`: what a person has to know of."""

import click

from kms.cli.actions import perform
from kms.cli.context import get_store, json_option, page_options
from kms.cli.output import build_record, print_record, print_rows
from kms.domain.permissions import Action

COLUMNS = ("id", "severity", "kind", "subject", "text", "raised_at", "last_at", "count", "acknowledged_by")


@click.group("alarms")
def alarms_group() -> None:
    """Show alarms and say that somebody looks into one."""


@alarms_group.command("list")
@click.option("--all", "show_all", is_flag=True, help="Cleared ones too, the newest first.")
@page_options
@json_option
@click.pass_context
def list_alarms(ctx: click.Context, *, show_all: bool, limit: int, offset: int, as_json: bool) -> None:
    """List the open alarms, the oldest first."""
    with get_store(ctx).reading() as reading:
        read = reading.alarms.list_newest if show_all else reading.alarms.list_open
        rows = [build_record(alarm) for alarm in read(limit=limit, offset=offset)]
    columns = COLUMNS + (("cleared_at",) if show_all else ())
    print_rows(rows, columns, as_json=as_json, title="Alarms")


@alarms_group.command("show")
@click.argument("alarm_id", metavar="ID")
@json_option
@click.pass_context
def show_alarm(ctx: click.Context, alarm_id: str, as_json: bool) -> None:
    """Show the alarm with this ID."""
    with get_store(ctx).reading() as reading:
        alarm = reading.alarms.get(alarm_id)
    print_record(build_record(alarm), as_json=as_json, title="Alarm")


@alarms_group.command("acknowledge")
@click.argument("alarm_id", metavar="ID")
@json_option
@click.pass_context
def acknowledge_alarm(ctx: click.Context, alarm_id: str, as_json: bool) -> None:
    """Say that you look into the alarm with this ID. It stays open until what it tells of is over."""
    alarm = perform(ctx, Action.ALARMS_ACKNOWLEDGE, {"alarm": alarm_id})
    if as_json:
        print_record(alarm, as_json=True)
        return
    click.echo(f"Alarm {alarm['id']} is acknowledged by {alarm['acknowledged_by']}.")
