"""The `kms` command: one module per noun, each registered here."""

from pathlib import Path

import click

from kms.cli.alarms import alarms_group
from kms.cli.audit import audit_group
from kms.cli.campaigns import campaigns_group
from kms.cli.card_repair import quarantine_card, repair_card
from kms.cli.cards import cards_group
from kms.cli.ceremonies import ceremony_group
from kms.cli.console import console_command
from kms.cli.context import DEFAULT_CONFIG, get_invocation
from kms.cli.db import db_group
from kms.cli.doctor import doctor_command
from kms.cli.hsm import hsm_group
from kms.cli.keys import keys_group
from kms.cli.login import login_command, logout_command, whoami_command
from kms.cli.officers import officers_group
from kms.cli.people import people_group
from kms.cli.pki import pki_group
from kms.cli.policies import policies_group
from kms.cli.recovery import recovery_group
from kms.cli.requests import requests_group
from kms.cli.root import RootGroup
from kms.cli.scheduler import scheduler_group
from kms.cli.serve import serve_command
from kms.cli.ssds import ssds_group
from kms.cli.terminals import terminals_group
from kms.cli.transfers import transfers_group
from kms.cli.updates import updates_group
from kms.cli.visits import visits_group


@click.group(cls=RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_file",
    envvar="KMS_CONFIG",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="Configuration file (or the environment variable KMS_CONFIG).",
)
@click.option("--server", envvar="KMS_SERVER", default="", help="Address of a console to work at (or KMS_SERVER).")
@click.option("--debug", is_flag=True, help="Show a traceback when something fails that should not (or KMS_DEBUG=1).")
@click.pass_context
def cli(ctx: click.Context, config_file: Path, server: str, debug: bool) -> None:
    """Key-management server for the security domains of payment cards."""
    invocation = get_invocation(ctx)
    invocation.config_file = config_file
    invocation.server = server.rstrip("/")
    invocation.debug = debug


for command in (
    alarms_group,
    audit_group,
    campaigns_group,
    cards_group,
    ceremony_group,
    console_command,
    db_group,
    doctor_command,
    hsm_group,
    keys_group,
    login_command,
    logout_command,
    officers_group,
    people_group,
    pki_group,
    policies_group,
    recovery_group,
    requests_group,
    scheduler_group,
    serve_command,
    ssds_group,
    terminals_group,
    transfers_group,
    updates_group,
    visits_group,
    whoami_command,
):
    cli.add_command(command)

for about_a_card in (quarantine_card, repair_card):
    cards_group.add_command(about_a_card)


def main() -> None:
    """Run the `kms` command and leave the process with its exit code."""
    cli.main(prog_name="kms")
