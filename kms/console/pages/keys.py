"""Master keys: state, generation, check value with its method, and what hangs on each."""

from kms.console.pages.site import Site
from kms.domain.keys import MasterKind
from kms.domain.people import Principal
from kms.domain.permissions import Action

ALL = 1000
NOTHING = {"live": 0, "planned": 0, "past": 0}


def add_keys(site: Site) -> None:
    """Add the pages."""
    services = site.services

    @site.page("/keys", Action.RECORDS_READ)
    def list_keys(principal: Principal) -> str:
        with services.store.reading() as reading:
            masters = reading.master_keys.list(limit=ALL)
            dependants = reading.console.count_dependants()
            pairs = reading.platform_keys.list(limit=ALL)
        rows = sorted(
            ((item, dependants.get(item.id, NOTHING)) for item in masters),
            key=lambda row: (list(MasterKind).index(row[0].kind), row[0].name, -row[0].generation),
        )
        return site.render("keys.html", principal, rows=rows, pairs=pairs)

    @site.page("/keys/<key_id>", Action.RECORDS_READ)
    def show_key(principal: Principal, key_id: str) -> str:
        with services.store.reading() as reading:
            master = reading.master_keys.get(key_id)
            use = reading.compromises.find_use(key_id)
        campaigns = [item for item in services.campaigns.list() if item.master_id == key_id]
        return site.render("key.html", principal, master=master, use=use, campaigns=campaigns)
