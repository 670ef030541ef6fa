"""`kms visits`: show visits and their journal."""

import click

from kms.cli.context import get_store, json_option, page_options
from kms.cli.output import build_record, print_json, print_record, print_rows
from kms.cli.params import IDENTITY

HIDDEN = ("order", "program", "report_digest")  # commands on their way and protocol state are nobody's to read


@click.group("visits")
def visits_group() -> None:
    """Show visits and their journal."""


@visits_group.command("list")
@click.option("--card", type=IDENTITY, help="Only those of the card with this identity.")
@page_options
@json_option
@click.pass_context
def list_visits(ctx: click.Context, card: bytes | None, limit: int, offset: int, as_json: bool) -> None:
    """List visits, the newest first."""
    with get_store(ctx).reading() as reading:
        rows = reading.queries.list_visits(limit=limit, offset=offset, card=card)
    columns = ("id", "card", "terminal", "state", "opened_at", "ended_at", "commands_sent", "requests", "result")
    print_rows(rows, columns, as_json=as_json, title="Visits")


@visits_group.command("show")
@click.argument("visit_id", metavar="ID")
@json_option
@click.pass_context
def show_visit(ctx: click.Context, visit_id: str, as_json: bool) -> None:
    """Show the visit with this ID (or SERAM sessionId) and its journal."""
    with get_store(ctx).reading() as reading:
        visit = reading.visits.find_by_session(visit_id) or reading.visits.get(visit_id)
        events = reading.visits.list_events(visit.id)
        card = reading.cards.get(visit.card_id)
        terminal = reading.terminals.get(visit.terminal_id)
    record = build_record(visit, card=card.identity, terminal=terminal.name)
    shown = {name: value for name, value in record.items() if name not in HIDDEN}
    if as_json:
        print_json(shown | {"journal": events})
        return
    print_record(shown, as_json=False, title="Visit")
    rows = [build_record(event) for event in events]
    print_rows(rows, ("number", "at", "kind", "text"), as_json=False, title="\nJournal")
