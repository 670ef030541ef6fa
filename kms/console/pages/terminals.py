"""Terminals, and the platforms at the leased lines."""

from kms.console.pages.site import Site
from kms.domain.keys import MasterKind
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.errors import Code, KmsError

ALL = 1000


def add_terminals(site: Site) -> None:
    """Add the pages."""
    services = site.services

    @site.page("/terminals", Action.RECORDS_READ)
    def list_terminals(principal: Principal) -> str:
        with services.store.reading() as reading:
            terminals = reading.terminals.list(limit=ALL)
            counts = {row["peer"]: row for row in reading.console.count_transfers()}
            keys = {peer.name: reading.peer_keys.find_active(peer.name) for peer in services.config.peers}
            keks = [item for item in reading.master_keys.list(limit=ALL) if item.kind is MasterKind.PEER_KEK]
        return site.render(
            "terminals.html",
            principal,
            terminals=terminals,
            peers=services.config.peers,
            counts=counts,
            keys=keys,
            keks={item.name: item for item in sorted(keks, key=lambda item: item.generation)},
        )

    @site.page("/terminals/<path:name>", Action.RECORDS_READ)
    def show_terminal(principal: Principal, name: str) -> str:
        with services.store.reading() as reading:
            terminal = reading.terminals.find_by_name(name)
            if terminal is None:
                raise KmsError(Code.NOT_FOUND, "No terminal of this name is enrolled.")
            visits = reading.console.list_visits(terminal_id=terminal.id, limit=20)
        return site.render("terminal.html", principal, terminal=terminal, visits=visits)
