"""`kms updates`: show key updates, ask for one, cancel one, allow one past the end of its keys."""

from datetime import UTC, datetime

import click

from kms.card.keys import KeyType
from kms.cli.actions import perform
from kms.cli.context import get_store, json_option, page_options
from kms.cli.output import build_record, print_json, print_record, print_rows
from kms.cli.params import AID, FILLED, IDENTITY, MOMENT
from kms.db.queries import UpdateSelection
from kms.domain.permissions import Action
from kms.domain.updates import OPEN_STATES, UpdateReason, UpdateState
from kms.service.updates import FORCEABLE


@click.group("updates")
def updates_group() -> None:
    """Show key updates, ask for one, cancel one, allow an exception."""


@updates_group.command("list")
@click.option("--card", type=IDENTITY, help="Only those of the card with this identity.")
@click.option("--open", "only_open", is_flag=True, help="Only those that are not finished.")
@click.option("--overdue", is_flag=True, help="Only those that are not finished and past their deadline.")
@click.option("--campaign", help="Only those of the campaign of this name.")
@click.option(
    "--state",
    "states",
    type=click.Choice([item.value for item in UpdateState]),
    multiple=True,
    help="Only these; once for each.",
)
@click.option(
    "--reason",
    "reasons",
    type=click.Choice([item.value for item in UpdateReason]),
    multiple=True,
    help="Only these; once for each.",
)
@page_options
@json_option
@click.pass_context
def list_updates(
    ctx: click.Context,
    *,
    card: bytes | None,
    only_open: bool,
    overdue: bool,
    campaign: str | None,
    states: tuple[str, ...],
    reasons: tuple[str, ...],
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List key updates, the newest first."""
    wanted = {UpdateState(item) for item in states} | (set(OPEN_STATES) if only_open else set())
    only = UpdateSelection(
        states=wanted,
        reasons={UpdateReason(item) for item in reasons},
        campaign=campaign,
        overdue_at=datetime.now(UTC) if overdue else None,
    )
    with get_store(ctx).reading() as reading:
        rows = reading.queries.list_key_updates(limit=limit, offset=offset, card=card, only=only)
    columns = ("id", "card", "kind", "aid", "reason", "state", "attempts", "requested_at", "deadline", "campaign")
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
@click.option("--deadline", type=MOMENT, help="From when on the update is overdue (UTC).")
@click.option(
    "--key-type", type=click.Choice([item.value for item in KeyType]), help="Type of the new keys (key-type)."
)
@json_option
@click.pass_context
def force_update(
    ctx: click.Context,
    *,
    identity: bytes,
    aid: bytes | None,
    all_ssds: bool,
    reason: str,
    deadline: datetime | None,
    key_type: str | None,
    as_json: bool,
) -> None:
    """Ask for new keys; they go in when the card is next presented at a terminal.

    With --reason compromise the present keys are marked COMPROMISED at once, and no channel is opened under them any
    more: new initial keys go in through the card's ISD, at a card that another platform issued by its issuer's help.
    """
    if (aid is None) != all_ssds:
        raise click.UsageError("Give either --aid or --all-ssds.", ctx)
    given = {
        "card": identity,
        "aid": aid,
        "reason": UpdateReason(reason),
        "deadline": deadline.replace(tzinfo=UTC) if deadline is not None else None,
        "key_type": KeyType(key_type) if key_type else None,
    }
    forced = perform(ctx, Action.UPDATES_FORCE, given)["updates"]
    if as_json:
        print_json([{name: value for name, value in item.items() if name != "kind"} for item in forced])
        return
    for item in forced:
        said = "asked for" if item["created"] else "was open already, nothing changed"
        click.echo(f"{item['kind']} {item['aid']}: update {item['id']} {said}.")


@updates_group.command("cancel")
@click.argument("update_id", metavar="ID")
@click.option("--because", type=FILLED, required=True, help="Why, for the audit log.")
@json_option
@click.pass_context
def cancel_update(ctx: click.Context, update_id: str, because: str, as_json: bool) -> None:
    """Cancel the open key update with this ID; what a visit sent of it already is reconciled all the same."""
    update = perform(ctx, Action.UPDATES_CANCEL, {"update": update_id, "because": because})
    print_record(update, as_json=as_json, title="Key update")


@updates_group.command("allow")
@click.argument("update_id", metavar="ID")
@click.option("--because", type=FILLED, required=True, help="Why, for the audit log.")
@json_option
@click.pass_context
def allow_update(ctx: click.Context, update_id: str, because: str, as_json: bool) -> None:
    """Let the open key update with this ID run under a key set past its end and grace: a recorded exception."""
    update = perform(ctx, Action.UPDATES_ALLOW, {"update": update_id, "because": because})
    print_record(update, as_json=as_json, title="Key update")
