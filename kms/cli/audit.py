"""`kms audit`: read the audit log."""

import click

from kms.cli.context import get_store, json_option, page_options
from kms.cli.output import build_record, print_rows


@click.group("audit")
def audit_group() -> None:
    """Read the audit log."""


@audit_group.command("tail")
@page_options
@json_option
@click.pass_context
def tail_audit(ctx: click.Context, limit: int, offset: int, as_json: bool) -> None:
    """Show the last audit events, the newest first."""
    with get_store(ctx).reading() as reading:
        rows = [build_record(event) for event in reading.audit.list(limit=limit, offset=offset)]
    columns = ("at", "actor", "action", "subject", "result", "kcv", "detail")
    print_rows(rows, columns, as_json=as_json, title="Audit events")
