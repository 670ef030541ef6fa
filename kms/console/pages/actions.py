"""Asking for any action: its form, its exact text to be read once more, and what became of it.

Rules: nothing is changed but through the action service. A form leads to the text that an approver would sign; only
what is sent from there is submitted. A result that is shown once is shown on the answer itself and kept nowhere.
"""

import json
from typing import Any

from flask import Response, make_response, redirect, request

from kms.console.pages.forms import FORMS, Form, read_form
from kms.console.pages.site import Site
from kms.domain.people import Principal
from kms.domain.permissions import PERMISSIONS, Action, check_permitted
from kms.domain.requests import compute_quorum
from kms.errors import Code, KmsError
from kms.service.plain_values import to_plain

MAX_REASON = 500  # characters


def add_actions(site: Site) -> None:
    """Add the pages."""
    services = site.services

    @site.page("/act/<name>", Action.RECORDS_READ)
    def show_form(principal: Principal, name: str) -> str:
        action, _ = find_form(principal, name)
        return _show_form(site, principal, action, request.args, None)

    @site.page("/act/<name>/check", Action.RECORDS_READ, methods=("POST",))
    def check_form(principal: Principal, name: str) -> str | Response:
        action, form = find_form(principal, name)
        try:
            parameters = read_form(form, request.form)
            text = services.actions.preview(principal, action, parameters)
        except KmsError as error:
            if error.code is not Code.INPUT_INVALID:
                raise
            answer = make_response(_show_form(site, principal, action, request.form, error))
            answer.status_code = 400
            return answer
        with services.store.reading() as reading:
            quorum = compute_quorum(action, reading.requests.list_quorums())
        return site.render(
            "check.html",
            principal,
            action=action,
            form=form,
            text=text,
            quorum=quorum,
            roles=sorted(PERMISSIONS[action].approving_roles),
            parameters=json.dumps(parameters),
        )

    @site.page("/act/<name>", Action.RECORDS_READ, methods=("POST",))
    def submit_action(principal: Principal, name: str) -> str | Response:
        action, form = find_form(principal, name)
        reason = request.form.get("why", "").strip()[:MAX_REASON]
        done = services.actions.submit(principal, action, _read_parameters(), reason=reason)
        if done.request is not None:
            return make_response(redirect(f"/requests/{done.request.id}", code=303))
        return site.render("done.html", principal, form=form, action=action, result=to_plain(done.result or {}))


def find_form(principal: Principal, name: str) -> tuple[Action, Form]:
    """The form of an action by its name. Raises `input.not-found`, `person.not-permitted`."""
    try:
        action = Action(name)
        form = FORMS[action]
    except (ValueError, KeyError):
        raise KmsError(Code.NOT_FOUND, "There is no form for this: use the command line.") from None
    check_permitted(principal, action)
    return action, form


def _show_form(
    site: Site,
    principal: Principal,
    action: Action,
    values: Any,  # noqa: ANN401 - werkzeug's multi-dictionary
    error: KmsError | None,
) -> str:
    return site.render(
        "form.html",
        principal,
        action=action,
        form=FORMS[action],
        values=values,
        error=error,
        approvals=PERMISSIONS[action].approvals,
    )


def _read_parameters() -> dict[str, Any]:
    try:
        parameters = json.loads(request.form.get("parameters", ""))
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise KmsError(Code.INPUT_INVALID, "The form is incomplete: begin again.")
    return parameters
