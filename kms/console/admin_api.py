"""The admin API: what people do by the command line and by programs of their own.

Rules: the login's secret comes in the Authorization header alone, never in a cookie or an address, so no page of
another site can use it. Everything goes through the action and request services, which permit, ask and record; nothing
is decided here. Bodies are strict JSON of limited size, errors are problem documents, and no answer is ever stored.
"""

import time
from http import HTTPStatus

from apiflask import APIFlask
from flask import Blueprint, Flask, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from kms.console.admin_messages import (
    ActionMessage,
    ApproveMessage,
    LoginMessage,
    RejectMessage,
    build_request,
    read_message,
)
from kms.console.attempts import AttemptLimiter
from kms.console.services import ConsoleServices
from kms.domain.people import Principal
from kms.domain.permissions import PERMISSIONS, Action, check_permitted
from kms.errors import Code, KmsError
from kms.service.plain_values import to_plain
from kms.web.logs import log_requests
from kms.web.problems import build_http_problem, build_problem, build_unexpected
from kms.web.strict_json import StrictJsonProvider, check_media_type

MAX_BODY = 1 << 20  # bytes; a campaign over 10,000 listed cards takes some 700 KB
MAX_CARD_FILE = 64 << 20  # bytes as hex: card files of 32 MB, some 250,000 cards
_HEADERS = {
    "Cache-Control": "no-store",  # RFC 9111 section 5.2.2.5
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def create_admin_api(services: ConsoleServices, limiter: AttemptLimiter | None = None) -> Flask:
    """Build the admin API; it is mounted at /admin."""
    app = APIFlask("kms.console.admin", enable_openapi=False)
    app.json = StrictJsonProvider(app)
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY)
    log_requests(app)
    app.before_request(lambda: check_media_type(request))
    app.after_request(_protect)
    app.register_error_handler(KmsError, build_problem)
    app.register_error_handler(Exception, build_unexpected)
    app.error_processor(build_http_problem)
    app.register_blueprint(_build_logins(services, limiter or AttemptLimiter(time.monotonic)))
    app.register_blueprint(_build_actions(services))
    app.register_blueprint(_build_requests(services))
    return app


def _build_logins(services: ConsoleServices, limiter: AttemptLimiter) -> Blueprint:
    logins = Blueprint("logins", __name__, url_prefix="/v1")

    @logins.post("/login")
    def login() -> ResponseReturnValue:
        address = request.remote_addr or ""
        limiter.check(address)
        given = read_message(LoginMessage, request.get_data())
        opened = services.logins.login(given.login, given.password, {"totp": given.totp}, source=address)
        return jsonify(
            secret=opened.secret, expires_at=to_plain(opened.expires_at), **_describe(services, opened.principal)
        )

    @logins.post("/logout")
    def logout() -> ResponseReturnValue:
        services.logins.logout(_read_secret())
        return "", HTTPStatus.NO_CONTENT

    @logins.get("/whoami")
    def show_login() -> ResponseReturnValue:
        return jsonify(_describe(services, _authenticate(services)))

    return logins


def _build_actions(services: ConsoleServices) -> Blueprint:
    actions = Blueprint("actions", __name__, url_prefix="/v1/actions")

    @actions.post("/<name>")
    def submit(name: str) -> ResponseReturnValue:
        principal = _authenticate(services)
        action = _find_action(name)
        if action is Action.CARDS_IMPORT and principal.roles & PERMISSIONS[action].roles:
            request.max_content_length = MAX_CARD_FILE  # read for those alone whose it is
        given = read_message(ActionMessage, request.get_data())
        submitted = services.actions.submit(principal, action, given.parameters, reason=given.reason)
        if submitted.request is not None:
            return jsonify(request=build_request(submitted.request)), HTTPStatus.ACCEPTED
        return jsonify(result=to_plain(submitted.result))

    return actions


def _build_requests(services: ConsoleServices) -> Blueprint:
    requests = Blueprint("requests", __name__, url_prefix="/v1/requests")

    @requests.get("")
    def list_requests() -> ResponseReturnValue:
        check_permitted(_authenticate(services), Action.REQUESTS_READ)
        found = services.requests.list_newest() if "all" in request.args else services.requests.list_pending()
        return jsonify(requests=[build_request(item) for item in found])

    @requests.get("/<request_id>")
    def show_request(request_id: str) -> ResponseReturnValue:
        check_permitted(_authenticate(services), Action.REQUESTS_READ)
        record = services.requests.get(request_id)
        return jsonify(request=build_request(record.request, record.decisions))

    @requests.post("/<request_id>/approve")
    def approve(request_id: str) -> ResponseReturnValue:
        principal = _authenticate(services)
        given = read_message(ApproveMessage, request.get_data())
        record = services.requests.approve(principal, request_id, given.digest, {"totp": given.totp})
        return jsonify(request=build_request(record.request, record.decisions))

    @requests.post("/<request_id>/reject")
    def reject(request_id: str) -> ResponseReturnValue:
        principal = _authenticate(services)
        given = read_message(RejectMessage, request.get_data())
        record = services.requests.reject(principal, request_id, given.digest)
        return jsonify(request=build_request(record.request, record.decisions))

    return requests


def _read_secret() -> str:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise KmsError(Code.LOGIN_NEEDED, "Log in first, and send the login's secret in the Authorization header.")
    return secret


def _authenticate(services: ConsoleServices) -> Principal:
    principal = services.logins.authenticate(_read_secret())
    g.person = principal.name
    return principal


def _describe(services: ConsoleServices, principal: Principal) -> dict[str, object]:
    return {
        "platform": services.platform,
        "person_id": principal.person_id,
        "name": principal.name,
        "roles": sorted(principal.roles),
        "second_factor": principal.second_factor,
    }


def _find_action(name: str) -> Action:
    try:
        return Action(name)
    except ValueError:
        raise KmsError(Code.NOT_FOUND, "There is no such action.") from None


def _protect(answer: Response) -> Response:
    for name, value in _HEADERS.items():
        answer.headers[name] = value
    return answer
