"""The one way in which commands change something.

Rules: who is logged in (`kms login`) acts through the server's admin API, which asks, approves and records. Without a
login the lab acts in this process as the development login, named after the system's user; production refuses it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from kms.cli.admin_client import AdminClient
from kms.cli.context import find_server, get_actor, get_config, get_invocation, get_platform
from kms.cli.login_files import SavedLogin, find_login
from kms.cli.output import print_json, print_record, show_progress
from kms.config import PlatformMode
from kms.domain.people import Principal, Role
from kms.domain.permissions import PERMISSIONS, Action
from kms.domain.requests import Request
from kms.errors import Code, KmsError
from kms.service.plain_values import build_record, to_plain

EXIT_WAITS = 3  # nothing was done yet: the action waits for the approval of others

Result = Mapping[str, Any]


def perform(
    ctx: click.Context, action: Action, parameters: Mapping[str, object], *, label: str = "Working", reason: str = ""
) -> Result:
    """Carry out an action and return its result as plain values.

    Where others have to approve it, the request is shown and the command ends with exit code 3. `label`: of the
    progress bar; `reason`: why, for the record. Raises what the action raises, and `login.needed`.
    """
    raw = _plain(parameters)
    login = find_login_here(ctx)
    if login is not None:
        answer = AdminClient.of(login).post(f"/actions/{action}", {"parameters": raw, "reason": reason})
        if "request" in answer:
            _show_waiting(ctx, answer["request"])
        result: Result = answer["result"]
        return result
    return _perform_here(ctx, action, raw, label=label, reason=reason)


def find_login_here(ctx: click.Context) -> SavedLogin | None:
    """The login at the server that this command line is about; None: there is none."""
    return find_login(find_server(ctx))


def build_development_login() -> Principal:
    """Who acts in the lab without a login: the system's user, with all roles and nobody's approval."""
    return Principal(
        person_id="development",
        account_id="development",
        name=get_actor(),
        roles=frozenset(Role),
        login_session_id="",
        second_factor=None,
        authenticated_at=datetime.now(UTC),
        development=True,
    )


def build_request_record(request: Request) -> dict[str, object]:
    """A request as people read it, and who may decide about it."""
    record = build_record(request)
    return record | {"may_approve": sorted(PERMISSIONS[request.action].approving_roles)}


def _perform_here(ctx: click.Context, action: Action, raw: Mapping[str, Any], *, label: str, reason: str) -> Result:
    from kms.bootstrap_console import open_actions  # noqa: PLC0415 - `kms serve` must not load the PKCS#11 library and fork

    invocation = get_invocation(ctx)
    if invocation.server or get_config(ctx).platform.mode is not PlatformMode.LAB:
        raise KmsError(Code.LOGIN_NEEDED, "Nothing is changed without a login here: `kms login`.")
    platform = get_platform(ctx)
    with show_progress(label, as_json=invocation.as_json) as progress:
        actions = open_actions(platform, progress)
        submitted = actions.submit(build_development_login(), action, raw, reason=reason)
    if submitted.request is not None:
        _show_waiting(ctx, _plain(build_request_record(submitted.request)))
    return _plain(submitted.result or {})


def _show_waiting(ctx: click.Context, request: Result) -> None:
    if get_invocation(ctx).as_json:
        print_json({"request": request})
    else:
        shown = {name: request[name] for name in ("id", "text", "quorum", "may_approve", "expires_at")}
        print_record(shown, as_json=False, title="Nothing is done yet; this waits for approval")
        click.echo(f"Others look at it with `kms requests show {request['id']}`.")
    ctx.exit(EXIT_WAITS)


def _plain(values: Mapping[str, object]) -> dict[str, Any]:
    plain = to_plain(values)
    assert isinstance(plain, dict)  # noqa: S101 - for the type: a mapping gives a dict
    return plain
