"""`kms terminals`: enrol terminals and decide which are served."""

from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kms.cli.actions import perform
from kms.cli.context import get_store, json_option, page_options
from kms.cli.output import build_record, print_record, print_rows
from kms.cli.params import AID, CARD_SPAN, FILLED, FINGERPRINT
from kms.domain.permissions import Action
from kms.domain.terminal_limits import CardSpan, TerminalLimits


@click.group("terminals")
def terminals_group() -> None:
    """Enrol terminals and decide which are served."""


@terminals_group.command("enrol")
@click.option("--name", required=True, help="A name of its own, for people.")
@click.option(
    "--certificate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The terminal's client certificate (PEM or DER).",
)
@click.option("--fingerprint", type=FINGERPRINT, help="SHA-256 of the certificate (DER), 32 bytes hex.")
@json_option
@click.pass_context
def enrol_terminal(
    ctx: click.Context, name: str, certificate: Path | None, fingerprint: bytes | None, as_json: bool
) -> None:
    """Enrol a terminal by its client certificate."""
    if (certificate is None) == (fingerprint is None):
        raise click.UsageError("Give either --certificate or --fingerprint.", ctx)
    if certificate is not None:
        fingerprint = _read_fingerprint(certificate)
    terminal = perform(ctx, Action.TERMINALS_ENROL, {"name": name, "fingerprint": fingerprint})
    print_record(terminal, as_json=as_json, title="Terminal")


@terminals_group.command("list")
@page_options
@json_option
@click.pass_context
def list_terminals(ctx: click.Context, limit: int, offset: int, as_json: bool) -> None:
    """List terminals, the oldest first."""
    with get_store(ctx).reading() as reading:
        rows = [build_record(item) for item in reading.terminals.list(limit=limit, offset=offset)]
    print_rows(
        rows, ("name", "state", "reason", "limits", "enrolled_at", "fingerprint"), as_json=as_json, title="Terminals"
    )


@terminals_group.command("suspend")
@click.argument("name")
@click.option("--reason", required=True, type=FILLED, help="Why, for the record.")
@json_option
@click.pass_context
def suspend_terminal(ctx: click.Context, name: str, reason: str, as_json: bool) -> None:
    """Serve the terminal NAME no more until it is resumed."""
    terminal = perform(ctx, Action.TERMINALS_SUSPEND, {"name": name, "reason": reason})
    print_record(terminal, as_json=as_json, title="Terminal")


@terminals_group.command("resume")
@click.argument("name")
@json_option
@click.pass_context
def resume_terminal(ctx: click.Context, name: str, as_json: bool) -> None:
    """Serve the suspended terminal NAME again."""
    terminal = perform(ctx, Action.TERMINALS_RESUME, {"name": name})
    print_record(terminal, as_json=as_json, title="Terminal")


@terminals_group.command("limit")
@click.argument("name")
@click.option("--cards", "spans", type=CARD_SPAN, multiple=True, metavar="FROM-TO", help="Cards it may serve, in hex.")
@click.option("--ssd", "aids", type=AID, multiple=True, help="AID of a security domain it may serve.")
@click.option("--all", "everything", is_flag=True, help="Lift all limits.")
@json_option
@click.pass_context
def limit_terminal(  # noqa: PLR0917 - click hands each option over by name
    ctx: click.Context,
    name: str,
    spans: tuple[CardSpan, ...],
    aids: tuple[bytes, ...],
    everything: bool,
    as_json: bool,
) -> None:
    """Limit the terminal NAME to card ranges and security domains; what is not named is not served there.

    Give --cards and --ssd as often as needed; they take the place of the limits before. A limit of one kind leaves the
    other kind open. A security domain's first keys need its own AID alone; the card's ISD is rotated where its AID is
    named.
    """
    if everything == bool(spans or aids):
        raise click.UsageError("Give limits, or --all to lift them.", ctx)
    terminal = perform(ctx, Action.TERMINALS_LIMIT, {"name": name, "limits": TerminalLimits(spans, aids)})
    print_record(terminal, as_json=as_json, title="Terminal")


@terminals_group.command("revoke")
@click.argument("name")
@click.option("--reason", required=True, type=FILLED, help="Why, for the record.")
@json_option
@click.pass_context
def revoke_terminal(ctx: click.Context, name: str, reason: str, as_json: bool) -> None:
    """Serve the terminal NAME never again. Its certificate cannot be enrolled a second time."""
    terminal = perform(ctx, Action.TERMINALS_REVOKE, {"name": name, "reason": reason})
    print_record(terminal, as_json=as_json, title="Terminal")


def _read_fingerprint(path: Path) -> bytes:
    content = path.read_bytes()
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            certificate = x509.load_pem_x509_certificate(content)
        else:
            certificate = x509.load_der_x509_certificate(content)
    except ValueError:
        raise click.BadParameter("is no X.509 certificate in PEM or DER.", param_hint="--certificate") from None
    return certificate.fingerprint(hashes.SHA256())
