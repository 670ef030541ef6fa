"""`kms db`: the database's schema."""

import click

from kms.cli.context import get_config, get_store, json_option
from kms.cli.output import print_record
from kms.db import migration
from kms.errors import Code, Fault, KmsError


@click.group("db")
def db_group() -> None:
    """Bring the database's schema forwards and check it."""


@db_group.command("upgrade")
@json_option
@click.pass_context
def upgrade_database(ctx: click.Context, as_json: bool) -> None:
    """Bring the schema to this program's; makes the database when there is none."""
    migration.upgrade(get_config(ctx).database.url)
    print_record({"revision": get_store(ctx).find_revision()}, as_json=as_json, title="Schema")


@db_group.command("current")
@json_option
@click.pass_context
def show_revision(ctx: click.Context, as_json: bool) -> None:
    """Show the schema's revision, and the one that this program needs."""
    record = {"revision": get_store(ctx).find_revision(), "needed": migration.get_newest_revision()}
    print_record(record, as_json=as_json, title="Schema")


@db_group.command("check")
@json_option
@click.pass_context
def check_database(ctx: click.Context, as_json: bool) -> None:
    """Check that the database answers and has exactly the schema of this program."""
    get_store(ctx).check()
    differences = migration.find_differences(get_config(ctx).database.url)
    if differences:
        text = "The database has the right revision, but somebody changed it by hand; restore it."
        faults = tuple(Fault("schema", difference) for difference in differences)
        raise KmsError(Code.DATABASE_SCHEMA, text, faults=faults)
    print_record({"revision": migration.get_newest_revision(), "differences": 0}, as_json=as_json, title="Schema")
