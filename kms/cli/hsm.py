"""`kms hsm`: what the HSM is, what it can do, and whether it holds the keys on record."""

import click

from kms.cli.context import get_platform, json_option
from kms.cli.output import build_record, print_json, print_record, print_rows
from kms.config import PlatformMode
from kms.domain.signatures import fingerprint
from kms.service.platform_keys import KeyPairPresence

KEY_COLUMNS = ("name", "kind", "generation", "key_type", "kcv", "kcv_method", "state", "in_hsm")
STEP_COLUMNS = ("name", "result", "needed", "why")
OBJECT_COLUMNS = ("name", "object_id", "result")
UNEXPECTED_COLUMNS = ("object_id", "label", "kind", "dangerous")
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


@hsm_group.command("check")
@json_option
@click.pass_context
def check_abilities(ctx: click.Context, as_json: bool) -> None:
    """Try every mechanism and attribute that this server relies on, and say what follows.

    For a new HSM: nothing is believed from the list of mechanisms, all objects are session objects that are destroyed
    again. Ends with exit code 1 when something is missing that this platform cannot do without.
    """
    platform = get_platform(ctx)
    found = platform.vault.check_abilities()
    production = platform.config.platform.mode is PlatformMode.PRODUCTION
    missing = found.list_missing(has_peers=bool(platform.config.peers), production=production)
    refused = [name for name, strategy in (("3DES", found.des), ("AES", found.aes)) if strategy == "refused"]
    steps = [
        {"name": step.name, "result": step.refusal or "works", "needed": step.need, "why": step.why}
        for step in found.steps
    ]
    summary = {
        "usable": not missing and not refused,
        "missing": missing,
        "wraps_for_scp02_cards": found.des,
        "wraps_for_scp03_cards": found.aes,
    }
    if as_json:
        print_json(summary | {"steps": steps})
    else:
        print_rows(steps, STEP_COLUMNS, as_json=False, title="What was tried")
        click.echo()
        print_record(summary, as_json=False, title="What follows")
        if refused:
            click.echo(
                f"Keys cannot leave this HSM for cards under {' and '.join(refused)} keys: docs/hsm.md says what to do."
            )
    if missing or refused:
        ctx.exit(1)


@hsm_group.command("objects")
@json_option
@click.pass_context
def show_objects(ctx: click.Context, as_json: bool) -> None:
    """Hold every object in the HSM against the record: attributes, check values, public halves, and what else is there.

    Changes nothing; the scheduler does the same each day and raises alarms. Ends with exit code 1 when a key is not as
    it was made.
    """
    report = get_platform(ctx).token_check.look()
    rows = [
        {
            "name": item.name,
            "object_id": item.object_id.hex().upper(),
            "result": f"{item.code}: {item.text}" if item.code else "as it was made",
        }
        for item in report.findings
    ]
    unexpected = [build_record(item) for item in report.unexpected]
    if as_json:
        print_json({"expected": rows, "unexpected": unexpected})
    else:
        print_rows(rows, OBJECT_COLUMNS, as_json=False, title="Keys on record")
        click.echo()
        print_rows(unexpected, UNEXPECTED_COLUMNS, as_json=False, title="Objects on nobody's record")
    if any(item.code for item in report.findings):
        ctx.exit(1)


def show_fingerprint(found: KeyPairPresence) -> str:
    """A key pair's fingerprint, empty until it is made."""
    return fingerprint(found.key.public_key_der) if found.key.public_key_der else ""
