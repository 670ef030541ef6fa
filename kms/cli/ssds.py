"""`kms ssds`: show security domains and their key sets."""

import click

from kms.cli.context import get_store, json_option, page_options
from kms.cli.output import build_record, print_json, print_record, print_rows
from kms.cli.params import AID, IDENTITY, build_unknown_card
from kms.errors import Code, KmsError

KEY_SET_COLUMNS = (
    "kvn",
    "key_type",
    "purpose",
    "master",
    "generation",
    "delivery",
    "state",
    "kcvs",
    "kcv_method",
    "proved_at",
    "expires_at",
)


@click.group("ssds")
def ssds_group() -> None:
    """Show security domains and their key sets."""


@ssds_group.command("list")
@click.option("--card", type=IDENTITY, help="Only those of the card with this identity.")
@page_options
@json_option
@click.pass_context
def list_ssds(ctx: click.Context, card: bytes | None, limit: int, offset: int, as_json: bool) -> None:
    """List security domains (issuer security domains too), the newest first."""
    with get_store(ctx).reading() as reading:
        rows = reading.queries.list_security_domains(limit=limit, offset=offset, card=card)
    columns = ("card", "kind", "aid", "state", "managed_by", "last_generation", "created_at")
    print_rows(rows, columns, as_json=as_json, title="Security domains")


@ssds_group.command("show")
@click.argument("card", type=IDENTITY)
@click.argument("aid", type=AID)
@json_option
@click.pass_context
def show_ssd(ctx: click.Context, card: bytes, aid: bytes, as_json: bool) -> None:
    """Show the security domain AID of CARD (both hex) with its key sets, the newest first."""
    with get_store(ctx).reading() as reading:
        found = reading.cards.find_by_identity(card)
        if found is None:
            raise build_unknown_card()
        domain = reading.security_domains.find_by_aid(found.id, aid)
        if domain is None:
            raise KmsError(Code.NOT_FOUND, "The card has no security domain with this AID: `kms ssds list --card`.")
        key_sets = reading.queries.list_key_sets(security_domain_id=domain.id)
    if as_json:
        print_json(build_record(domain, card=card, key_sets=key_sets))
        return
    print_record(build_record(domain, card=card), as_json=False, title="Security domain")
    rows = [dict(row) | {"kvn": f"{row['kvn']:02X}"} for row in key_sets]
    print_rows(rows, KEY_SET_COLUMNS, as_json=False, title="\nKey sets")
