"""`kms ceremony`: reviewed files that people carry out step by step, and what single-use processes do in them.

Rules: starting, steps and aborting go as every action (`kms.cli.actions`). A key component is entered, or shown once,
in this process alone, which then ends: on the terminal of the server, by a custodian in a login of their own.
"""

import json
import sys
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from kms.card.keys import KcvMethod
from kms.cli.actions import build_development_login, find_login_here, perform
from kms.cli.context import get_actor, get_config, get_platform, json_option, page_options
from kms.cli.output import print_json, print_record, print_rows
from kms.cli.params import HexType
from kms.config import PlatformMode
from kms.config.ceremony_files import load_script
from kms.domain.ceremony_records import verify_record
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.errors import Code, KmsError
from kms.service.action_definitions.ceremonies import build_view_record
from kms.service.ceremonies.words import build_words
from kms.service.plain_values import build_record
from kms.single_use.listener import Entry, EntryListener, say_port

CHECK_VALUE = HexType(1, 5)
FINGERPRINT = HexType(32, 32)
COLUMNS = ("id", "script_name", "rehearsal", "key_name", "state", "position", "started_at", "deadline")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("ceremony")
def ceremony_group() -> None:
    """Hold ceremonies: reviewed files, people present, every step recorded."""


@ceremony_group.command("check")
@click.argument("file", type=FILE)
@json_option
def check_file(file: Path, as_json: bool) -> None:
    """Read a ceremony's FILE whole, tell every fault with its line, and show its hash as words."""
    loaded = load_script(file)
    record = {
        "name": loaded.script.name,
        "purpose": loaded.script.purpose,
        "kind": loaded.script.kind,
        "steps": [f"{number}. {step.do} ({step.role})" for number, step in enumerate(loaded.script.steps, start=1)],
        "digest": loaded.digest,
        "words": " ".join(build_words(loaded.digest)),
    }
    print_record(record, as_json=as_json, title="Ceremony")


@ceremony_group.command("start")
@click.argument("script")
@click.option("--key", "key_name", required=True, help="The key's name; for a KEK the peer's.")
@click.option("--generation", type=click.IntRange(1), help="Of the key whose state is changed.")
@click.option("--kcv", type=CHECK_VALUE, default=b"", help="Check value that an imported key's maker announced.")
@click.option("--valid-days", type=click.IntRange(1), help="How long the key issues key sets.")
@click.option("--because", default="", help="Why, for the record.")
@click.option("--peer-file", type=FILE, help="The peer's offer or answer.")
@click.option("--rehearsal", is_flag=True, help="On the token for rehearsals; nothing of the platform changes.")
@json_option
@click.pass_context
def start_ceremony(
    ctx: click.Context,
    *,
    script: str,
    key_name: str,
    generation: int | None,
    kcv: bytes,
    valid_days: int | None,
    because: str,
    peer_file: Path | None,
    rehearsal: bool,
    as_json: bool,
) -> None:
    """Start the ceremony SCRIPT, a file's name in the folder of ceremonies without .toml."""
    folder = get_config(ctx).ceremonies
    if folder is None:
        raise KmsError(Code.CONFIG_INVALID, "No folder of ceremonies is configured ([ceremonies] folder).")
    parameters = {
        "script": script,
        "digest": load_script(folder.folder / f"{script}.toml").digest,
        "key_name": key_name,
        "generation": generation,
        "expected_kcv": kcv,
        "valid_days": valid_days,
        "because": because,
        "peer_file": peer_file.read_text(encoding="utf-8") if peer_file is not None else "",
    }
    action = Action.CEREMONIES_REHEARSE if rehearsal else Action.CEREMONIES_START
    print_record(perform(ctx, action, parameters, reason=because), as_json=as_json, title="Ceremony")


@ceremony_group.command("list")
@page_options
@json_option
@click.pass_context
def list_ceremonies(ctx: click.Context, limit: int, offset: int, as_json: bool) -> None:
    """List ceremonies, the oldest first."""
    rows = [build_record(item) for item in get_platform(ctx).ceremonies.list(limit=limit, offset=offset)]
    print_rows(rows, COLUMNS, as_json=as_json, title="Ceremonies")


@ceremony_group.command("show")
@click.argument("ceremony")
@json_option
@click.pass_context
def show_ceremony(ctx: click.Context, ceremony: str, as_json: bool) -> None:
    """Show a ceremony: what was done, and the next step."""
    print_record(build_view_record(get_platform(ctx).ceremonies.view(ceremony)), as_json=as_json, title="Ceremony")


@ceremony_group.command("step")
@click.argument("ceremony")
@click.argument("number", type=click.IntRange(1))
@click.option("--kcv", type=CHECK_VALUE, default=b"", help="The check value as you see it, to confirm it.")
@click.option("--fingerprint", type=FINGERPRINT, default=b"", help="The fingerprint as the peer told it.")
@click.option("--note", default="", help="For the record.")
@json_option
@click.pass_context
def do_step(
    ctx: click.Context, *, ceremony: str, number: int, kcv: bytes, fingerprint: bytes, note: str, as_json: bool
) -> None:
    """Do your part in step NUMBER of a ceremony."""
    parameters = {"ceremony": ceremony, "number": number, "kcv": kcv, "fingerprint": fingerprint, "note": note}
    print_record(perform(ctx, Action.CEREMONIES_STEP, parameters), as_json=as_json, title="Ceremony")


@ceremony_group.command("abort")
@click.argument("ceremony")
@click.option("--because", required=True, help="Why, for the record.")
@json_option
@click.pass_context
def abort_ceremony(ctx: click.Context, ceremony: str, because: str, as_json: bool) -> None:
    """End a ceremony and clear away what it had begun."""
    done = perform(ctx, Action.CEREMONIES_ABORT, {"ceremony": ceremony, "why": because}, reason=because)
    shown = {name: done[name] for name in ("id", "script_name", "key_name", "state", "why", "cleared")}
    print_record(shown, as_json=as_json, title="Ceremony")


@ceremony_group.command("enter")
@click.argument("ceremony")
@click.option("--make", is_flag=True, help="Be given a component of the HSM's making, shown once, instead.")
@json_option
@click.pass_context
def enter_component(ctx: click.Context, ceremony: str, make: bool, as_json: bool) -> None:
    """Enter the key component that is due, as the custodian who is logged in; nothing shows while you type.

    The component's own check value is shown at once, and nothing else ever again. This process ends with it.
    """
    platform, principal = get_platform(ctx), _find_principal(ctx)
    view = platform.component_entry.check(principal, ceremony)
    number = view.next_step.component if view.next_step is not None else 0
    if make:
        platform.component_entry.make(principal, ceremony, platform.vault, _show_component)
        return
    text = click.prompt(f"Key component {number} (hex, not shown)", hide_input=True, err=True)
    number, kcv, method = platform.component_entry.enter(principal, ceremony, text)
    print_record({"component": number, "kcv": kcv, "kcv_method": method}, as_json=as_json, title="Component")


@ceremony_group.command("record")
@click.argument("ceremony")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@click.option("--pdf", type=click.Path(dir_okay=False, path_type=Path), help="Write it as PDF, to print and sign.")
@click.pass_context
def export_record(ctx: click.Context, ceremony: str, out: Path | None, pdf: Path | None) -> None:
    """Export the signed record of a ceremony that is over, as JSON."""
    text = get_platform(ctx).ceremony_records.get(ceremony, actor=get_actor())
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if pdf is not None:
        from kms.printing.ceremony_record import build_pdf  # noqa: PLC0415 - loads Pango, which nothing else needs

        pdf.write_bytes(build_pdf(verify_record(text)))
    if out is None and pdf is None:
        click.echo(text, nl=False)


@ceremony_group.command("verify")
@click.argument("file", type=FILE)
@click.option("--key", type=FILE, help="The platform's public signing key (PEM) that must have signed it.")
@json_option
def verify_file(file: Path, key: Path | None, as_json: bool) -> None:
    """Check the signature of a ceremony's record FILE, with public data alone."""
    verified = verify_record(file.read_text(encoding="utf-8"), _read_key(key) if key is not None else None)
    names = ("title", "platform", "mode", "result", "key_name", "kcv", "kcv_method", "started_at", "finished_at")
    shown = {name: verified.record.get(name) for name in names}
    shown |= {"exceptions": verified.record.get("exceptions"), "signed_by": verified.fingerprint}
    print_record(shown, as_json=as_json, title="The signature fits")


@ceremony_group.command("combine", hidden=True)
@click.argument("ceremony")
@json_option
@click.pass_context
def combine_components(ctx: click.Context, ceremony: str, as_json: bool) -> None:  # noqa: ARG001 - it says how errors are told
    """Combine a ceremony's components; started by the server as a process of its own."""
    sealed = get_platform(ctx).combine_here.combine(ceremony)
    print_json(
        {"wrapped": sealed.wrapped, "key_type": sealed.key_type, "kcv_method": sealed.kcv_method, "kcv": sealed.kcv}
    )


@ceremony_group.command("listen", hidden=True)
@json_option
@click.pass_context
def listen_for_component(ctx: click.Context, as_json: bool) -> None:  # noqa: ARG001 - it says how errors are told
    """Take one component from the console's form; started by the console as a process of its own."""
    asked = json.load(sys.stdin)
    platform, config = get_platform(ctx), get_config(ctx)
    principal = platform.logins.authenticate(asked["login"])
    platform.component_entry.check(principal, asked["ceremony"])

    def take(text: str) -> str:
        try:
            number, kcv, method = platform.component_entry.enter(principal, asked["ceremony"], text)
        except KmsError as error:
            raise ValueError(error.detail) from None
        return f"Component {number} is taken. Its check value is {kcv.hex().upper()} ({method}): compare it now."

    console, port = config.console, config.ceremonies.entry_port if config.ceremonies is not None else 0
    entry = Entry(ticket=asked["ticket"], origin=asked["origin"], back=asked["back"], take=take)
    certificate, key = console.certificate, console.private_key
    files = (certificate, key) if certificate is not None and key is not None else None
    listener = EntryListener(entry, console.host, port, files)
    say_port(listener.port)
    ctx.exit(0 if listener.serve() else 1)


def _find_principal(ctx: click.Context) -> Principal:
    login = find_login_here(ctx)
    if login is not None:
        return get_platform(ctx).logins.authenticate(login.secret)
    if get_config(ctx).platform.mode is not PlatformMode.LAB:
        raise KmsError(Code.LOGIN_NEEDED, "A custodian logs in first: `kms login`.")
    return build_development_login()


def _show_component(component: bytearray, kcv: bytes, method: KcvMethod) -> None:
    """Show it on the terminal once, and wipe the screen when it is written down."""
    digits = component.hex().upper()
    groups = " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))
    click.echo(f"Your key component. Write it down; it is never shown again.\n\n  {groups}\n", err=True)
    click.echo(f"  its check value: {kcv.hex().upper()} ({method})\n", err=True)
    written = click.Choice([kcv.hex().upper()])
    click.prompt("Enter the check value that you wrote beside it", type=written, show_choices=False, err=True)
    click.clear()


def _read_key(path: Path) -> bytes:
    try:
        return load_pem_public_key(path.read_bytes()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        raise KmsError(Code.INPUT_INVALID, f"{path} is no public key (PEM).") from None
