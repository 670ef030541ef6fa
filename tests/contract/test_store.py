"""The store's contract (`kms/service/ports.py`), over the fake that service tests use and the real one."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from kms.card.keys import DerivationPurpose
from kms.domain.cards import CardState
from kms.domain.keys import KeyState, MasterKind, PlatformKeyPurpose
from kms.domain.updates import UpdateState
from kms.domain.visits import VisitState
from kms.errors import Code, KmsError
from kms.service.ports import Store, Transaction
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import (
    NOW,
    build_application,
    build_audit_event,
    build_card,
    build_domain,
    build_id,
    build_isd,
    build_key_set,
    build_master,
    build_peer_key,
    build_platform_key,
    build_terminal,
    build_update,
    build_visit,
    build_visit_event,
)
from tests.fakes.stores import DATABASES, open_store_on


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with open_store_on(request.param, tmp_path) as real:
        yield real


def add_card(transaction: Transaction, number: int = 1) -> None:
    """A card with its ISD (2001) and an SSD (2002)."""
    card = build_card(number)
    transaction.cards.add(card)
    transaction.security_domains.add_all(
        [
            build_isd(10 * number + 1, card_id=card.id),
            build_domain(10 * number + 2, card_id=card.id, parent_id=build_id(2000 + 10 * number + 1)),
        ]
    )


@pytest.fixture
def filled(store: Store) -> Store:
    """One card, its ISD and two SSDs, a master, a key set, a terminal."""
    with store.transaction() as transaction:
        transaction.cards.add(build_card())
        transaction.security_domains.add_all([build_domain(1), build_isd(2), build_domain(3)])
        transaction.master_keys.add(build_master())
        transaction.key_sets.add(build_key_set())
        transaction.terminals.add(build_terminal())
    return store


def check_refused(error: pytest.ExceptionInfo[KmsError], code: Code) -> None:
    assert error.value.code is code
    assert error.value.detail


class TestTransactions:
    def test_what_a_block_wrote_is_there_for_the_next(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.cards.add(build_card())
        with store.transaction() as transaction:
            assert transaction.cards.get(build_card().id) == build_card()

    def test_an_exception_takes_everything_back(self, filled: Store) -> None:
        def write_and_fail() -> None:
            with filled.transaction() as transaction:
                transaction.cards.add(build_card(2))
                transaction.cards.save(build_card(1, quarantine_reason="odd"))
                transaction.audit.append(build_audit_event())
                raise RuntimeError("power cut")

        with pytest.raises(RuntimeError, match="power cut"):
            write_and_fail()
        with filled.transaction() as transaction:
            assert transaction.cards.list() == [build_card()]
            assert not transaction.audit.list()

    def test_a_conflict_takes_the_whole_block_back(self, filled: Store) -> None:
        with pytest.raises(KmsError) as error, filled.transaction() as transaction:
            transaction.terminals.add_all([build_terminal(2), build_terminal(1)])
        check_refused(error, Code.CONFLICT)
        with filled.transaction() as transaction:
            assert transaction.terminals.find(build_terminal(2).id) is None

    def test_what_two_read_change_and_save_at_once_loses_nothing(self, filled: Store) -> None:
        def write_lines() -> None:
            written = 0
            while written < 5:
                try:
                    with filled.transaction() as transaction:
                        before = transaction.terminals.get(build_terminal().id)
                        transaction.terminals.save(replace(before, reason=before.reason + "."))
                    written += 1
                except KmsError as error:
                    assert error.code is Code.VISIT_CONFLICT  # noqa: PT017 - any other ends the thread, and lines miss

        workers = [threading.Thread(target=write_lines) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        with filled.transaction() as transaction:
            assert transaction.terminals.get(build_terminal().id).reason == "." * 10

    def test_check_passes(self, store: Store) -> None:
        store.check()


class TestEveryNoun:
    def test_what_is_stored_comes_back_equal(self, filled: Store) -> None:
        update = build_update(1, new_key_set_id=build_key_set().id, application_id=build_application().id)
        visit = build_visit(1, order='["80"]', program="{}", update_id=update.id, report_digest=bytes(32))
        with filled.transaction() as transaction:
            transaction.applications.add(build_application())
            transaction.key_updates.add(update)
            transaction.visits.add(visit)
        with filled.transaction() as transaction:
            assert transaction.cards.get(build_card().id) == build_card()
            assert transaction.security_domains.get(build_domain().id) == build_domain()
            assert transaction.master_keys.get(build_master().id) == build_master()
            assert transaction.key_sets.get(build_key_set().id) == build_key_set()
            assert transaction.applications.get(build_application().id) == build_application()
            assert transaction.key_updates.get(update.id) == update
            assert transaction.visits.get(visit.id) == visit
            assert transaction.terminals.get(build_terminal().id) == build_terminal()

    def test_times_come_back_in_utc_whatever_zone_they_came_in(self, store: Store) -> None:
        tokyo = NOW.astimezone(timezone(timedelta(hours=9)))
        with store.transaction() as transaction:
            transaction.cards.add(build_card(1, enrolled_at=tokyo))
        with store.transaction() as transaction:
            assert transaction.cards.get(build_card().id).enrolled_at == NOW

    def test_save_writes_every_column(self, filled: Store) -> None:
        changed = build_key_set(
            1, kvn=0x30, kcvs=(), state=KeyState.DEACTIVATED, proved_at=None, replaced_at=NOW, purpose=None
        )
        with filled.transaction() as transaction:
            transaction.key_sets.save(changed)
        with filled.transaction() as transaction:
            assert transaction.key_sets.get(changed.id) == changed

    def test_absent_rows_are_none_or_not_found(self, store: Store) -> None:
        with store.transaction() as transaction:
            assert transaction.cards.find("nowhere") is None
            assert transaction.cards.find_by_identity(b"\x01") is None
            assert transaction.security_domains.find_by_aid("nowhere", b"\x01") is None
            assert transaction.applications.find_by_aid("nowhere", b"\x01") is None
            assert transaction.visits.find_by_session("nowhere") is None
            assert transaction.terminals.find_by_fingerprint(bytes(32)) is None
            assert transaction.terminals.find_by_name("nowhere") is None
            assert transaction.master_keys.find_by_name("nowhere") is None
            assert transaction.master_keys.find_active(MasterKind.ISD) is None
            with pytest.raises(KmsError) as error:
                transaction.cards.get("nowhere")
            check_refused(error, Code.NOT_FOUND)
            with pytest.raises(KmsError) as error:
                transaction.cards.save(build_card())
            check_refused(error, Code.NOT_FOUND)

    def test_lists_are_paged_oldest_first(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.cards.add_all(build_card(number) for number in (3, 1, 2))
        with store.transaction() as transaction:
            assert transaction.cards.list() == [build_card(1), build_card(2), build_card(3)]
            assert transaction.cards.list(limit=1, offset=1) == [build_card(2)]

    def test_add_all_takes_more_rows_than_one_statement_holds(self, store: Store) -> None:
        cards = [build_card(number) for number in range(1, 1202)]
        with store.transaction() as transaction:
            transaction.cards.add_all(iter(cards))
        with store.transaction() as transaction:
            found = transaction.cards.find_by_identities([card.identity for card in cards] + [b"unknown"])
        assert sorted(found, key=lambda card: card.id) == cards

    def test_add_all_of_nothing_is_nothing(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.cards.add_all([])
            assert not transaction.cards.find_by_identities([])
            assert not transaction.security_domains.list_for_cards([])


class TestUniqueValues:
    def test_one_card_for_an_identity(self, filled: Store) -> None:
        with pytest.raises(KmsError) as error, filled.transaction() as transaction:
            transaction.cards.add(build_card(2, identity=build_card(1).identity))
        check_refused(error, Code.CONFLICT)

    def test_one_security_domain_for_a_card_and_aid(self, filled: Store) -> None:
        with pytest.raises(KmsError) as error, filled.transaction() as transaction:
            transaction.security_domains.add(build_domain(9, aid=build_domain(1).aid))
        check_refused(error, Code.CONFLICT)

    def test_no_generation_twice_for_a_security_domain_and_purpose(self, filled: Store) -> None:
        with pytest.raises(KmsError) as error, filled.transaction() as transaction:
            transaction.key_sets.add(build_key_set(2, generation=1))
        check_refused(error, Code.CONFLICT)

    def test_the_same_generation_serves_another_purpose(self, filled: Store) -> None:
        with filled.transaction() as transaction:
            transaction.key_sets.add(build_key_set(2, generation=1, purpose=DerivationPurpose.SSD_INITIAL))
            transaction.key_sets.add(build_key_set(3, generation=0, purpose=None))
            transaction.key_sets.add(build_key_set(4, generation=0, purpose=None))

    def test_one_terminal_for_a_name_and_for_a_certificate(self, filled: Store) -> None:
        for twin in (build_terminal(2, name="counter-1"), build_terminal(2, fingerprint=build_terminal(1).fingerprint)):
            with pytest.raises(KmsError) as error, filled.transaction() as transaction:
                transaction.terminals.add(twin)
            check_refused(error, Code.CONFLICT)

    def test_saving_may_not_take_another_rows_value(self, filled: Store) -> None:
        with filled.transaction() as transaction:
            transaction.terminals.add(build_terminal(2))
        with pytest.raises(KmsError) as error, filled.transaction() as transaction:
            transaction.terminals.save(build_terminal(2, name="counter-1"))
        check_refused(error, Code.CONFLICT)

    def test_one_visit_for_a_session(self, filled: Store) -> None:
        with pytest.raises(KmsError) as error, filled.transaction() as transaction:
            transaction.visits.add_all([build_visit(1), build_visit(2, session_id="session-1")])
        check_refused(error, Code.CONFLICT)

    def test_one_master_for_a_kind_name_and_generation_and_for_an_object(self, filled: Store) -> None:
        for twin in (build_master(2, name="vendor-1"), build_master(2, object_id=build_master(1).object_id)):
            with pytest.raises(KmsError) as error, filled.transaction() as transaction:
                transaction.master_keys.add(twin)
            check_refused(error, Code.CONFLICT)


class TestCards:
    def test_a_claim_counts_up_and_can_be_made_once(self, filled: Store) -> None:
        with filled.transaction() as transaction:
            transaction.cards.claim(build_card())
        with filled.transaction() as transaction:
            assert transaction.cards.get(build_card().id) == build_card(1, version=1)
        with pytest.raises(KmsError) as error, filled.transaction() as transaction:
            transaction.cards.claim(build_card())
        check_refused(error, Code.VISIT_CONFLICT)

    def test_of_two_claims_at_once_one_wins(self, filled: Store) -> None:
        outcomes: list[str] = []
        start = threading.Barrier(2)

        def claim() -> None:
            start.wait()
            try:
                with filled.transaction() as transaction:
                    transaction.cards.claim(build_card())
                outcomes.append("won")
            except KmsError as error:
                outcomes.append(error.code)

        workers = [threading.Thread(target=claim) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sorted(outcomes) == [Code.VISIT_CONFLICT, "won"]


class TestCardLists:
    def test_cards_in_service_that_are_owed_an_update(self, filled: Store) -> None:
        with filled.transaction() as transaction:
            for number in (2, 3, 4):
                add_card(transaction, number)
            transaction.cards.save(build_card(4, state=CardState.QUARANTINED))
            transaction.key_updates.add_all(
                [
                    build_update(1, state=UpdateState.DONE),
                    build_update(2, security_domain_id=build_id(2021)),
                    build_update(3, security_domain_id=build_id(2022), state=UpdateState.RUNNING),
                    build_update(4, security_domain_id=build_id(2031)),
                    build_update(5, security_domain_id=build_id(2041)),
                ]
            )
        with filled.transaction() as transaction:
            assert transaction.cards.list_pending() == [build_card(2), build_card(3)]
            assert transaction.cards.list_pending(limit=1, offset=1) == [build_card(3)]

    def test_a_cards_domains_sets_and_updates(self, filled: Store) -> None:
        with filled.transaction() as transaction:
            add_card(transaction, 2)
            transaction.key_sets.add(build_key_set(2, security_domain_id=build_id(2021)))
            transaction.key_sets.add(
                build_key_set(3, security_domain_id=build_id(2003), created_at=NOW - timedelta(days=1))
            )
        with filled.transaction() as transaction:
            one, two = build_card(1).id, build_card(2).id
            assert transaction.security_domains.find_by_aid(one, build_domain(3).aid) == build_domain(3)
            assert transaction.security_domains.find_by_aid(two, build_domain(3).aid) is None
            assert [item.id for item in transaction.security_domains.list_for_card(two)] == [
                build_id(2021),
                build_id(2022),
            ]
            assert len(transaction.security_domains.list_for_cards([one, two])) == 5
            assert [item.id for item in transaction.key_sets.list_for_card(one)] == [build_id(4003), build_id(4001)]
            assert [item.id for item in transaction.key_sets.list_for_domain(build_id(2021))] == [build_id(4002)]
            found = transaction.key_sets.list_for_domains([build_id(2021), build_id(2003)])
            assert {item.id for item in found} == {build_id(4002), build_id(4003)}

    def test_open_updates_come_with_the_isds_first_then_by_due_time(self, filled: Store) -> None:
        ssd, isd = build_id(2001), build_id(2002)
        with filled.transaction() as transaction:
            add_card(transaction, 2)
            transaction.key_updates.add_all(
                [
                    build_update(1, security_domain_id=build_id(2003), due_at=NOW + timedelta(days=9)),
                    build_update(2, due_at=NOW + timedelta(days=1), state=UpdateState.RUNNING),
                    build_update(3, state=UpdateState.DONE),
                    build_update(4, state=UpdateState.FAILED),
                    build_update(5, state=UpdateState.CANCELLED),
                    build_update(6, security_domain_id=isd, due_at=NOW + timedelta(days=20)),
                    build_update(7, security_domain_id=build_id(2021)),
                ]
            )
        with filled.transaction() as transaction:
            found = transaction.key_updates.list_open_for_card(build_card(1).id)
            assert [item.id for item in found] == [build_id(5006), build_id(5002), build_id(5001)]
            assert [item.id for item in transaction.key_updates.list_for_domain(ssd)] == [
                build_id(number) for number in range(5002, 5006)
            ]

    def test_the_newest_application_for_an_aid(self, filled: Store) -> None:
        aid = build_application().aid
        with filled.transaction() as transaction:
            transaction.applications.add_all([build_application(2), build_application(1)])
        with filled.transaction() as transaction:
            assert transaction.applications.find_by_aid(build_card().id, aid) == build_application(2)
            assert list(transaction.applications.list_for_card(build_card().id)) == [
                build_application(1),
                build_application(2),
            ]


class TestVisits:
    def test_open_visits_of_a_card_oldest_first(self, filled: Store) -> None:
        with filled.transaction() as transaction:
            transaction.visits.add_all([build_visit(3), build_visit(1), build_visit(2, state=VisitState.ENDED)])
        with filled.transaction() as transaction:
            assert transaction.visits.list_open_for_card(build_card().id) == [build_visit(1), build_visit(3)]
            assert transaction.visits.find_by_session("session-2") == build_visit(2, state=VisitState.ENDED)

    def test_visits_in_which_a_cryptogram_fitted_nothing(self, filled: Store) -> None:
        with filled.transaction() as transaction:
            add_card(transaction, 2)
            transaction.terminals.add(build_terminal(2))
            transaction.visits.add_all(
                [
                    build_visit(1, mismatches=1, opened_at=NOW - timedelta(days=2)),
                    build_visit(2, mismatches=1, terminal_id=build_id(7002)),
                    build_visit(3, mismatches=2, card_id=build_card(2).id),
                    build_visit(4, mismatches=0),
                ]
            )
        with filled.transaction() as transaction:
            visits = transaction.visits
            assert [item.id for item in visits.list_mismatched(since=NOW)] == [build_id(8002), build_id(8003)]
            of_card = visits.list_mismatched(since=NOW, card_id=build_card(1).id)
            assert [item.id for item in of_card] == [build_id(8002)]
            at_terminal = visits.list_mismatched(since=NOW, terminal_id=build_id(7001))
            assert [item.id for item in at_terminal] == [build_id(8003)]

    def test_the_journal_is_in_order_and_takes_a_number_once(self, filled: Store) -> None:
        with filled.transaction() as transaction:
            transaction.visits.add_all([build_visit(1), build_visit(2)])
            transaction.visits.add_event(build_visit_event(2))
            transaction.visits.add_event(build_visit_event(1))
            transaction.visits.add_event(build_visit_event(1, visit_id=build_id(8002)))
        with filled.transaction() as transaction:
            assert transaction.visits.list_events(build_id(8001)) == [build_visit_event(1), build_visit_event(2)]
        with pytest.raises(KmsError) as error, filled.transaction() as transaction:
            transaction.visits.add_event(build_visit_event(2, text="something else"))
        check_refused(error, Code.CONFLICT)


class TestMasterKeys:
    def test_the_newest_active_generation(self, store: Store) -> None:
        first = build_master(1, kind=MasterKind.SSD, name="ssd")
        with store.transaction() as transaction:
            transaction.master_keys.add_all(
                [
                    replace(first, state=KeyState.ACTIVE),
                    build_master(2, kind=MasterKind.SSD, name="ssd", generation=2),
                    build_master(3, kind=MasterKind.SSD, name="ssd", generation=3, state=KeyState.PRE_ACTIVATION),
                    build_master(4, name="other", generation=9),
                ]
            )
        with store.transaction() as transaction:
            newest = transaction.master_keys.find_active(MasterKind.SSD)
            assert newest is not None
            assert newest.generation == 2
            by_name = transaction.master_keys.find_by_name("ssd")
            assert by_name is not None
            assert by_name.generation == 3
            assert transaction.master_keys.find_active(MasterKind.VENDOR, "ssd") is None
            other = transaction.master_keys.find_active(MasterKind.VENDOR, "other")
            assert other is not None
            assert other.id == build_id(3004)


class TestKeysBetweenPlatforms:
    def test_what_is_stored_comes_back_equal(self, store: Store) -> None:
        with store.transaction() as transaction:
            transaction.platform_keys.add(build_platform_key())
            transaction.peer_keys.add(build_peer_key())
            transaction.master_keys.add(build_master(1, kind=MasterKind.PEER_KEK))
        with store.transaction() as transaction:
            assert transaction.platform_keys.get(build_platform_key().id) == build_platform_key()
            assert transaction.peer_keys.get(build_peer_key().id) == build_peer_key()
            assert transaction.master_keys.find_active(MasterKind.PEER_KEK, "vendor-1") is not None

    def test_the_active_and_the_planned_pair_of_a_purpose_are_told_apart(self, store: Store) -> None:
        planned = build_platform_key(2, state=KeyState.PRE_ACTIVATION, public_key_der=b"")
        with store.transaction() as transaction:
            transaction.platform_keys.add_all([build_platform_key(1), planned])
            assert transaction.platform_keys.find_active(PlatformKeyPurpose.SIGNING) == build_platform_key(1)
            assert transaction.platform_keys.find_planned(PlatformKeyPurpose.SIGNING) == planned
            assert transaction.platform_keys.find_active(PlatformKeyPurpose.TRANSPORT) is None

    def test_a_purpose_has_one_active_pair(self, store: Store) -> None:
        with pytest.raises(KmsError) as error, store.transaction() as transaction:
            transaction.platform_keys.add_all([build_platform_key(1), build_platform_key(2)])
        check_refused(error, Code.CONFLICT)

    def test_a_peer_has_one_active_key_and_any_number_of_old_ones(self, store: Store) -> None:
        old = [build_peer_key(number, peer="bank", state=KeyState.DEACTIVATED) for number in (1, 2)]
        active = build_peer_key(3, peer="bank")
        with store.transaction() as transaction:
            transaction.peer_keys.add_all([*old, active])
            assert transaction.peer_keys.find_active("bank") == active
            assert transaction.peer_keys.find_active("other") is None
        with pytest.raises(KmsError) as error, store.transaction() as transaction:
            transaction.peer_keys.add(build_peer_key(4, peer="bank"))
        check_refused(error, Code.CONFLICT)
