"""Logging in and out, and enrolment by invitation.

Rules: password first, then a security key or a one-time code. What a step leaves behind stands in a cookie, never in an
address or a page. Who is refused is told nothing about why.
"""

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

from flask import Response, make_response, redirect, request

from kms.console.pages.sessions import HALF, INVITATION, LOGIN, VISITOR
from kms.console.pages.site import Site
from kms.domain.people import CredentialKind, Principal
from kms.domain.permissions import Action
from kms.errors import Code, KmsError

MENDED = frozenset({Code.LOGIN_REFUSED, Code.INPUT_INVALID})
MAX_PASSWORD = 1024  # characters


def add_login(site: Site) -> None:
    """Add the pages."""
    logins = site.services.logins

    @site.open_page("/login")
    def login() -> Response:
        return site.visit("login.html", next=find_next(request.args.get("next", "")), problem="", login="")

    @site.open_page("/login", methods=("POST",))
    def login_password() -> Response:
        name = request.form.get("login", "").strip()
        following = find_next(request.form.get("next", ""))
        try:
            step = logins.begin(name, request.form.get("password", "")[:MAX_PASSWORD], source=_source())
        except KmsError as error:
            return _refuse(site, "login.html", error, next=following, login=name)
        answer = site.visit(
            "second_factor.html",
            options=dump_options(step.options),
            code=CredentialKind.TOTP in step.factors,
            next=following,
            problem="",
        )
        site.cookies.give(answer, HALF, step.secret)
        return answer

    @site.open_page("/login/second", methods=("POST",))
    def login_second() -> Response:
        following = find_next(request.form.get("next", ""))
        try:
            opened = logins.finish(site.cookies.find(request, HALF), read_proof(), source=_source())
        except KmsError as error:
            if error.code is Code.LOGIN_NEEDED:
                return _refuse(site, "login.html", error, next=following, login="")
            return _refuse(site, "second_factor.html", error, next=following, options="", code=True)
        answer = make_response(redirect(following, code=303))
        site.cookies.give(answer, LOGIN, opened.secret)
        site.cookies.take(answer, HALF)
        site.cookies.take(answer, VISITOR)
        return answer

    @site.page("/logout", Action.RECORDS_READ, methods=("POST",))
    def logout(_principal: Principal) -> Response:
        logins.logout(site.cookies.find(request, LOGIN))
        answer = make_response(redirect("/login", code=303))
        site.cookies.take(answer, LOGIN)
        answer.headers["Clear-Site-Data"] = '"cache", "storage"'
        return answer

    @site.open_page("/enrol")
    def enrol() -> Response:
        return site.visit("invitation.html", problem="")

    @site.open_page("/enrol", methods=("POST",))
    def enrol_begin() -> Response:
        return _offer(site, request.form.get("invitation", "").strip(), "")

    @site.open_page("/enrol/finish", methods=("POST",))
    def enrol_finish() -> Response:
        secret = site.cookies.find(request, INVITATION)
        password = request.form.get("password", "")[:MAX_PASSWORD]
        if password != request.form.get("again", "")[:MAX_PASSWORD]:
            return _offer(site, secret, "The two passwords are not the same.")
        try:
            done = site.services.enrolment.finish(
                secret, password, read_proof(), label=request.form.get("label", "").strip()
            )
        except KmsError as error:
            if error.code not in MENDED:
                raise
            return _offer(site, secret, error.detail)
        answer = site.visit("enrolled.html", done=done)
        site.cookies.take(answer, INVITATION)
        return answer


def find_next(path: str) -> str:
    """Where to go after the login: a page of this console, and of no other site."""
    parts = urlsplit(path)
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and path.isprintable()
    return path if safe and not path.startswith(("/login", "/logout", "/enrol")) else "/"


def read_proof() -> dict[str, object]:
    """The second factor that a form carries: what a security key signed, or a one-time code. Raises `input.invalid`."""
    signed = request.form.get("webauthn", "")
    if not signed:
        return {"totp": "".join(request.form.get("totp", "").split())}
    try:
        answer = json.loads(signed)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise KmsError(Code.INPUT_INVALID, "The security key's answer is not of the documented form.")
    return {"webauthn": answer}


def _offer(site: Site, secret: str, problem: str) -> Response:
    offered = site.services.enrolment.begin(secret)
    answer = site.visit("enrol.html", offered=offered, options=dump_options(offered.options), problem=problem)
    site.cookies.give(answer, INVITATION, secret)
    return answer


def _refuse(site: Site, template: str, error: KmsError, **values: object) -> Response:
    if error.code not in {Code.LOGIN_REFUSED, Code.LOGIN_LOCKED, Code.LOGIN_NEEDED, Code.INPUT_INVALID}:
        raise error
    answer = site.visit(template, problem=error.detail, **values)
    answer.status_code = 401
    return answer


def dump_options(options: Mapping[str, object] | None) -> str:
    """What a page hands to the script for a security key; empty without one."""
    return json.dumps(options) if options else ""


def _source() -> str:
    return f"console from {request.remote_addr}"
