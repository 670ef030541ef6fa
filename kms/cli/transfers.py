"""`kms transfers`: show transfers of security domains between platforms, whichever side this platform is on."""

import click

from kms.cli.context import get_store, json_option, page_options
from kms.cli.output import build_record, print_record, print_rows
from kms.cli.params import IDENTITY


@click.group("transfers")
def transfers_group() -> None:
    """Show transfers of security domains between platforms."""


@transfers_group.command("list")
@click.option("--card", type=IDENTITY, help="Only those of the card with this identity.")
@click.option("--peer", help="Only those with the platform of this name.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are not at their end.")
@page_options
@json_option
@click.pass_context
def list_transfers(
    ctx: click.Context,
    *,
    card: bytes | None,
    peer: str | None,
    only_open: bool,
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List transfers, the newest first. SIDE is this platform's own: issuer or provider."""
    with get_store(ctx).reading() as reading:
        rows = reading.queries.list_transfers(limit=limit, offset=offset, card=card, peer=peer, only_open=only_open)
    columns = ("id", "side", "peer", "reason", "card_identity", "aid", "state", "requested_at", "closed_at", "refusal")
    print_rows(rows, columns, as_json=as_json, title="Transfers")


@transfers_group.command("show")
@click.argument("transfer_id", metavar="ID")
@json_option
@click.pass_context
def show_transfer(ctx: click.Context, transfer_id: str, as_json: bool) -> None:
    """Show the transfer with this ID, which is the same on both platforms."""
    with get_store(ctx).reading() as reading:
        transfer = reading.transfers.get(transfer_id)
    record = build_record(transfer, envelope_kept=transfer.envelope is not None)
    print_record(record, as_json=as_json, title="Transfer")
