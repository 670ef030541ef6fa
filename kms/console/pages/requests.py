"""Requests: what waits for approval, its exact text, and the approver's signature over it.

Rules: what is shown is what is signed: the form carries the digest of the request as it was shown, and the security key
signs that digest. Approving takes a second factor that is shown now.
"""

import json

from flask import Response, make_response, redirect, request

from kms.console.pages.login import read_proof
from kms.console.pages.site import Site
from kms.domain.people import CredentialKind, Principal
from kms.domain.permissions import PERMISSIONS, Action
from kms.domain.requests import RequestState, check_may_approve
from kms.errors import Code, KmsError

PAGE = 50


def add_requests(site: Site) -> None:
    """Add the pages."""
    services = site.services

    @site.page("/requests", Action.REQUESTS_READ)
    def list_requests(principal: Principal) -> str:
        page = max(0, min(request.args.get("page", 0, int), 10_000))
        pending = services.requests.list_pending()
        newest = services.requests.list_newest(limit=PAGE, offset=page * PAGE)
        return site.render(
            "requests.html",
            principal,
            pending=[(item, why_not(site, principal, item.id)) for item in pending],
            others=[item for item in newest if item.state is not RequestState.PENDING],
            page=page,
            more=len(newest) == PAGE,
        )

    @site.page("/requests/<request_id>", Action.REQUESTS_READ)
    def show_request(principal: Principal, request_id: str) -> str:
        record = services.requests.get(request_id)
        refused = why_not(site, principal, request_id)
        options = services.logins.build_approval_options(principal, record.request.digest) if not refused else None
        return site.render(
            "request.html",
            principal,
            record=record,
            refused=refused,
            options=json.dumps(options) if options else "",
            roles=sorted(PERMISSIONS[record.request.action].approving_roles),
            parameters=json.dumps(json.loads(record.request.parameters), indent=2, ensure_ascii=False),
            result=_read_result(record.request.result),
            uses_key=principal.second_factor is CredentialKind.WEBAUTHN,
        )

    @site.page("/requests/<request_id>/approve", Action.REQUESTS_READ, methods=("POST",))
    def approve_request(principal: Principal, request_id: str) -> Response:
        services.requests.approve(principal, request_id, _read_digest(), read_proof())
        return make_response(redirect(f"/requests/{request_id}", code=303))

    @site.page("/requests/<request_id>/reject", Action.REQUESTS_READ, methods=("POST",))
    def reject_request(principal: Principal, request_id: str) -> Response:
        services.requests.reject(principal, request_id, _read_digest())
        return make_response(redirect(f"/requests/{request_id}", code=303))


def why_not(site: Site, principal: Principal, request_id: str) -> str:
    """Why this person may not decide about a request; empty when they may."""
    record = site.services.requests.get(request_id)
    roles = PERMISSIONS[record.request.action].approving_roles
    if not principal.roles & roles:
        return f"To be decided by: {', '.join(sorted(roles))}."
    try:
        check_may_approve(record.request, record.decisions, principal, site.services.clock.now())
    except KmsError as error:
        return error.detail
    return ""


def _read_digest() -> bytes:
    try:
        return bytes.fromhex(request.form.get("digest", ""))
    except ValueError:
        raise KmsError(Code.REQUEST_CHANGED, "What you were shown is not this request: look at it again.") from None


def _read_result(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
