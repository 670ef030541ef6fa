"""`kms hsm`: what the HSM is, what it can do, and whether it holds the keys on record."""

import click

from kms.cli.context import get_platform, json_option
from kms.cli.output import build_record, print_json, print_record, print_rows
from kms.domain.signatures import fingerprint
from kms.service.platform_keys import KeyPairPresence

KEY_COLUMNS = ("name", "kind", "generation", "key_type", "kcv", "kcv_method", "state", "in_hsm")
PAIR_COLUMNS = ("name", "purpose", "state", "fingerprint", "in_hsm")


@click.group("hsm")
def hsm_group() -> None:
    """Look at the HSM."""


@hsm_group.command("status")
@json_option
@click.pass_context
def show_status(ctx: click.Context, as_json: bool) -> None:
    """Show the token, its mechanisms, how it wraps keys, and each key on record with its check value or fingerprint.

    Every key on record is looked up in the HSM; its attributes and check value (or public half) are compared.
    """
    platform = get_platform(ctx)
    status = platform.vault.status()
    pairs = [
        build_record(found.key, fingerprint=show_fingerprint(found), in_hsm=found.presence)
        for found in platform.platform_keys.list_presence()
    ]
    keys = [build_record(found.key, in_hsm=found.presence) for found in platform.keys.list_presence()]
    token = build_record(status)
    if as_json:
        print_json(token | {"keys": keys, "platform_keys": pairs})
        return
    print_record(token | {"mechanisms": f"{len(status.mechanisms)} (--json lists them)"}, as_json=False, title="HSM")
    click.echo()
    print_rows(keys, KEY_COLUMNS, as_json=False, title="Master keys")
    click.echo()
    print_rows(pairs, PAIR_COLUMNS, as_json=False, title="Platform keys")


def show_fingerprint(found: KeyPairPresence) -> str:
    """A key pair's fingerprint, empty until it is made."""
    return fingerprint(found.key.public_key_der) if found.key.public_key_der else ""
