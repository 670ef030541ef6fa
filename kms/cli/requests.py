"""`kms requests`: what waits for the approval of others, and deciding about it.

Rules: a decision is about the exact words that were shown: they are shown again before it, and their digest goes with
it. Each approval takes a one-time code of now.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kms.cli.actions import build_request_record, find_login_here, perform
from kms.cli.admin_client import AdminClient
from kms.cli.context import get_store, json_option
from kms.cli.exchange import open_new
from kms.cli.login import ask_code
from kms.cli.output import build_record, print_json, print_record, print_rows
from kms.domain.permissions import PERMISSIONS, Action
from kms.domain.requests import RequestState
from kms.errors import Code, KmsError
from kms.service.plain_values import to_plain

COLUMNS = ("id", "action", "text", "requester_name", "requested_at", "expires_at", "quorum", "state")
DECISIONS = ("person_name", "decision", "decided_at", "factor")
HIDDEN = ("decisions", "digest")


@click.group("requests")
def requests_group() -> None:
    """See what waits for approval, approve it or reject it."""


@requests_group.command("list")
@click.option("--all", "show_all", is_flag=True, help="Those that are over, too, the newest first.")
@json_option
@click.pass_context
def list_requests(ctx: click.Context, show_all: bool, as_json: bool) -> None:
    """List the requests that wait for approval, the oldest first."""
    login = find_login_here(ctx)
    if login is not None:
        rows = AdminClient.of(login).get("/requests", **({"all": 1} if show_all else {}))["requests"]
    else:
        with get_store(ctx).reading() as reading:
            found = reading.requests.list_newest(limit=100)
        rows = [
            build_request_record(item)
            for item in (found if show_all else reversed(found))
            if show_all or item.state is RequestState.PENDING
        ]
    print_rows(rows, COLUMNS, as_json=as_json, title="Requests")


@requests_group.command("show")
@click.argument("request_id", metavar="ID")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the result's text to a new file.")
@json_option
@click.pass_context
def show_request(ctx: click.Context, request_id: str, save: Path | None, as_json: bool) -> None:
    """Show the request with this ID: its exact words, who decided, and what became of it."""
    request = _find(ctx, request_id)
    if save is not None:
        with open_new(save) as write:
            write(_find_text(request))
    _show(request, as_json=as_json)


@requests_group.command("approve")
@click.argument("request_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask; the words were read elsewhere.")
@json_option
@click.pass_context
def approve_request(ctx: click.Context, request_id: str, yes: bool, as_json: bool) -> None:
    """Approve the request with this ID. The last approval that it takes carries it out."""
    client = _get_client(ctx)
    request = client.get(f"/requests/{request_id}")["request"]
    if not yes:
        _show(request, as_json=False, err=True)
        click.confirm("Approve exactly this?", abort=True, err=True)
    given = {"digest": request["digest"], "totp": ask_code()}
    _show(client.post(f"/requests/{request_id}/approve", given)["request"], as_json=as_json)


@requests_group.command("reject")
@click.argument("request_id", metavar="ID")
@json_option
@click.pass_context
def reject_request(ctx: click.Context, request_id: str, as_json: bool) -> None:
    """Reject the request with this ID, once and for all."""
    client = _get_client(ctx)
    request = client.get(f"/requests/{request_id}")["request"]
    _show(client.post(f"/requests/{request_id}/reject", {"digest": request["digest"]})["request"], as_json=as_json)


@requests_group.command("quorum")
@click.argument("action", type=click.Choice([str(action) for action, row in PERMISSIONS.items() if row.approvals]))
@click.argument("approvals", type=click.IntRange(1))
@json_option
@click.pass_context
def set_quorum(ctx: click.Context, action: str, approvals: int, as_json: bool) -> None:
    """Let ACTION take the approval of so many others from now on: never fewer than the program's own table asks for."""
    given = {"action": action, "approvals": approvals}
    print_record(perform(ctx, Action.QUORUM_SET, given), as_json=as_json, title="Quorum")


def _get_client(ctx: click.Context) -> AdminClient:
    login = find_login_here(ctx)
    if login is None:
        raise KmsError(Code.LOGIN_NEEDED, "Only who is logged in decides about requests: `kms login`.")
    return AdminClient.of(login)


def _find(ctx: click.Context, request_id: str) -> Mapping[str, Any]:
    login = find_login_here(ctx)
    if login is not None:
        found: Mapping[str, Any] = AdminClient.of(login).get(f"/requests/{request_id}")["request"]
        return found
    with get_store(ctx).reading() as reading:
        request = reading.requests.get(request_id)
        decisions = [build_record(item) for item in reading.requests.list_decisions(request_id)]
    plain = to_plain(build_request_record(request) | {"decisions": decisions})
    assert isinstance(plain, dict)  # noqa: S101 - for the type: a mapping gives a dict
    return plain


def _find_text(request: Mapping[str, Any]) -> str:
    try:
        return str(json.loads(request["result"])["text"])
    except (ValueError, KeyError, TypeError):
        raise KmsError(Code.NOT_FOUND, "The request has no result that is a file.") from None


def _show(request: Mapping[str, Any], *, as_json: bool, err: bool = False) -> None:
    if as_json:
        print_json(request)
        return
    if err:
        click.echo(f"{request['requester_name']} asks, request {request['id']}:\n\n{request['text']}\n", err=True)
        return
    shown = {name: value for name, value in request.items() if name not in HIDDEN}
    print_record(shown, as_json=False, title="Request")
    print_rows(request.get("decisions", []), DECISIONS, as_json=False, title="\nDecisions")
