"""`kms cards repair` and `kms cards quarantine`: what officers do about a card that is out of step."""

import click

from kms.cli.context import get_actor, get_platform, json_option
from kms.cli.output import Row, build_record, print_json, print_record, print_rows
from kms.cli.params import FILLED, IDENTITY
from kms.service.repair import RepairReport

FINDING_COLUMNS = ("security_domain", "found", "kvn", "key_set", "purpose", "generation", "key_type", "counter")


@click.command("quarantine")
@click.argument("identity", type=IDENTITY)
@click.option("--reason", required=True, type=FILLED, help="Why, for the record.")
@json_option
@click.pass_context
def quarantine_card(ctx: click.Context, identity: bytes, reason: str, as_json: bool) -> None:
    """Set the card IDENTITY (hex) aside: it is not served until it is released or repaired."""
    card = get_platform(ctx).repair.quarantine(identity, reason=reason, actor=get_actor())
    print_record(build_record(card), as_json=as_json, title="Card")


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
    service = get_platform(ctx).repair
    if act == "cancel":
        print_record(build_record(service.cancel(identity, actor=get_actor())), as_json=as_json, title="Repair")
        return
    if act is None:
        service.order(identity, terminal, actor=get_actor())
    report = service.confirm(identity, actor=get_actor()) if act == "confirm" else service.show(identity)
    _show_report(report, as_json=as_json)


def _show_report(report: RepairReport, *, as_json: bool) -> None:
    where = report.terminal.name if report.terminal is not None else "any"
    order = {name: value for name, value in build_record(report.order).items() if name != "card_id"}
    record: Row = {
        "card": report.card.identity,
        "card_state": report.card.state,
        "quarantine_code": report.card.quarantine_code,
        "quarantine_reason": report.card.quarantine_reason,
        **order,
        "terminal": where,
    }
    rows = [
        {
            "security_domain": report.aids.get(item.security_domain_id, b""),
            "found": item.kind,
            "kvn": f"{item.kvn:02X}" if item.kvn else "",
            "key_set": item.key_set_id,
            "purpose": item.purpose,
            "generation": item.generation,
            "key_type": item.key_type,
            "counter": item.counter,
        }
        for item in report.findings
    ]
    if as_json:
        print_json({**record, "findings": rows})
        return
    print_record(record, as_json=False, title="Repair")
    print_rows(rows, FINDING_COLUMNS, as_json=False, title="\nFindings")
