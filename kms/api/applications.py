"""Applications for applications (flows 2 and 3), and what waits for the cards a terminal serves.

Rules: these addresses are ours, beside SERAM (DESIGN section 3); unknown fields are refused.
"""

from typing import Annotated

from apiflask import APIBlueprint
from pydantic import AwareDatetime, Field

from kms.api.messages import Aid, Identity, Message, Time, build_hex, build_time
from kms.api.openapi import may_answer
from kms.api.services import ApiPlatform
from kms.api.terminals import get_terminal
from kms.domain.pending import PendingCard, PendingFilter, build_cursor, parse_cursor
from kms.domain.updates import UpdateReason
from kms.errors import Code

MAX_LIMIT = 200

_ALWAYS = (
    Code.TERMINAL_UNKNOWN,
    Code.TERMINAL_REFUSED,
    Code.DATABASE_UNAVAILABLE,
    Code.INTERNAL,
)

# What comes of asking the issuer, at a provider.
_ISSUER = (
    Code.PEER_REFUSED,
    Code.PEER_UNREACHABLE,
    Code.PEER_UNTRUSTED,
    Code.PEER_PROTOCOL,
    Code.CONFIG_INVALID,
)


class CardReference(Message):
    """A card, by its identity."""

    identity: Identity


class ApplicationRequest(Message):
    """A card user's application for an application of the catalogue."""

    card: CardReference
    application: Aid


class ApplicationAnswer(Message):
    """What was recorded. `sessionId`: of the SERAM visit that brings the security domain up."""

    session_id: str
    application: Aid
    card: Identity
    state: str


class PendingQuery(Message):
    """Which updates, and which page of them. `cursor`: what the page before gave as `next`."""

    card: Identity | None = None
    aid: Aid | None = None
    reason: UpdateReason | None = None
    due_before: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50
    cursor: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class PendingUpdate(Message):
    """One open update. `aid`: of the security domain."""

    aid: Aid
    reason: str
    due_at: Time


class PendingCardAnswer(Message):
    """A card and what waits for it."""

    identity: Identity
    pending: list[PendingUpdate]


class PendingAnswer(Message):
    """A page of cards, the earliest due first; a card may be on more than one.

    `next`: the cursor of the next page, null on the last. A page may hold less than asked for and still have one.
    """

    cards: list[PendingCardAnswer]
    next: str | None


def build_applications(platform: ApiPlatform) -> APIBlueprint:
    """Build the addresses of applications and pending updates."""
    applications = APIBlueprint("applications", __name__, url_prefix="/api/v1")

    @applications.post("/applications")
    @applications.input(ApplicationRequest)
    @applications.output(ApplicationAnswer, status_code=201)
    @applications.doc(
        summary="Apply for an application on a card",
        extensions=may_answer(
            *_ALWAYS,
            Code.INPUT_INVALID,
            Code.NOT_FOUND,
            Code.CARD_UNKNOWN,
            Code.CARD_QUARANTINED,
            Code.TERMINAL_NOT_ALLOWED,
            Code.CONFLICT,
            Code.VISIT_CONFLICT,
            *_ISSUER,
            Code.BODY_TOO_LARGE,
            Code.MEDIA_TYPE,
        ),
    )
    def apply(json_data: ApplicationRequest) -> ApplicationAnswer:
        applied = platform.applications.apply(
            get_terminal(), bytes.fromhex(json_data.card.identity), bytes.fromhex(json_data.application)
        )
        return ApplicationAnswer(
            session_id=applied.session_id,
            application=json_data.application.upper(),
            card=json_data.card.identity.upper(),
            state=str(applied.state),
        )

    @applications.get("/pending")
    @applications.input(PendingQuery, location="query")
    @applications.output(PendingAnswer)
    @applications.doc(
        summary="What waits for the cards a terminal serves",
        extensions=may_answer(
            *_ALWAYS, Code.INPUT_INVALID, Code.CARD_UNKNOWN, Code.CARD_QUARANTINED, Code.TERMINAL_NOT_ALLOWED
        ),
    )
    def pending(query_data: PendingQuery) -> PendingAnswer:
        wanted = PendingFilter(
            aid=bytes.fromhex(query_data.aid) if query_data.aid else None,
            reason=query_data.reason,
            due_before=query_data.due_before,
        )
        after = parse_cursor(query_data.cursor) if query_data.cursor else None
        if query_data.card:
            page = platform.pending.list_for_card(get_terminal(), bytes.fromhex(query_data.card), wanted)
        else:
            page = platform.pending.list_page(get_terminal(), wanted, limit=query_data.limit, after=after)
        return PendingAnswer(
            cards=[_build_card(card) for card in page.cards],
            next=build_cursor(page.after) if page.after is not None else None,
        )

    return applications


def _build_card(card: PendingCard) -> PendingCardAnswer:
    updates = [
        PendingUpdate(aid=build_hex(item.aid), reason=item.reason, due_at=build_time(item.due_at))
        for item in card.items
    ]
    return PendingCardAnswer(identity=build_hex(card.identity), pending=updates)
