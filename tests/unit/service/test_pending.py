"""What a terminal is told to be pending: pages, filters, and nothing beyond its limits."""

from dataclasses import replace

import pytest

from kms.domain.cards import CardState
from kms.domain.pending import PendingFilter
from kms.domain.terminal_limits import CardSpan, TerminalLimits
from kms.domain.updates import UpdateReason
from kms.errors import Code, KmsError
from kms.service.pending import PendingService
from tests.fakes.issuer import APPLICATION_AID, IDENTITY, ISD_AID, SSD_AID, Issuer, build_issuer

ALL = PendingFilter()


@pytest.fixture
def issuer() -> Issuer:
    issuer = build_issuer()
    issuer.updates.force(IDENTITY, ISD_AID, actor="test")
    issuer.clock.move(minutes=1)
    issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID)
    return issuer


def test_what_waits_for_all_cards_or_one(issuer: Issuer) -> None:
    pending = PendingService(store=issuer.store)
    for page in (
        pending.list_page(issuer.terminal, ALL, limit=10),
        pending.list_for_card(issuer.terminal, IDENTITY, ALL),
    ):
        (card,) = page.cards
        assert [(item.aid, item.reason) for item in card.items] == [
            (ISD_AID, UpdateReason.VENDOR_TAKEOVER),
            (SSD_AID, UpdateReason.INITIAL),
        ]
        assert page.after is None


def test_pages_follow_each_other(issuer: Issuer) -> None:
    pending = PendingService(store=issuer.store)
    first = pending.list_page(issuer.terminal, ALL, limit=1)
    assert first.after is not None
    second = pending.list_page(issuer.terminal, ALL, limit=1, after=first.after)
    assert second.after is None
    found = [item.aid for page in (first, second) for card in page.cards for item in card.items]
    assert found == [ISD_AID, SSD_AID]


def test_filters_narrow(issuer: Issuer) -> None:
    pending = PendingService(store=issuer.store)
    due = issuer.clock.now()
    for wanted, aids in (
        (PendingFilter(aid=SSD_AID), [SSD_AID]),
        (PendingFilter(reason=UpdateReason.VENDOR_TAKEOVER), [ISD_AID]),
        (PendingFilter(due_before=due), [ISD_AID]),
        (PendingFilter(reason=UpdateReason.EXPIRY), []),
    ):
        page = pending.list_page(issuer.terminal, wanted, limit=10)
        assert [item.aid for card in page.cards for item in card.items] == aids
        of_card = pending.list_for_card(issuer.terminal, IDENTITY, wanted)
        assert [item.aid for card in of_card.cards for item in card.items] == aids


def test_a_terminal_sees_what_it_may_serve_and_no_more(issuer: Issuer) -> None:
    pending = PendingService(store=issuer.store)
    of_ssd = replace(issuer.terminal, limits=TerminalLimits(aids=(SSD_AID,)))
    page = pending.list_page(of_ssd, ALL, limit=10)
    assert [item.aid for card in page.cards for item in card.items] == [SSD_AID]
    others = replace(issuer.terminal, limits=TerminalLimits(cards=(CardSpan(bytes(15), bytes(15)),)))
    assert pending.list_page(others, ALL, limit=10).cards == ()
    with pytest.raises(KmsError) as error:
        pending.list_for_card(others, IDENTITY, ALL)
    assert error.value.code is Code.TERMINAL_NOT_ALLOWED


def test_cards_that_are_not_served_are_not_listed(issuer: Issuer) -> None:
    pending = PendingService(store=issuer.store)
    with pytest.raises(KmsError) as error:
        pending.list_for_card(issuer.terminal, b"\x01", ALL)
    assert error.value.code is Code.CARD_UNKNOWN
    with issuer.store.transaction() as tx:
        tx.cards.save(replace(tx.cards.get(issuer.card.id), state=CardState.QUARANTINED))
    assert pending.list_page(issuer.terminal, ALL, limit=10).cards == ()
    with pytest.raises(KmsError) as error:
        pending.list_for_card(issuer.terminal, IDENTITY, ALL)
    assert error.value.code is Code.CARD_QUARANTINED
