"""How every page is made: who asks, whether they may, and what is around each page.

Rules: a page exists only with a row of the permission table, or as one of the few that nobody is logged in for. Every
POST carries the anti-forgery token. No page needs JavaScript; one script of the console's own speaks to security keys.
Nothing is kept by browsers or proxies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from kms.config import PlatformMode
from kms.console.pages.forms import FORMS
from kms.console.pages.services import PageServices
from kms.console.pages.sessions import LOGIN, VISITOR, Cookies, build_token, check_token
from kms.domain.people import Principal
from kms.domain.permissions import PERMISSIONS, Action, check_permitted
from kms.domain.recovery import PlatformCondition
from kms.errors import Code, KmsError

Page = Callable[..., str | Response]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; connect-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers would send forms with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), publickey-credentials-get=(self)",
}
HSTS = "max-age=31536000"


@dataclass(frozen=True)
class Entry:
    """An entry of the menu."""

    label: str
    path: str
    action: Action
    group: str


MENU = (
    Entry("Dashboard", "/", Action.RECORDS_READ, "Work"),
    Entry("Requests", "/requests", Action.REQUESTS_READ, "Work"),
    Entry("Ceremonies", "/ceremonies", Action.RECORDS_READ, "Work"),
    Entry("Alarms", "/alarms", Action.RECORDS_READ, "Work"),
    Entry("Master keys", "/keys", Action.RECORDS_READ, "Keys"),
    Entry("Policies", "/policies", Action.RECORDS_READ, "Keys"),
    Entry("Cards", "/cards", Action.RECORDS_READ, "Fleet"),
    Entry("Updates", "/updates", Action.RECORDS_READ, "Fleet"),
    Entry("Campaigns", "/campaigns", Action.RECORDS_READ, "Fleet"),
    Entry("Terminals and peers", "/terminals", Action.RECORDS_READ, "Fleet"),
    Entry("People", "/people", Action.PEOPLE_READ, "Oversight"),
    Entry("Audit log", "/audit", Action.AUDIT_READ, "Oversight"),
)


@dataclass
class Site:
    """The pages as one blueprint. `rows`: each page's permission row by its endpoint, None: nobody is logged in."""

    services: PageServices
    blueprint: Blueprint = field(default_factory=lambda: Blueprint("pages", __name__))
    rows: dict[str, Action | None] = field(default_factory=dict)

    @property
    def cookies(self) -> Cookies:
        """The cookies of this console."""
        return Cookies(self.services.config.console.origin)

    def page(self, rule: str, action: Action, *, methods: tuple[str, ...] = ("GET",)) -> Callable[[Page], Page]:
        """Register a page for whom the table permits `action`; it is given the principal first."""

        def register(view: Page) -> Page:
            @wraps(view)
            def guarded(**arguments: object) -> str | Response:
                principal = self._authenticate()
                check_permitted(principal, action)
                if request.method == "POST":
                    check_token(request, self.cookies.find(request, LOGIN), self.services.config.console.origin)
                return view(principal, **arguments)

            self._add(rule, guarded, methods, action)
            return guarded

        return register

    def open_page(self, rule: str, *, methods: tuple[str, ...] = ("GET",)) -> Callable[[Page], Page]:
        """Register a page for people who are not logged in."""

        def register(view: Page) -> Page:
            @wraps(view)
            def guarded(**arguments: object) -> str | Response:
                if request.method == "POST":
                    check_token(request, self.cookies.find(request, VISITOR), self.services.config.console.origin)
                return view(**arguments)

            self._add(rule, guarded, methods, None)
            return guarded

        return register

    def render(self, template: str, principal: Principal | None = None, **values: object) -> str:
        """Make a page with all that is around it."""
        config = self.services.config
        mode = config.platform.mode
        return render_template(
            template,
            principal=principal,
            menu=[item for item in MENU if principal and principal.roles & PERMISSIONS[item.action].roles],
            here=_find_here(request.path),
            platform=config.platform,
            production=mode is PlatformMode.PRODUCTION,
            transient=config.hsm.allow_transient_plaintext,
            recovery=principal is not None and self._is_recovering(),
            csrf_token=build_token(self._find_secret(principal)),
            now=self.services.clock.now(),
            may=lambda action: self.may(principal, Action(action)),
            **values,
        )

    @staticmethod
    def may(principal: Principal | None, action: Action) -> bool:
        """Whether to show somebody a form; asking for the action checks it again."""
        return principal is not None and bool(principal.roles & PERMISSIONS[action].roles) and action in FORMS

    def visit(self, template: str, **values: object) -> Response:
        """Make a page for somebody who is not logged in, whose browser gets a secret for its forms."""
        secret = self.cookies.find(request, VISITOR)
        g.visitor = secret or self.services.new_secret()
        answer = make_response(self.render(template, None, **values))
        if not secret:
            self.cookies.give(answer, VISITOR, g.visitor)
        return answer

    def show_error(self, error: KmsError, status: int, reference: str) -> Response:
        """An error as a page, or the way to the login."""
        if error.code is Code.LOGIN_NEEDED and request.method == "GET":
            return make_response(redirect(f"/login?next={quote(request.full_path.rstrip('?'))}", code=303))
        principal: Principal | None = g.get("principal")
        if principal is None:
            answer = self.visit("error.html", error=error, status=status, reference=reference)
        else:
            page = self.render("error.html", principal, error=error, status=status, reference=reference)
            answer = make_response(page)
        answer.status_code = status
        return answer

    def _authenticate(self) -> Principal:
        secret = self.cookies.find(request, LOGIN)
        if not secret:
            raise KmsError(Code.LOGIN_NEEDED, "You are not logged in, or your login has ended: log in again.")
        g.principal = self.services.logins.authenticate(secret)
        principal: Principal = g.principal
        return principal

    def _find_secret(self, principal: Principal | None) -> str:
        secret: str = self.cookies.find(request, LOGIN) if principal else g.get("visitor", "")
        return secret

    def _is_recovering(self) -> bool:
        try:
            with self.services.store.reading() as reading:
                state = reading.platform_state.find_current()
        except KmsError:
            return False
        return state is not None and state.condition is PlatformCondition.RECOVERY

    def _add(self, rule: str, view: Callable[..., Any], methods: tuple[str, ...], action: Action | None) -> None:
        self.rows[f"{self.blueprint.name}.{view.__name__}"] = action
        self.blueprint.add_url_rule(rule, view.__name__, view, methods=list(methods))


def _find_here(path: str) -> str:
    """The menu's entry that a page belongs to."""
    first = path.split("/")[1]
    return f"/{first}"


def add_headers(answer: Response, *, secure: bool) -> Response:
    """What every answer of the console tells browsers."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    if secure:
        answer.headers["Strict-Transport-Security"] = HSTS
    return answer


def count_approvals(action: Action, raised: Mapping[Action, int]) -> int:
    """Approvals by others that an action takes at least."""
    return max(PERMISSIONS[action].approvals, raised.get(action, 0))
