"""`kms cards repair` and `kms cards quarantine`: what officers do about a card that is out of step."""

import click

from kms.cli.actions import perform
from kms.cli.context import get_platform, json_option
from kms.cli.output import Row, print_json, print_record, print_rows
from kms.cli.params import FILLED, IDENTITY
from kms.domain.permissions import Action
from kms.service.action_definitions.cards import build_repair_record

FINDING_COLUMNS = ("security_domain", "found", "kvn", "key_set", "purpose", "generation", "key_type", "counter")


@click.command("quarantine")
@click.argument("identity", type=IDENTITY)
@click.option("--reason", required=True, type=FILLED, help="Why, for the record.")
@json_option
@click.pass_context
def quarantine_card(ctx: click.Context, identity: bytes, reason: str, as_json: bool) -> None:
    """Set the card IDENTITY (hex) aside: it is not served until it is released or repaired."""
    card = perform(ctx, Action.CARDS_QUARANTINE, {"card": identity, "reason": reason})
    print_record(card, as_json=as_json, title="Card")


@click.command("repair")
@click.argument("identity", type=IDENTITY)
@click.option("--terminal", help="Look at the card at this terminal alone (default: any).")
@click.option("--show", "act", flag_value="show", help="Show what was found.")
@click.option("--confirm", "act", flag_value="confirm", help="Set the records to what was found, serve the card again.")
@click.option("--cancel", "act", flag_value="cancel", help="Drop the order and what it found.")
@json_option
@click.pass_context
def repair_card(ctx: click.Context, identity: bytes, terminal: str | None, act: str | None, as_json: bool) -> None:
    r"""Find out which keys the card IDENTITY (hex) really holds, and set the records to it.

    \b
      kms cards repair CARD --terminal counter-1   order a look; then present the card there
      kms cards repair CARD --show                 read what was found
      kms cards repair CARD --confirm              set the records to it

    The look proves each key set by the card's cryptogram and spends no authentication attempt. A card that is set aside
    is served for it. Nothing is changed before --confirm.
    """
    if terminal is not None and act is not None:
        raise click.UsageError("--terminal goes with the order alone.", ctx)
    if act == "show":
        _show_report(build_repair_record(get_platform(ctx).repair.show(identity)), as_json=as_json)
    elif act == "cancel":
        print_record(perform(ctx, Action.CARDS_REPAIR_CANCEL, {"card": identity}), as_json=as_json, title="Repair")
    elif act == "confirm":
        _show_report(perform(ctx, Action.CARDS_REPAIR_CONFIRM, {"card": identity}), as_json=as_json)
    else:
        _show_report(perform(ctx, Action.CARDS_REPAIR, {"card": identity, "terminal": terminal}), as_json=as_json)


def _show_report(report: Row, *, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    print_record({name: value for name, value in report.items() if name != "findings"}, as_json=False, title="Repair")
    rows = report["findings"]
    assert isinstance(rows, list)  # noqa: S101 - for the type: `build_repair_record` makes a list
    print_rows(rows, FINDING_COLUMNS, as_json=False, title="\nFindings")
