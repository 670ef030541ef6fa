"""`kms hsm`: what the HSM is, what it can do, and whether it holds the keys on record."""

import click

from kms.cli.context import get_platform, json_option
from kms.cli.output import build_record, print_json, print_record, print_rows

KEY_COLUMNS = ("name", "kind", "generation", "key_type", "kcv", "kcv_method", "state", "in_hsm")


@click.group("hsm")
def hsm_group() -> None:
    """Look at the HSM."""


@hsm_group.command("status")
@json_option
@click.pass_context
def show_status(ctx: click.Context, as_json: bool) -> None:
    """Show the token, its mechanisms, how it wraps keys, and each master key with its check value.

    Every key on record is looked up in the HSM; its attributes and check value are compared.
    """
    platform = get_platform(ctx)
    status = platform.vault.status()
    keys = [build_record(found.key, in_hsm=found.presence) for found in platform.keys.list_presence()]
    token = build_record(status)
    if as_json:
        print_json(token | {"keys": keys})
        return
    print_record(token | {"mechanisms": f"{len(status.mechanisms)} (--json lists them)"}, as_json=False, title="HSM")
    click.echo()
    print_rows(keys, KEY_COLUMNS, as_json=False, title="Master keys")
