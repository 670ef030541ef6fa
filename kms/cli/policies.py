"""`kms policies`: how long keys live and when they are replaced; checked, put in force, explained."""

import sys
from pathlib import Path

import click

from kms.cli.actions import perform
from kms.cli.context import get_config, get_platform, get_store, json_option, page_options
from kms.cli.output import Row, build_record, print_json, print_record, print_rows
from kms.cli.params import AID, IDENTITY
from kms.config.policy_files import load_policies
from kms.domain.permissions import Action
from kms.domain.policies import PolicyVersion
from kms.errors import Code, KmsError
from kms.service.policies import PolicyPlan

COLUMNS = ("name", "version", "kind", "aid_prefix", "managed_by", "batch", "cryptoperiod_days", "lead_days")
HISTORY = ("name", "version", "state", "applied_at", "applied_by", "ended_at")

FILES = click.argument("path", metavar="FILE|DIR", type=click.Path(exists=True, path_type=Path))


@click.group("policies")
def policies_group() -> None:
    """Show and change how long keys live and when they are replaced."""


@policies_group.command("check")
@FILES
@json_option
def check_policies(path: Path, as_json: bool) -> None:
    """Check a policy's FILE, or all of a DIR, and change nothing. Every fault is told with file, line and field."""
    policies = load_policies(path)
    if as_json:
        print_json([build_record(policy) for policy in policies])
        return
    click.echo(f"{len(policies)} policies, no fault: {', '.join(policy.name for policy in policies)}.")


@policies_group.command("apply")
@FILES
@click.option(
    "--expect", type=click.IntRange(0), help="How many key sets must become due at once by it; else nothing is done."
)
@click.option("--dry-run", is_flag=True, help="Say what it would do, and do nothing.")
@json_option
@click.pass_context
def apply_policies(ctx: click.Context, *, path: Path, expect: int | None, dry_run: bool, as_json: bool) -> None:
    """Put a policy's FILE in force, or exactly those of a DIR: others end then.

    What it would make due is shown first, and has to be confirmed: by answering, or by --expect.
    """
    policies = load_policies(path)
    whole = path.is_dir()
    if expect is None or dry_run:
        plan = get_platform(ctx).policies.plan(policies, whole=whole)
        if dry_run:
            _show_plan(plan, as_json=as_json)
            return
        if as_json or not sys.stdin.isatty():
            text = (
                f"{plan.due_now} key sets would become due at once, {plan.due_7_days} within 7 days and "
                f"{plan.due_30_days} within 30; nothing was changed. Say --expect {plan.due_now} if you want that."
            )
            raise KmsError(Code.INPUT_INVALID, text)
        _show_plan(plan, as_json=False)
        click.confirm(f"Put this in force, with {plan.due_now} key sets due at once?", abort=True)
        expect = plan.due_now
    given = {"policies": policies, "whole": whole, "expected": expect}
    applied = perform(ctx, Action.POLICIES_APPLY, given, label="Dating key sets")
    if as_json:
        print_json(applied)
        return
    changes = ", ".join(f"{item['name']} {item['change']} (version {item['version']})" for item in applied["changes"])
    click.echo(f"In force: {changes}. {applied['settled']} key sets have other dates.")


@policies_group.command("list")
@json_option
@click.pass_context
def list_policies(ctx: click.Context, as_json: bool) -> None:
    """List the policies in force."""
    with get_store(ctx).reading() as reading:
        rows = [_build_row(version) for version in reading.policies.load_book().versions]
    print_rows(rows, COLUMNS, as_json=as_json, title="Policies")


@policies_group.command("show")
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="An earlier version; without it the newest.")
@json_option
@click.pass_context
def show_policy(ctx: click.Context, name: str, version: int | None, as_json: bool) -> None:
    """Show a policy."""
    found = next((item for item in _read_history(ctx, name) if version in {None, item.version}), None)
    if found is None:
        raise KmsError(Code.NOT_FOUND, f"The policy has no version {version}: `kms policies history {name}`.")
    print_record(_build_row(found), as_json=as_json, title="Policy")


@policies_group.command("history")
@click.argument("name")
@json_option
@click.pass_context
def list_history(ctx: click.Context, name: str, as_json: bool) -> None:
    """List all versions of a policy, the newest first: who put them in force, and when."""
    rows = [_build_row(version) for version in _read_history(ctx, name)]
    print_rows(rows, HISTORY, as_json=as_json, title="Versions")


@policies_group.command("explain")
@click.argument("identity", type=IDENTITY)
@click.argument("aid", type=AID)
@json_option
@click.pass_context
def explain_policy(ctx: click.Context, identity: bytes, aid: bytes, as_json: bool) -> None:
    """Say why the keys of the security domain AID on the card IDENTITY are due or not, and what happens next."""
    found = get_platform(ctx).policies.explain(identity, aid)
    if as_json:
        print_json(build_record(found))
        return
    shown = {name: value for name, value in build_record(found).items() if name not in {"why", "next"}}
    print_record(shown, as_json=False, title="Security domain")
    click.echo()
    for sentence in (*found.why, found.next):
        click.echo(sentence)


@policies_group.command("unknown")
@page_options
@json_option
@click.pass_context
def list_unknown(ctx: click.Context, limit: int, offset: int, as_json: bool) -> None:
    """List key sets in force whose due date nobody knows. They are never replaced by themselves: force an update."""
    platform = get_config(ctx).platform.name
    with get_store(ctx).reading() as reading:
        rows = [build_record(item) for item in reading.sweeps.list_undated(platform, limit=limit, offset=offset)]
    print_rows(rows, ("card", "aid", "key_set_id", "proved_at"), as_json=as_json, title="Key sets without a due date")


def _read_history(ctx: click.Context, name: str) -> list[PolicyVersion]:
    with get_store(ctx).reading() as reading:
        versions = list(reading.policies.list_versions(name))
    if not versions:
        raise KmsError(Code.NOT_FOUND, "There never was a policy of this name: `kms policies list`.")
    return versions


def _build_row(version: PolicyVersion) -> Row:
    """A version with its policy's fields beside its own; the class's and the window's with their names."""
    row = build_record(version)
    row.pop("policy")
    for name, value in build_record(version.policy).items():
        if name == "applies_to":
            row |= build_record(version.policy.applies_to)
        elif name == "window":
            row |= {f"window_{part}": given for part, given in build_record(version.policy.window).items()}
        else:
            row[name] = value
    return row


def _show_plan(plan: PolicyPlan, *, as_json: bool) -> None:
    if as_json:
        print_json(build_record(plan))
        return
    for item in plan.changes:
        click.echo(f"{item.name}: {item.change} (version {item.version})")
    soon = f"{plan.due_7_days} within 7 days, {plan.due_30_days} within 30 days"
    click.echo(f"Key sets that become due by it: {plan.due_now} at once, {soon}.")
    click.echo(f"Key sets in force that have no due date now: {plan.undated}.")
