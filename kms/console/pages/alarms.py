"""Alarms: what somebody has to look into."""

from flask import request

from kms.console.pages.site import Site
from kms.domain.people import Principal
from kms.domain.permissions import Action

PAGE = 50


def add_alarms(site: Site) -> None:
    """Add the page."""

    @site.page("/alarms", Action.RECORDS_READ)
    def list_alarms(principal: Principal) -> str:
        page = max(0, min(request.args.get("page", 0, int), 10_000))
        with site.services.store.reading() as reading:
            opened = reading.alarms.list_open(limit=200)
            newest = reading.alarms.list_newest(limit=PAGE, offset=page * PAGE)
        past = [item for item in newest if item.cleared_at is not None]
        return site.render("alarms.html", principal, opened=opened, past=past, page=page, more=len(newest) == PAGE)
