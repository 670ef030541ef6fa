"""`kms officers`: the first people, added at the server's own console, and who there is.

Rules: these commands work on this machine alone, with its database and HSM login, and ask nobody's approval; so `init`
refuses once there is anybody. Invitations are shown once, on standard output, and stored nowhere.
"""

import tomllib
from pathlib import Path

import click

from kms.cli.context import get_actor, get_config, get_platform, get_store, json_option
from kms.cli.output import build_record, print_rows
from kms.domain.people import NewPerson, Role
from kms.errors import Code, Fault, KmsError
from kms.service.people import list_people

COLUMNS = ("name", "login", "roles", "state", "account", "second_factors", "locked_until")
INVITED = ("name", "login", "secret", "expires_at")
FIELDS = {"name", "login", "roles"}


class NewPersonType(click.ParamType[tuple[str, str]]):
    """`LOGIN=NAME`."""

    name = "login=name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Split; what login and name may be is checked where people are added."""
        login, equals, name = str(value).partition("=")
        if not equals or not login or not name.strip():
            self.fail("is not LOGIN=NAME.", param, ctx)
        return login, name.strip()


NEW = NewPersonType()


@click.group("officers")
def officers_group() -> None:
    """Add the first people at the server's own console, and list everybody."""


@officers_group.command("init")
@click.option(
    "--people", "people_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TOML file."
)
@click.option("--administrator", "administrators", type=NEW, multiple=True, help="An administrator, LOGIN=NAME.")
@click.option("--officer", "officers", type=NEW, multiple=True, help="A security officer, LOGIN=NAME.")
@json_option
@click.pass_context
def init_officers(
    ctx: click.Context,
    *,
    people_file: Path | None,
    administrators: tuple[tuple[str, str], ...],
    officers: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """Add the first people: an administrator and two security officers at least.

    Makes the login key in the HSM and prints an invitation for each person, once: give it to that person alone. Without
    people by option or file it asks. The file has a [[people]] table for each, with name, login and roles.
    """
    people = [
        *(_read_people(people_file) if people_file is not None else ()),
        *(NewPerson(name, login, frozenset({Role.ADMINISTRATOR})) for login, name in administrators),
        *(NewPerson(name, login, frozenset({Role.SECURITY_OFFICER})) for login, name in officers),
    ]
    invited = get_platform(ctx).people.initialise(people or _ask(), actor=get_actor())
    rows = [build_record(item, secret=item.secret) for item in invited]
    print_rows(rows, INVITED, as_json=as_json, title="Invitations, shown this once")
    if not as_json:
        click.echo(f"\nEach person opens {get_config(ctx).console.origin} and enrols with their own.")


@officers_group.command("list")
@json_option
@click.pass_context
def list_officers(ctx: click.Context, *, as_json: bool) -> None:
    """List everybody with their accounts, the oldest first."""
    with get_store(ctx).reading() as reading:
        found = list_people(reading)
    rows = [
        {
            "name": record.person.name,
            "login": account.account.login,
            "roles": ", ".join(sorted(record.person.roles)),
            "state": record.person.state,
            "account": account.account.state,
            "second_factors": ", ".join(item.kind for item in account.credentials if item.kind != "password"),
            "locked_until": account.account.locked_until,
        }
        for record in found
        for account in record.accounts
    ]
    print_rows(rows, COLUMNS, as_json=as_json, title="People")


def _ask() -> list[NewPerson]:
    people = []
    for role, count in ((Role.ADMINISTRATOR, 1), (Role.SECURITY_OFFICER, 2)):
        for number in range(1, count + 1):
            said = f"{role.replace('-', ' ').capitalize()} {number}"
            login, name = click.prompt(f"{said} (LOGIN=NAME)", type=NEW, err=True)
            people.append(NewPerson(name, login, frozenset({role})))
    return people


def _read_people(path: Path) -> list[NewPerson]:
    """Read a file of people. Raises `input.invalid` with every fault."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KmsError(Code.INPUT_INVALID, f"{path} cannot be read as TOML.") from error
    tables = raw.get("people")
    if set(raw) != {"people"} or not isinstance(tables, list):
        raise KmsError(Code.INPUT_INVALID, f"{path} holds [[people]] tables and nothing else.")
    people: list[NewPerson] = []
    faults: list[Fault] = []
    for number, table in enumerate(tables, 1):
        try:
            people.append(_read_person(table))
        except (TypeError, ValueError) as error:
            faults.append(Fault(f"{path}: person {number}", str(error)))
    if faults:
        raise KmsError(Code.INPUT_INVALID, f"{path} has {len(faults)} faults.", faults=tuple(faults))
    return people


def _read_person(table: object) -> NewPerson:
    if not isinstance(table, dict) or set(table) != FIELDS or not isinstance(table["roles"], list):
        raise TypeError("needs name, login and roles, a list, and nothing else")
    if not isinstance(table["name"], str) or not isinstance(table["login"], str):
        raise TypeError("name and login are texts")
    return NewPerson(table["name"], table["login"], frozenset(Role(role) for role in table["roles"]))
