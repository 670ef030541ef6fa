"""Campaigns and how far they are."""

from kms.console.pages.queries import parse_id
from kms.console.pages.site import Site
from kms.domain.campaigns import CampaignState
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.service.action_definitions.campaigns import describe_filter

PAGE = 50


def add_campaigns(site: Site) -> None:
    """Add the pages."""
    services = site.services

    @site.page("/campaigns", Action.RECORDS_READ)
    def list_campaigns(principal: Principal) -> str:
        running = services.campaigns.list([item for item in CampaignState if item not in _OVER])
        over = list(reversed(services.campaigns.list(list(_OVER))))[:PAGE]
        reports = [services.campaigns.report(item.name) for item in (*reversed(running), *over)]
        return site.render("campaigns.html", principal, reports=reports)

    @site.page("/campaigns/<path:name>", Action.RECORDS_READ)
    def show_campaign(principal: Principal, name: str) -> str:
        report = services.campaigns.report(name)
        with services.store.reading() as reading:
            rows = reading.console.search_updates(campaign=name, before=parse_id("before"), limit=PAGE)
        return site.render(
            "campaign.html",
            principal,
            report=report,
            rows=rows,
            more=len(rows) == PAGE,
            chosen=describe_filter(report.campaign.chosen),
        )


_OVER = (CampaignState.DONE, CampaignState.CANCELLED)
