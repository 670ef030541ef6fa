"""Applications for applications (flows 2 and 3), and what waits for the cards a terminal serves.

Rules: these addresses are ours, beside SERAM (DESIGN section 3); unknown fields are refused.
"""

from typing import Annotated

from apiflask import APIBlueprint
from pydantic import Field

from kms.api.messages import Aid, Identity, Message, Time, build_hex, build_time
from kms.api.openapi import may_answer
from kms.api.services import ApiPlatform
from kms.api.terminals import get_terminal
from kms.domain.pending import PendingCard
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
    """Which cards, and which page of them."""

    card: Identity | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


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
    """A page of cards. `next`: the offset of the next page, null on the last."""

    cards: list[PendingCardAnswer]
    next: int | None


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
        extensions=may_answer(*_ALWAYS, Code.INPUT_INVALID, Code.CARD_UNKNOWN, Code.CARD_QUARANTINED),
    )
    def pending(query_data: PendingQuery) -> PendingAnswer:
        identity = bytes.fromhex(query_data.card) if query_data.card else None
        # One more than asked for says whether there is a next page.
        found = platform.applications.pending(get_terminal(), identity, query_data.limit + 1, query_data.offset)
        more = len(found) > query_data.limit
        return PendingAnswer(
            cards=[_build_card(card) for card in found[: query_data.limit]],
            next=query_data.offset + query_data.limit if more else None,
        )

    return applications


def _build_card(card: PendingCard) -> PendingCardAnswer:
    updates = [
        PendingUpdate(aid=build_hex(item.aid), reason=item.reason, due_at=build_time(item.due_at))
        for item in card.items
    ]
    return PendingCardAnswer(identity=build_hex(card.identity), pending=updates)
