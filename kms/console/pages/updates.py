"""Key updates: what is asked for, for what reason, and what became of it."""

from kms.console.pages.queries import parse_choice, parse_id
from kms.console.pages.site import Site
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.domain.updates import OPEN_STATES, UpdateReason, UpdateState

PAGE = 50


def add_updates(site: Site) -> None:
    """Add the page."""

    @site.page("/updates", Action.RECORDS_READ)
    def list_updates(principal: Principal) -> str:
        state, reason = parse_choice(UpdateState, "state"), parse_choice(UpdateReason, "reason")
        shown = parse_choice(UpdateState, "state", default="open", others=("open", "overdue", "all"))
        overdue_at = site.services.clock.now() if shown == "overdue" else None
        states = OPEN_STATES if shown in ("open", "overdue") else (state,) if state else ()
        with site.services.store.reading() as reading:
            rows = reading.console.search_updates(
                states=states, reason=reason, overdue_at=overdue_at, before=parse_id("before"), limit=PAGE
            )
        return site.render(
            "updates.html",
            principal,
            rows=rows,
            state=shown,
            reason=reason,
            states=list(UpdateState),
            reasons=list(UpdateReason),
            more=len(rows) == PAGE,
        )
