"""The audit log: who did what, and how far it is signed. Reading it is recorded."""

from urllib.parse import urlencode

from flask import request

from kms.console.pages.queries import parse_day, parse_place, parse_text
from kms.console.pages.site import Site
from kms.domain.audit import AuditEvent
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.errors import KmsError

PAGE = 50
_FILTERS = ("actor", "action", "subject", "since", "until")


def add_audit(site: Site) -> None:
    """Add the page."""
    services = site.services

    @site.page("/audit", Action.AUDIT_READ)
    def read_audit(principal: Principal) -> str:
        wanted = {name: parse_text(name) for name in _FILTERS}
        since, until, before = parse_day("since"), parse_day("until"), parse_place("before")
        now = services.clock.now()
        said = ", ".join(f"{name} {value}" for name, value in wanted.items() if value)
        with services.store.transaction() as transaction:
            # Recorded before it is shown: what cannot be recorded is not read.
            event = AuditEvent(
                services.identifiers.new(), now, principal.actor, "audit.read", "audit log", "done", detail=said
            )
            transaction.audit.append(event)
        with services.store.reading() as reading:
            rows = reading.console.search_audit(
                actor=wanted["actor"],
                action=wanted["action"],
                subject=wanted["subject"],
                since=since,
                until=until,
                before=before,
                limit=PAGE,
            )
            try:
                checkpoint, broken = reading.audit.find_last_checkpoint(), ""
            except KmsError as error:
                checkpoint, broken = None, error.detail
        last = rows[-1] if len(rows) == PAGE else None
        older = (
            {**request.args, "before": f"{last['at'].isoformat()}~{last['chain']}~{last['sequence']}"} if last else {}
        )
        return site.render(
            "audit.html",
            principal,
            rows=rows,
            wanted=wanted,
            checkpoint=checkpoint,
            broken=broken,
            older=urlencode(older),
        )
