"""`kms cards`: enrol and show cards."""

from pathlib import Path

import click

from kms.cli.actions import perform
from kms.cli.context import get_store, json_option, page_options
from kms.cli.output import Row, build_record, print_json, print_record, print_rows
from kms.cli.params import IDENTITY, HexType, build_unknown_card
from kms.domain.permissions import Action

OPTION_BYTE = HexType(1, 1)
MAX_FILE = 256 << 20  # bytes; 100,000 cards take some 12 MB

DOMAIN_COLUMNS = ("kind", "aid", "state", "managed_by", "last_generation")
UPDATE_COLUMNS = ("id", "reason", "state", "attempts", "requested_at", "failure")


@click.group("cards")
def cards_group() -> None:
    """Enrol and show cards."""


@cards_group.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--batch", default="", help="A name for these cards, for policies and campaigns.")
@json_option
@click.pass_context
def import_cards(ctx: click.Context, file: Path, batch: str, as_json: bool) -> None:
    r"""Enrol the cards of a manufacturer's CSV FILE.

    The file is checked whole; with any fault nothing is enrolled. Importing it again does no harm. A card whose line
    gives neither scp02_i nor scp03_i is recognized when it first comes. The first line is

    \b
    identity,kdd,isd_aid,isd_kvn,scp02_i,scp03_i,vendor_master,diversification,profile
    """
    if file.stat().st_size > MAX_FILE:
        raise click.BadParameter(f"the file is larger than {MAX_FILE >> 20} MB; split it.", param_hint="FILE")
    given = {"content": file.read_bytes(), "batch": batch}
    result = perform(ctx, Action.CARDS_IMPORT, given, label="Enrolling")
    if as_json:
        print_json(result)
        return
    enrolled, skipped = result["enrolled"], result["skipped"]
    click.echo(f"{result['cards']} cards in the file: {enrolled} enrolled, {skipped} enrolled before.")


@cards_group.command("release")
@click.argument("identity", type=IDENTITY)
@json_option
@click.pass_context
def release_card(ctx: click.Context, identity: bytes, as_json: bool) -> None:
    """Serve the quarantined card IDENTITY (hex) again, after its case was looked into."""
    card = perform(ctx, Action.CARDS_RELEASE, {"card": identity})
    print_record(card, as_json=as_json, title="Card")


@cards_group.command("set-protocols")
@click.argument("identity", type=IDENTITY)
@click.option("--scp02-i", type=OPTION_BYTE, help="SCP02's option (hex); leave out: the card does not speak it.")
@click.option("--scp03-i", type=OPTION_BYTE, help="SCP03's option (hex); leave out: the card does not speak it.")
@json_option
@click.pass_context
def set_protocols(
    ctx: click.Context, *, identity: bytes, scp02_i: bytes | None, scp03_i: bytes | None, as_json: bool
) -> None:
    """Say which secure channel protocols the card IDENTITY (hex) speaks, instead of taking its own word."""
    given = {
        "card": identity,
        "scp02_i": scp02_i[0] if scp02_i else None,
        "scp03_i": scp03_i[0] if scp03_i else None,
    }
    shown = perform(ctx, Action.CARDS_PROTOCOLS, given)
    print_record(shown if as_json else _show_protocols(shown), as_json=as_json, title="Card")


@cards_group.command("list")
@page_options
@json_option
@click.pass_context
def list_cards(ctx: click.Context, limit: int, offset: int, as_json: bool) -> None:
    """List cards, the newest first."""
    with get_store(ctx).reading() as reading:
        rows = reading.queries.list_cards(limit=limit, offset=offset)
    columns = ("identity", "state", "protocols", "profile", "security_domains", "open_updates", "enrolled_at")
    shown = rows if as_json else [_show_protocols(row) for row in rows]
    print_rows(shown, columns, as_json=as_json, title="Cards")


@cards_group.command("show")
@click.argument("identity", type=IDENTITY)
@json_option
@click.pass_context
def show_card(ctx: click.Context, identity: bytes, as_json: bool) -> None:
    """Show the card with this IDENTITY (hex): its security domains and open updates."""
    with get_store(ctx).reading() as reading:
        card = reading.cards.find_by_identity(identity)
        if card is None:
            raise build_unknown_card()
        domains = reading.security_domains.list_for_card(card.id)
        updates = reading.key_updates.list_open_for_card(card.id)
        applications = reading.applications.list_for_card(card.id)
    if as_json:
        print_json(build_record(card, security_domains=domains, open_updates=updates, applications=applications))
        return
    print_record(_show_protocols(build_record(card)), as_json=False, title="Card")
    print_rows([build_record(item) for item in domains], DOMAIN_COLUMNS, as_json=False, title="\nSecurity domains")
    print_rows([build_record(item) for item in updates], UPDATE_COLUMNS, as_json=False, title="\nOpen updates")
    columns = ("aid", "state", "requested_at", "ready_at")
    print_rows([build_record(item) for item in applications], columns, as_json=False, title="\nApplications")


def _show_protocols(row: Row) -> Row:
    """The row with the protocols as people write them: `SCP02 i=55, SCP03 i=70 (claimed)`."""
    said = []
    for name in ("scp02", "scp03"):
        option = row[f"{name}_i"]
        if isinstance(option, int):
            said.append(f"{name.upper()} i={option:02X}{' (claimed)' if row[f'{name}_claimed'] else ''}")
    hidden = {"scp02_i", "scp03_i", "scp02_claimed", "scp03_claimed"}
    shown = {name: value for name, value in row.items() if name not in hidden}
    return shown | {"protocols": ", ".join(said) or "not known yet"}
