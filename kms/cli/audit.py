"""`kms audit`: read the audit log, sign it, export it, and check it.

Rules: who reads or exports the log is recorded in it before anything is shown (R38): the person who is logged in, else,
in the lab, the development login. What cannot be recorded is not shown.
"""

import itertools
from dataclasses import replace
from pathlib import Path

import click

from kms.anchors.anchor_file import read_anchors
from kms.cli.actions import build_development_login, find_login_here, perform
from kms.cli.admin_client import AdminClient
from kms.cli.context import get_config, get_invocation, get_platform, get_store, json_option, page_options
from kms.cli.output import build_record, print_record, print_rows
from kms.config import PlatformMode
from kms.domain.audit_check import LogReport
from kms.domain.audit_export import check_export, parse_header_line
from kms.domain.people import Principal, Role
from kms.domain.permissions import Action, check_permitted
from kms.domain.signatures import fingerprint
from kms.errors import Code, KmsError
from kms.service.audit_reading import record_audit_reading
from kms.service.ports import Store

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("audit")
def audit_group() -> None:
    """Read, sign, export and check the audit log."""


@audit_group.command("tail")
@page_options
@json_option
@click.pass_context
def tail_audit(ctx: click.Context, limit: int, offset: int, as_json: bool) -> None:
    """Show the last audit events, the newest first."""
    store = get_store(ctx)
    _record_reading(ctx, store, Action.AUDIT_READ, f"the last {limit} events from {offset} on")
    with store.reading() as reading:
        rows = [build_record(event) for event in reading.audit.list(limit=limit, offset=offset)]
    columns = ("at", "actor", "action", "subject", "result", "kcv", "detail")
    print_rows(rows, columns, as_json=as_json, title="Audit events")


@audit_group.command("checkpoint")
@json_option
@click.pass_context
def make_checkpoint(ctx: click.Context, as_json: bool) -> None:
    """Sign what was recorded since the last checkpoint, and write its digest outside (the scheduler does it, too)."""
    anchored = get_platform(ctx).audit_log.checkpoint()
    anchor = anchored.anchor
    record = {"number": anchor.number, "digest": anchor.digest.hex(), "new": anchored.made, "chains": anchored.chains}
    print_record(record, as_json=as_json)


@audit_group.command("key")
@click.option("--replace", is_flag=True, help="Make a new audit key; the old one signs who comes after it.")
@json_option
@click.pass_context
def show_key(ctx: click.Context, replace: bool, as_json: bool) -> None:
    """Show the fingerprint that an auditor keeps: of the key under which the whole log is checked."""
    if replace:
        perform(ctx, Action.AUDIT_KEY_REPLACE, {})
    audit_log = get_platform(ctx).audit_log
    print_record({"fingerprint": fingerprint(audit_log.get_first_key())}, as_json=as_json)


@audit_group.command("export")
@click.argument("file", type=FILE)
@click.pass_context
def export_audit(ctx: click.Context, file: Path) -> None:
    """Write the whole log into FILE, which `kms audit verify --export FILE` checks anywhere, off-line."""
    platform = get_platform(ctx)
    _record_reading(ctx, platform.store, Action.AUDIT_EXPORT, "the whole log")
    audit_log = platform.audit_log
    count = 0
    with file.open("xb") as target:
        for line in audit_log.export():
            target.write(line + b"\n")
            count += 1
    click.echo(f"{count} lines written to {file}. The audit key's fingerprint, to be compared by other means:")
    click.echo(fingerprint(audit_log.get_first_key()))


@audit_group.command("verify")
@click.option("--export", "export_file", type=FILE, help="Check this exported log, off-line; else the database.")
@click.option("--fingerprint", "key_fingerprint", default="", help="The audit key's, as it was written down before.")
@click.option("--anchors", "anchor_file", type=FILE, help="Compare with the anchors in this file.")
@json_option
@click.pass_context
def verify_audit(
    ctx: click.Context, export_file: Path | None, key_fingerprint: str, anchor_file: Path | None, as_json: bool
) -> None:
    """Check chains, checkpoints, signatures and anchors; says where the log was changed.

    What was cut off after the newest anchor cannot be told from what was never written.
    """
    if export_file is not None:
        report = _verify_export(export_file, key_fingerprint, anchor_file)
    else:
        platform = get_platform(ctx)
        name = platform.config.platform.name
        anchors = read_anchors(anchor_file, name) if anchor_file is not None else ()
        report = platform.audit_log.verify(anchors, key_fingerprint=key_fingerprint)
    record = build_record(report)
    record["key"] = fingerprint(report.key)
    print_record(record, as_json=as_json)


def _record_reading(ctx: click.Context, store: Store, action: Action, what: str) -> None:
    from kms.bootstrap import SystemClock, TimeOrderedIdentifiers  # noqa: PLC0415 - it loads the PKCS#11 library

    reader = _find_reader(ctx)
    check_permitted(reader, action)
    record_audit_reading(store, SystemClock(), TimeOrderedIdentifiers(), reader=reader, action=action, what=what)


def _find_reader(ctx: click.Context) -> Principal:
    """Who reads. Raises `login.needed` where nobody is logged in outside the lab."""
    login = find_login_here(ctx)
    if login is None:
        if get_invocation(ctx).server or get_config(ctx).platform.mode is not PlatformMode.LAB:
            raise KmsError(Code.LOGIN_NEEDED, "The audit log is not read without a login here: `kms login`.")
        return build_development_login()
    told = AdminClient.of(login).get("/whoami")
    return replace(
        build_development_login(),
        person_id=str(told["person_id"]),
        account_id=login.login,
        name=str(told["name"]),
        roles=frozenset(Role(role) for role in told["roles"]),
        development=False,
    )


def _verify_export(file: Path, key_fingerprint: str, anchor_file: Path | None) -> LogReport:
    with file.open("rb") as source:
        lines = (line.removesuffix(b"\n") for line in source)
        header = next(lines, b"")
        platform, _key = parse_header_line(header)
        anchors = read_anchors(anchor_file, platform) if anchor_file is not None else ()
        return check_export(itertools.chain([header], lines), key_fingerprint, anchors)
