"""People, their accounts and credentials, and who may do what."""

from kms.console.pages.site import Site, count_approvals
from kms.domain.people import Principal
from kms.domain.permissions import PERMISSIONS, READING, Action


def add_people(site: Site) -> None:
    """Add the pages."""

    @site.page("/people", Action.PEOPLE_READ)
    def list_people(principal: Principal) -> str:
        return site.render("people.html", principal, people=site.services.people.list())

    @site.page("/permissions", Action.RECORDS_READ)
    def show_permissions(principal: Principal) -> str:
        with site.services.store.reading() as reading:
            raised = {item.action: item.approvals for item in reading.requests.list_quorums()}
        rows = [
            (action, permission, count_approvals(action, raised), action in READING)
            for action, permission in PERMISSIONS.items()
        ]
        return site.render("permissions.html", principal, rows=rows)
