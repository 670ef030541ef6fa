"""`kms updates`: show key updates and ask for one."""

import click

from kms.cli.context import get_actor, get_platform, get_store, json_option, page_options
from kms.cli.output import build_record, print_json, print_record, print_rows
from kms.cli.params import AID, IDENTITY
from kms.domain.updates import UpdateReason
from kms.service.updates import FORCEABLE


@click.group("updates")
def updates_group() -> None:
    """Show key updates and ask for one."""


@updates_group.command("list")
@click.option("--card", type=IDENTITY, help="Only those of the card with this identity.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are not finished.")
@page_options
@json_option
@click.pass_context
def list_updates(
    ctx: click.Context, *, card: bytes | None, only_open: bool, limit: int, offset: int, as_json: bool
) -> None:
    """List key updates, the newest first."""
    with get_store(ctx).reading() as reading:
        rows = reading.queries.list_key_updates(limit=limit, offset=offset, card=card, only_open=only_open)
    columns = ("id", "card", "kind", "aid", "reason", "state", "attempts", "requested_at", "finished_at")
    print_rows(rows, columns, as_json=as_json, title="Key updates")


@updates_group.command("show")
@click.argument("update_id", metavar="ID")
@json_option
@click.pass_context
def show_update(ctx: click.Context, update_id: str, as_json: bool) -> None:
    """Show the key update with this ID."""
    with get_store(ctx).reading() as reading:
        update = reading.key_updates.get(update_id)
        domain = reading.security_domains.get(update.security_domain_id)
        card = reading.cards.get(domain.card_id)
    print_record(build_record(update, card=card.identity, aid=domain.aid), as_json=as_json, title="Key update")


@updates_group.command("force")
@click.option("--card", "identity", type=IDENTITY, required=True, help="The card's identity (hex).")
@click.option("--aid", type=AID, help="The security domain's AID (hex); the ISD's to take the card over.")
@click.option("--all-ssds", is_flag=True, help="Every supplementary security domain that holds keys.")
@click.option(
    "--reason",
    type=click.Choice(sorted(reason.value for reason in FORCEABLE)),
    default=UpdateReason.FORCED.value,
    show_default=True,
    help="Why the keys are replaced.",
)
@json_option
@click.pass_context
def force_update(
    ctx: click.Context, *, identity: bytes, aid: bytes | None, all_ssds: bool, reason: str, as_json: bool
) -> None:
    """Ask for new keys; they go in when the card is next presented at a terminal.

    With --reason compromise the present keys are marked COMPROMISED at once, and no channel is opened under them any
    more: new initial keys go in through the card's ISD, at a card that another platform issued by its issuer's help.
    """
    if (aid is None) != all_ssds:
        raise click.UsageError("Give either --aid or --all-ssds.", ctx)
    service = get_platform(ctx).updates
    if aid is not None:
        forced = [service.force(identity, aid, actor=get_actor(), reason=UpdateReason(reason))]
    else:
        forced = list(service.force_ssds(identity, actor=get_actor(), reason=UpdateReason(reason)))
    if as_json:
        print_json([build_record(item.update, aid=item.domain.aid, created=item.created) for item in forced])
        return
    for item in forced:
        said = "asked for" if item.created else "was open already, nothing changed"
        click.echo(f"{item.domain.kind} {item.domain.aid.hex().upper()}: update {item.update.id} {said}.")
