"""Changing one's own password: with the present one and a second factor; all one's logins end."""

from flask import Response, make_response, redirect, request

from kms.console.pages.login import MAX_PASSWORD, MENDED, dump_options, read_proof
from kms.console.pages.sessions import LOGIN
from kms.console.pages.site import Site
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.errors import KmsError


def add_password(site: Site) -> None:
    """Add the page."""
    logins = site.services.logins

    def show(principal: Principal, problem: str) -> str:
        options = dump_options(logins.build_change_options(principal))
        return site.render("password.html", principal, options=options, problem=problem)

    @site.page("/password", Action.RECORDS_READ)
    def show_password(principal: Principal) -> str:
        return show(principal, "")

    @site.page("/password", Action.RECORDS_READ, methods=("POST",))
    def change_password(principal: Principal) -> str | Response:
        current, new, again = (request.form.get(name, "")[:MAX_PASSWORD] for name in ("current", "password", "again"))
        if new != again:
            return show(principal, "The two passwords are not the same.")
        try:
            logins.change_password(principal, current, new, read_proof())
        except KmsError as error:
            if error.code not in MENDED:
                raise
            return show(principal, error.detail)
        answer = make_response(redirect("/login", code=303))
        site.cookies.take(answer, LOGIN)
        return answer
