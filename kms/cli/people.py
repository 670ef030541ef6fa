"""`kms people`: who may log in, with which roles."""

import click

from kms.cli.actions import perform
from kms.cli.context import get_platform, json_option
from kms.cli.output import print_json, print_record, print_rows
from kms.domain.people import Role
from kms.domain.permissions import Action
from kms.service.action_definitions.people import build_person_record

COLUMNS = ("name", "roles", "state", "accounts")

roles_option = click.option(
    "--role", "roles", type=click.Choice([role.value for role in Role]), multiple=True, help="Once for each."
)


@click.group("people")
def people_group() -> None:
    """Add people, change their roles, shut them out, let them enrol."""


@people_group.command("list")
@json_option
@click.pass_context
def list_people(ctx: click.Context, as_json: bool) -> None:
    """List everybody with their accounts."""
    records = get_platform(ctx).people.list()
    if as_json:
        print_json([build_person_record(record) for record in records])
        return
    rows = [
        {
            "name": record.person.name,
            "roles": " ".join(sorted(record.person.roles)),
            "state": record.person.state,
            "accounts": [item.account.login for item in record.accounts],
        }
        for record in records
    ]
    print_rows(rows, COLUMNS, as_json=False, title="People")


@people_group.command("add")
@click.argument("login")
@click.option("--name", required=True, help="As others know them.")
@roles_option
@json_option
@click.pass_context
def add_person(ctx: click.Context, *, login: str, name: str, roles: tuple[str, ...], as_json: bool) -> None:
    """Add a person with the account LOGIN, who is to be invited then."""
    given = {"name": name, "login": login, "roles": roles}
    print_record(perform(ctx, Action.PEOPLE_ADD, given), as_json=as_json, title="Person")


@people_group.command("add-account")
@click.argument("login")
@click.argument("new_login")
@json_option
@click.pass_context
def add_account(ctx: click.Context, login: str, new_login: str, as_json: bool) -> None:
    """Give the person of LOGIN another account. They count once all the same."""
    given = {"login": login, "new_login": new_login}
    print_record(perform(ctx, Action.PEOPLE_ADD_ACCOUNT, given), as_json=as_json, title="Person")


@people_group.command("change")
@click.argument("login")
@click.option("--name", help="Another name.")
@roles_option
@json_option
@click.pass_context
def change_person(ctx: click.Context, *, login: str, name: str | None, roles: tuple[str, ...], as_json: bool) -> None:
    """Give the person of LOGIN another name, or these roles in the place of those before."""
    if name is None and not roles:
        raise click.UsageError("Give --name, --role, or both.", ctx)
    given = {"login": login, "name": name, "roles": roles or None}
    print_record(perform(ctx, Action.PEOPLE_CHANGE, given), as_json=as_json, title="Person")


@people_group.command("disable")
@click.argument("login")
@json_option
@click.pass_context
def disable_person(ctx: click.Context, login: str, as_json: bool) -> None:
    """Shut out the person of LOGIN at once, with all their accounts."""
    print_record(perform(ctx, Action.PEOPLE_DISABLE, {"login": login}), as_json=as_json, title="Person")


@people_group.command("enable")
@click.argument("login")
@json_option
@click.pass_context
def enable_person(ctx: click.Context, login: str, as_json: bool) -> None:
    """Let the person of LOGIN in again, with the credentials they had."""
    print_record(perform(ctx, Action.PEOPLE_ENABLE, {"login": login}), as_json=as_json, title="Person")


@people_group.command("reset")
@click.argument("login")
@json_option
@click.pass_context
def reset_account(ctx: click.Context, login: str, as_json: bool) -> None:
    """Disable the credentials of LOGIN, for a lost second factor; the account is invited again then."""
    print_record(perform(ctx, Action.PEOPLE_RESET, {"login": login}), as_json=as_json, title="Person")


@people_group.command("invite")
@click.argument("login")
@json_option
@click.pass_context
def invite_person(ctx: click.Context, login: str, as_json: bool) -> None:
    """Make an invitation for LOGIN. Its secret is shown once: give it to that person alone."""
    print_record(perform(ctx, Action.PEOPLE_INVITE, {"login": login}), as_json=as_json, title="Invitation")


@people_group.command("confirm")
@click.argument("login")
@click.argument("code")
@json_option
@click.pass_context
def confirm_account(ctx: click.Context, login: str, code: str, as_json: bool) -> None:
    """Confirm that who enrolled as LOGIN is that person, by the CODE that they read out."""
    given = {"login": login, "code": code}
    print_record(perform(ctx, Action.PEOPLE_CONFIRM, given), as_json=as_json, title="Person")
