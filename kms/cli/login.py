"""`kms login`, `kms logout`, `kms whoami`: acting at a console as a person.

Rules: password and one-time code come from a hidden prompt, or from files or the environment for programs; never from
the command line, which other users can read. What is kept is the login's secret, in a file of the owner's alone.
"""

import os
from pathlib import Path

import click

from kms.cli.actions import build_development_login, find_login_here
from kms.cli.admin_client import AdminClient
from kms.cli.context import find_server, get_config, get_invocation, json_option
from kms.cli.login_files import SavedLogin, remove_login, save_login
from kms.cli.output import print_json, print_record
from kms.config import PlatformMode
from kms.errors import Code, KmsError

MAX_SECRET_FILE = 4096  # characters


@click.command("login")
@click.argument("login")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Authority of the console's certificate (PEM); default: the configuration's, else the system's.",
)
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of mode 0600 with the password (or KMS_PASSWORD); without it the password is asked for.",
)
@json_option
@click.pass_context
def login_command(
    ctx: click.Context, *, login: str, ca: Path | None, password_file: Path | None, as_json: bool
) -> None:
    """Log in at the console as LOGIN, by password and one-time code; with a security key use a browser."""
    server = find_server(ctx)
    if ca is None and not get_invocation(ctx).server:
        ca = get_config(ctx).console.ca
    authority = str(ca.resolve()) if ca is not None else ""
    password = _read_password(password_file)
    answer = AdminClient(server, authority).post("/login", {"login": login, "password": password, "totp": ask_code()})
    save_login(SavedLogin(server, authority, login, answer.pop("secret")))
    print_record({"server": server, **answer}, as_json=as_json, title="Logged in")


@click.command("logout")
@click.pass_context
def logout_command(ctx: click.Context) -> None:
    """End the login at the console, there and here."""
    login = find_login_here(ctx)
    if login is None:
        click.echo("Nobody was logged in.")
        return
    try:
        AdminClient.of(login).post("/logout", {})
    finally:
        remove_login(login.server)  # even where the server cannot be told: the secret is of no more use here
    click.echo("Logged out.")


@click.command("whoami")
@json_option
@click.pass_context
def whoami_command(ctx: click.Context, as_json: bool) -> None:
    """Show as whom commands act."""
    login = find_login_here(ctx)
    if login is not None:
        print_record({"server": login.server, **AdminClient.of(login).get("/whoami")}, as_json=as_json)
        return
    if get_invocation(ctx).server or get_config(ctx).platform.mode is not PlatformMode.LAB:
        raise KmsError(Code.LOGIN_NEEDED, "Nobody is logged in: `kms login`.")
    shown = {"name": build_development_login().actor, "what": "the lab's development login: nobody approves"}
    if as_json:
        print_json(shown)
        return
    print_record(shown, as_json=False)


def ask_code() -> str:
    """A one-time code of now: from the environment (KMS_TOTP), else asked for."""
    code = os.environ.get("KMS_TOTP") or str(click.prompt("One-time code", err=True, hide_input=True))
    return code.replace(" ", "")


def _read_password(path: Path | None) -> str:
    if path is not None:
        if path.stat().st_mode & 0o077:
            raise KmsError(Code.INPUT_INVALID, f"{path} can be read by others: chmod 0600 {path}")
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_SECRET_FILE).rstrip("\r\n")
    return os.environ.get("KMS_PASSWORD") or str(click.prompt("Password", err=True, hide_input=True))
