"""The store's contract for repair, recovery, terminals' limits and the pending list, over the fake and the real one."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kms.card.keys import DerivationPurpose, KeyType
from kms.domain.cards import CardState
from kms.domain.pending import PendingFilter
from kms.domain.recovery import (
    FindingKind,
    KeyFinding,
    PlatformCondition,
    PlatformState,
    RepairOrder,
    RepairState,
)
from kms.domain.terminal_limits import CardSpan, TerminalLimits
from kms.domain.updates import UpdateReason, UpdateState
from kms.domain.visits import TerminalState
from kms.service.ports import Store
from tests.contract.test_store import add_card
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import (
    NOW,
    build_audit_event,
    build_card,
    build_domain,
    build_id,
    build_isd,
    build_key_set,
    build_master,
    build_terminal,
    build_update,
    build_visit,
)
from tests.fakes.stores import DATABASES, open_store_on


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store_on(request.param, tmp_path) as real:
        yield real


@pytest.fixture
def filled(store: Store) -> Store:
    """One card, its ISD and an SSD, a master, a key set, a terminal."""
    with store.transaction() as transaction:
        transaction.cards.add(build_card())
        transaction.security_domains.add_all([build_domain(1), build_isd(2)])
        transaction.master_keys.add(build_master())
        transaction.key_sets.add(build_key_set())
        transaction.terminals.add(build_terminal())
    return store


class TestRecoveryRecords:
    def test_the_platforms_condition_is_one_row(self, store: Store) -> None:
        with store.transaction() as transaction:
            assert transaction.platform_state.find_current() is None
            state = PlatformState("platform", PlatformCondition.RECOVERY, NOW, "recovery", "behind", NOW, NOW)
            transaction.platform_state.add(state)
        with store.transaction() as transaction:
            assert transaction.platform_state.find_current() == state
            normal = replace(state, condition=PlatformCondition.NORMAL, changed_by="officer")
            transaction.platform_state.save(normal)
            assert transaction.platform_state.find_current() == normal

    def test_repair_orders_and_what_they_found(self, filled: Store) -> None:
        card_id = build_card().id
        order = RepairOrder(build_id(1), card_id, build_terminal().id, RepairState.OPEN, NOW, "officer")
        of_repair = KeyFinding(
            id=build_id(1),
            card_id=card_id,
            security_domain_id=build_domain().id,
            visit_id=build_visit().id,
            found_at=NOW,
            kind=FindingKind.DERIVED,
            kvn=0x21,
            counter=7,
            purpose=DerivationPurpose.SSD,
            key_type=KeyType.AES128,
            master_id=build_master().id,
            generation=1,
            repair_order_id=order.id,
        )
        of_recovery = replace(of_repair, id=build_id(2), repair_order_id=None, kind=FindingKind.UNKNOWN)
        with filled.transaction() as transaction:
            transaction.visits.add(build_visit())
            transaction.repair_orders.add(order)
            transaction.key_findings.add_all([of_repair, of_recovery])
        with filled.transaction() as transaction:
            assert transaction.repair_orders.find_open(card_id) == order
            assert transaction.key_findings.list_for_order(order.id) == [of_repair]
            assert transaction.key_findings.list_of_recovery(NOW) == [of_recovery]
            assert transaction.key_findings.list_of_recovery(NOW + timedelta(seconds=1)) == []
            assert transaction.key_findings.count_by_kind(NOW) == {"unknown": 1}
            transaction.key_findings.mark_applied(order.id, NOW)
            transaction.repair_orders.save(replace(order, state=RepairState.FOUND))
        with filled.transaction() as transaction:
            assert transaction.repair_orders.find_open(card_id) is None
            assert transaction.repair_orders.find_newest(card_id) == replace(order, state=RepairState.FOUND)
            assert transaction.key_findings.list_for_order(order.id) == [replace(of_repair, applied_at=NOW)]

    def test_an_audit_event_is_known_by_its_id(self, store: Store) -> None:
        with store.transaction() as transaction:
            assert not transaction.audit.contains(build_audit_event().id)
            transaction.audit.append(build_audit_event())
        with store.transaction() as transaction:
            assert transaction.audit.contains(build_audit_event().id)

    def test_limits_of_terminals_and_the_refused_ones(self, store: Store) -> None:
        limits = TerminalLimits((CardSpan(b"\x01\x02", b"\x01\xff"),), (b"\xa0" * 5,))
        limited = replace(build_terminal(), limits=limits)
        with store.transaction() as transaction:
            transaction.terminals.add(limited)
            assert transaction.terminals.list_refused() == []
        with store.transaction() as transaction:
            assert transaction.terminals.get(limited.id) == limited
            transaction.terminals.save(replace(limited, state=TerminalState.REVOKED))
            assert [item.id for item in transaction.terminals.list_refused()] == [limited.id]


class TestPending:
    @pytest.fixture
    def waiting(self, store: Store) -> Store:
        """Five cards, each with an update of its SSD, due one second after another."""
        with store.transaction() as transaction:
            for number in range(1, 6):
                add_card(transaction, number)
                update = build_update(
                    number,
                    security_domain_id=build_domain(10 * number + 2).id,
                    state=UpdateState.PENDING,
                    due_at=NOW + timedelta(seconds=number),
                    finished_at=None,
                    new_key_set_id=None,
                    application_id=None,
                    campaign_id=None,
                )
                transaction.key_updates.add(update)
        return store

    def read(self, store: Store, wanted: PendingFilter, limit: int = 2) -> list[bytes]:
        """The identities, page by page to the end."""
        found, after = [], None
        while True:
            with store.transaction() as transaction:
                page = transaction.pending.list_page(wanted, limit=limit, after=after)
            assert len(page.rows) <= limit
            found += [row.identity for row in page.rows]
            after = page.after
            if after is None:
                return found

    def test_pages_go_through_all_in_order(self, waiting: Store) -> None:
        everything = [build_card(number).identity for number in range(1, 6)]
        for limit in (1, 2, 5, 6):
            assert self.read(waiting, PendingFilter(), limit) == everything

    def test_filters_and_limits_narrow(self, waiting: Store) -> None:
        cards = [build_card(number).identity for number in range(1, 6)]
        span = TerminalLimits(cards=(CardSpan(cards[1], cards[2]), CardSpan(b"\x00", b"\xff")))
        for wanted, expected in (
            (PendingFilter(limits=span), cards[1:3]),
            (PendingFilter(due_before=NOW + timedelta(seconds=3)), cards[:2]),
            (PendingFilter(aid=build_domain(12).aid), cards[:1]),
            (PendingFilter(limits=TerminalLimits(aids=(build_domain(22).aid,))), cards[1:2]),
            (PendingFilter(reason=UpdateReason.COMPROMISE), []),
        ):
            assert self.read(waiting, wanted) == expected

    def test_what_is_finished_or_of_a_card_set_aside_is_not_pending(self, waiting: Store) -> None:
        with waiting.transaction() as transaction:
            first = transaction.key_updates.get(build_update(1).id)
            transaction.key_updates.save(replace(first, state=UpdateState.DONE, finished_at=NOW))
            transaction.cards.save(replace(build_card(2), state=CardState.QUARANTINED))
        assert self.read(waiting, PendingFilter()) == [build_card(number).identity for number in (3, 4, 5)]
