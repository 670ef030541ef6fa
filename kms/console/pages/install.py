"""Puts all pages into one Flask application."""

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from kms.console.pages.actions import add_actions
from kms.console.pages.alarms import add_alarms
from kms.console.pages.audit import add_audit
from kms.console.pages.campaigns import add_campaigns
from kms.console.pages.cards import add_cards
from kms.console.pages.ceremonies import add_ceremonies
from kms.console.pages.dashboard import add_dashboard
from kms.console.pages.filters import FILTERS
from kms.console.pages.keys import add_keys
from kms.console.pages.login import add_login
from kms.console.pages.password import add_password
from kms.console.pages.people import add_people
from kms.console.pages.policies import add_policies
from kms.console.pages.requests import add_requests
from kms.console.pages.services import PageServices
from kms.console.pages.site import Site, add_headers
from kms.console.pages.terminals import add_terminals
from kms.console.pages.updates import add_updates
from kms.errors import Code, KmsError
from kms.web.logs import get_reference, log_error
from kms.web.problems import STATUS

MAX_FORM = 256 * 1024  # bytes
MAX_FIELD = 128 * 1024
_HTTP = {
    404: KmsError(Code.NOT_FOUND, "There is no page at this address."),
    405: KmsError(Code.METHOD_NOT_ALLOWED, "This page does not take this."),
    413: KmsError(Code.BODY_TOO_LARGE, "The form is larger than 256 KiB: use the command line."),
}
_OTHER = KmsError(Code.INPUT_INVALID, "The browser sent what this page does not understand.")
_INTERNAL = KmsError(
    Code.INTERNAL, "Something went wrong on this side. Give the reference to the platform's operators."
)
_PARTS = (
    add_login,
    add_password,
    add_dashboard,
    add_requests,
    add_ceremonies,
    add_actions,
    add_alarms,
    add_keys,
    add_policies,
    add_cards,
    add_updates,
    add_campaigns,
    add_terminals,
    add_people,
    add_audit,
)


def install_pages(app: Flask, services: PageServices) -> Site:
    """Add pages, style, script, headers and error pages to an application that has nothing else."""
    app.template_folder = "templates"
    app.config.update(MAX_CONTENT_LENGTH=MAX_FORM, MAX_FORM_MEMORY_SIZE=MAX_FIELD, MAX_FORM_PARTS=200)
    app.jinja_env.filters.update(FILTERS)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    site = Site(services)
    for add in _PARTS:
        add(site)
    app.register_blueprint(site.blueprint)
    secure = services.config.console.origin.startswith("https://")
    app.after_request(lambda answer: add_headers(answer, secure=secure))

    def show(error: KmsError, status: int) -> Response:
        return site.show_error(error, status, get_reference())

    def show_kms(error: KmsError) -> Response:
        status = STATUS[error.code]
        if status >= 500:
            log_error(error)
        return show(error, status)

    def show_http(error: HTTPException) -> Response:
        code = error.code or 500
        return show(_HTTP.get(code, _OTHER if code < 500 else _INTERNAL), code)

    def show_unexpected(error: Exception) -> Response:
        log_error(error)
        return show(_INTERNAL, 500)

    app.register_error_handler(KmsError, show_kms)
    app.register_error_handler(HTTPException, show_http)
    app.register_error_handler(Exception, show_unexpected)
    return site
