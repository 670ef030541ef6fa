"""Ceremonies: which there are, the next step and who is awaited, one's part in it, and the signed record.

Rules: a key component never comes to the console: its form is sent to a process that was started for this one component
and ends with it, so the page that holds the form may send it there and nowhere else. Steps and starts are actions.
"""

from urllib.parse import urlsplit

from flask import Response, make_response, request

from kms.config.ceremony_files import find_script, load_scripts
from kms.console.pages.sessions import LOGIN
from kms.console.pages.site import CONTENT_SECURITY_POLICY, Site
from kms.domain.ceremonies import CeremonyState, check_step
from kms.domain.ceremony_scripts import StepKind
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.errors import Code, KmsError
from kms.service.ceremonies.service import CeremonyView
from kms.service.ceremonies.words import build_words

ALL = 1000
PAST = 50


def add_ceremonies(site: Site) -> None:
    """Add the pages."""
    services = site.services

    @site.page("/ceremonies", Action.RECORDS_READ)
    def list_ceremonies(principal: Principal) -> str:
        everything = list(reversed(services.ceremonies.list(limit=ALL)))
        running = [services.ceremonies.view(item.id) for item in everything if item.state is CeremonyState.RUNNING]
        folder = services.config.ceremonies
        return site.render(
            "ceremonies.html",
            principal,
            running=[(view, find_hindrance(site, principal, view)) for view in running],
            past=[item for item in everything if item.state is not CeremonyState.RUNNING][:PAST],
            scripts=load_scripts(folder.folder) if folder is not None else (),
        )

    @site.page("/ceremonies/scripts/<name>", Action.RECORDS_READ)
    def show_script(principal: Principal, name: str) -> str:
        folder = services.config.ceremonies
        if folder is None:
            raise KmsError(Code.NOT_FOUND, "No folder of ceremonies is configured ([ceremonies] folder).")
        loaded = find_script(folder.folder, name)
        return site.render(
            "script.html",
            principal,
            name=name,
            loaded=loaded,
            words=build_words(loaded.digest),
            rehearsable=folder.rehearsal_hsm is not None,
        )

    @site.page("/ceremonies/<ceremony_id>", Action.RECORDS_READ)
    def show_ceremony(principal: Principal, ceremony_id: str) -> str:
        view = services.ceremonies.view(ceremony_id)
        step = view.next_step
        return site.render(
            "ceremony.html",
            principal,
            view=view,
            hindrance=find_hindrance(site, principal, view),
            enters=step is not None and step.do is StepKind.ENTER_COMPONENT,
            makes=step is not None and step.do is StepKind.MAKE_COMPONENT,
        )

    @site.page("/ceremonies/<ceremony_id>/component", Action.CEREMONIES_STEP, methods=("POST",))
    def enter_component(principal: Principal, ceremony_id: str) -> Response:
        origin = services.config.console.origin
        view = services.ceremonies.view(ceremony_id)
        back = f"{origin}/ceremonies/{view.ceremony.id}"
        started = services.entry_starter.start(ceremony_id, site.cookies.find(request, LOGIN), origin=origin, back=back)
        parts = urlsplit(origin)
        target = f"{parts.scheme}://{parts.hostname}:{started.port}"
        answer = make_response(
            site.render("component.html", principal, view=view, target=f"{target}/", ticket=started.ticket)
        )
        policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", f"form-action 'self' {target}")
        answer.headers["Content-Security-Policy"] = policy
        # The process looks where the form comes from: the origin, and no more of the address, goes with it.
        answer.headers["Referrer-Policy"] = "strict-origin"
        return answer

    @site.page("/ceremonies/<ceremony_id>/record", Action.RECORDS_READ)
    def export_record(principal: Principal, ceremony_id: str) -> Response:
        answer = make_response(services.ceremony_records.get(ceremony_id, actor=principal.actor))
        answer.mimetype = "application/json"
        answer.headers["Content-Disposition"] = f'attachment; filename="ceremony-{ceremony_id}.json"'
        return answer


def find_hindrance(site: Site, principal: Principal, view: CeremonyView) -> str:
    """Why this person may not do the next step now; empty when they may."""
    try:
        check_step(
            view.ceremony,
            view.script,
            view.next_number,
            principal,
            done=view.steps,
            now=site.services.clock.now(),
        )
    except KmsError as error:
        return error.detail
    return ""
