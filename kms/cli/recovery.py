"""`kms recovery`: whether the database was restored from an older backup, what was found, and ending recovery."""

import click

from kms.cli.actions import perform
from kms.cli.context import get_platform, json_option, page_options
from kms.cli.output import build_record, print_record, print_rows
from kms.domain.permissions import Action


@click.group("recovery")
def recovery_group() -> None:
    """See and end recovery, after the database was restored from an older backup."""


@recovery_group.command("status")
@json_option
@click.pass_context
def show_status(ctx: click.Context, as_json: bool) -> None:
    """Show whether the platform is in recovery, since when, and what was found on cards."""
    print_record(build_record(get_platform(ctx).recovery.status()), as_json=as_json, title="Recovery")


@recovery_group.command("findings")
@page_options
@json_option
@click.pass_context
def list_findings(ctx: click.Context, limit: int, offset: int, as_json: bool) -> None:
    """List what was found on cards and was not on record, oldest first."""
    platform = get_platform(ctx)
    found = platform.recovery.list_findings(limit=limit, offset=offset)
    with platform.store.reading() as reading:
        rows = [
            build_record(
                item,
                card=reading.cards.get(item.card_id).identity,
                security_domain=reading.security_domains.get(item.security_domain_id).aid,
            )
            for item in found
        ]
    columns = ("card", "security_domain", "kind", "kvn", "purpose", "generation", "key_type", "found_at")
    print_rows(rows, columns, as_json=as_json, title="Findings")


@recovery_group.command("confirm")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def confirm_recovery(ctx: click.Context, yes: bool, as_json: bool) -> None:
    """End recovery: what was found stands, and the platform works again.

    Cards that were not seen yet are looked at when they come, before anything else is done with them.
    """
    if not yes:
        click.confirm("Is this the database that the platform goes on with?", abort=True, err=True)
    print_record(perform(ctx, Action.RECOVERY_CONFIRM, {}), as_json=as_json, title="Recovery")
