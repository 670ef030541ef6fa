"""`kms pki`: development certificates."""

from datetime import UTC, datetime
from pathlib import Path

import click

from kms.cli.actions import perform
from kms.cli.context import json_option
from kms.cli.output import print_record, print_rows
from kms.domain.permissions import Action
from kms.errors import KmsError
from kms.pki import IssuedCertificate, init_pki, issue_peer, issue_terminal

_COLUMNS = ("name", "certificate", "key", "fingerprint", "expires_at")

_dir_option = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("var/pki"),
    show_default=True,
    help="Folder of the authority and its certificates.",
)


_hosts_option = click.option(
    "--host", "hosts", multiple=True, default=("localhost", "127.0.0.1"), show_default=True, help="Server names."
)


@click.group("pki")
def pki_group() -> None:
    """Development certificates. Production brings its own authority."""


@pki_group.command("init")
@_dir_option
@_hosts_option
@json_option
def init_command(folder: Path, hosts: tuple[str, ...], as_json: bool) -> None:
    """Make a development authority and a server certificate."""
    made = init_pki(folder, hosts, datetime.now(UTC))
    print_rows([_build_row(issued) for issued in made], _COLUMNS, as_json=as_json, title="Made, for development only")


@pki_group.command("terminal")
@click.argument("name")
@_dir_option
@click.option("--enrol", is_flag=True, help="Also enrol the terminal with the platform, by its fingerprint.")
@json_option
@click.pass_context
def terminal_command(ctx: click.Context, name: str, folder: Path, enrol: bool, as_json: bool) -> None:
    """Make a client certificate for terminal NAME and print its fingerprint."""
    issued = issue_terminal(folder, name, datetime.now(UTC))
    if enrol:
        try:
            perform(ctx, Action.TERMINALS_ENROL, {"name": name, "fingerprint": issued.fingerprint})
        except KmsError:
            issued.remove()
            raise
    title = "Made and enrolled" if enrol else "Made; it is served once its fingerprint is enrolled"
    print_record(_build_row(issued), as_json=as_json, title=title)


@pki_group.command("peer")
@click.argument("name")
@_dir_option
@_hosts_option
@json_option
def peer_command(name: str, folder: Path, hosts: tuple[str, ...], as_json: bool) -> None:
    """Make a certificate for the peer platform NAME, client and server alike, and print its fingerprint."""
    issued = issue_peer(folder, name, hosts, datetime.now(UTC))
    title = "Made; it is served once its fingerprint stands in [[peers]]"
    print_record(_build_row(issued), as_json=as_json, title=title)


def _build_row(issued: IssuedCertificate) -> dict[str, object]:
    return {
        "name": issued.name,
        "certificate": str(issued.certificate_file),
        "key": str(issued.key_file),
        "fingerprint": issued.fingerprint,
        "expires_at": issued.expires_at,
    }
