"""Cards and their security domains: search, every key set that ever was, why something is due, what would be sent."""

from flask import Response, make_response, redirect

from kms.console.pages.queries import parse_choice, parse_hex, parse_id, parse_text
from kms.console.pages.site import Site
from kms.domain.cards import CardState
from kms.domain.people import Principal
from kms.domain.permissions import Action
from kms.errors import Code, KmsError
from kms.service.plan_words import describe_next

PAGE = 50


def add_cards(site: Site) -> None:
    """Add the pages."""
    services = site.services

    @site.page("/cards", Action.RECORDS_READ)
    def list_cards(principal: Principal) -> str | Response:
        begins, batch = parse_hex("identity"), parse_text("batch")
        state, in_doubt = parse_choice(CardState, "state"), parse_text("doubt") == "1"
        with services.store.reading() as reading:
            found = reading.cards.find_by_identity(begins) if begins else None
            if found is not None:
                return make_response(redirect(f"/cards/{begins.hex().upper()}", code=303))
            rows = reading.console.search_cards(
                begins=begins, state=state, batch=batch, in_doubt=in_doubt, before=parse_id("before"), limit=PAGE
            )
        return site.render(
            "cards.html",
            principal,
            rows=rows,
            begins=begins,
            batch=batch,
            state=state,
            in_doubt=in_doubt,
            states=list(CardState),
            more=len(rows) == PAGE,
        )

    @site.page("/cards/<identity>", Action.RECORDS_READ)
    def show_card(principal: Principal, identity: str) -> str:
        with services.store.reading() as reading:
            card = reading.cards.find_by_identity(_parse_identity(identity))
            if card is None:
                raise KmsError(Code.NOT_FOUND, "No card with this identity is enrolled.")
            domains = reading.security_domains.list_for_card(card.id)
            key_sets = reading.console.list_key_sets(card.id)
            updates = reading.console.search_updates(card_id=card.id, limit=20)
            visits = reading.console.list_visits(card_id=card.id, limit=10)
            applications = reading.applications.list_for_card(card.id)
            planned = describe_next(
                reading,
                card,
                platform=services.config.platform.name,
                profiles=services.config.profiles,
                identifiers=services.identifiers,
                now=services.clock.now(),
            )
        return site.render(
            "card.html",
            principal,
            card=card,
            domains=domains,
            explained={item.id: services.policies.explain(card.identity, item.aid) for item in domains},
            key_sets=key_sets,
            updates=updates,
            visits=visits,
            applications=applications,
            planned=planned,
        )

    @site.page("/visits/<visit_id>", Action.RECORDS_READ)
    def show_visit(principal: Principal, visit_id: str) -> str:
        with services.store.reading() as reading:
            visit = reading.visits.get(visit_id)
            card = reading.cards.get(visit.card_id)
            terminal = reading.terminals.get(visit.terminal_id)
            events = reading.visits.list_events(visit_id)
        return site.render("visit.html", principal, visit=visit, card=card, terminal=terminal, events=events)


def _parse_identity(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise KmsError(Code.NOT_FOUND, "A card's address is its identity in hexadecimal.") from None
