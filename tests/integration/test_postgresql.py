"""What PostgreSQL alone does: its schema, its isolation, its limits, its rights, and coming back after it was away."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest

from kms.db.engine import SESSION_SETTINGS, build_engine
from kms.db.migration import downgrade, find_differences, upgrade
from kms.db.models import Base
from kms.db.store import SqlStore, open_store
from kms.domain.keys import Delivery
from kms.errors import Code, KmsError
from kms.service.updates import UpdateService
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import build_factory_state
from tests.fakes.agent import Agent
from tests.fakes.issuer import APPLICATION_AID, IDENTITY, SSD_AID, build_issuer
from tests.fakes.postgres import Cluster, get_cluster
from tests.fakes.records import (
    CountingIdentifiers,
    TickingClock,
    build_audit_event,
    build_card,
    build_domain,
    build_isd,
    build_terminal,
    build_update,
    build_visit,
    build_visit_event,
)
from tests.fakes.stores import closing_store

COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND contype <> 't' AND conrelid::regclass::text <> 'alembic_version'"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
LEFT_OVER = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"""

# docs/operations.md: the rights of the servers' user, where another one owns the tables.
GRANTS = (
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO kms_server",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO kms_server",
    "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM kms_server",
    "REVOKE UPDATE, DELETE ON audit_events, visit_events FROM kms_server",
)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return get_cluster()


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    with cluster.lend_database() as name:
        yield name


@pytest.fixture
def open_one(cluster: Cluster, database: str) -> Iterator[Callable[..., SqlStore]]:
    """Open stores on one database, with session settings of the test's own."""
    with contextlib.ExitStack() as opened:

        def open_it(*settings: str, user: str = "kms") -> SqlStore:
            options = "".join(f"-c%20{setting}%20" for setting in settings)
            url = cluster.build_url(database, user)
            return opened.enter_context(closing_store(f"{url}&options={options}" if options else url))

        yield open_it


@pytest.fixture
def store(open_one: Callable[..., SqlStore]) -> SqlStore:
    """A card with an SSD, and a terminal."""
    store = open_one()
    with store.transaction() as transaction:
        transaction.cards.add(build_card())
        transaction.security_domains.add_all([build_domain(1), build_isd(2)])
        transaction.terminals.add(build_terminal())
    return store


def check_code(error: pytest.ExceptionInfo[KmsError], code: Code, word: str = "") -> None:
    assert error.value.code is code
    assert word in error.value.detail


class TestSchema:
    def test_migrations_make_the_models_tables_to_the_last_check(self, cluster: Cluster, database: str) -> None:
        assert find_differences(cluster.build_url(database)) == []
        from_models = cluster.create_database()
        engine = build_engine(cluster.build_url(from_models))
        Base.metadata.create_all(engine)
        engine.dispose()
        for question in (COLUMNS, CONSTRAINTS, INDEXES):
            assert sorted(map(repr, cluster.execute(question, database))) == sorted(
                map(repr, cluster.execute(question, from_models))
            )
        cluster.drop_database(from_models)

    def test_times_have_their_zone(self, cluster: Cluster, database: str) -> None:
        kinds = {row[2] for row in cluster.execute(COLUMNS, database)}
        assert "timestamp with time zone" in kinds
        assert "timestamp without time zone" not in kinds

    def test_forwards_back_and_forwards_again(self, cluster: Cluster) -> None:
        name = cluster.create_database()
        url = cluster.build_url(name)
        upgrade(url)
        downgrade(url, "base")
        assert {row[0] for row in cluster.execute(LEFT_OVER, name)} == {"alembic_version", "alembic_version_pkc"}
        upgrade(url)
        store = open_store(url)
        store.check()
        store.dispose()
        cluster.drop_database(name)

    def test_a_migration_that_fails_changes_nothing(self, cluster: Cluster) -> None:
        name = cluster.create_database()
        cluster.execute("CREATE TABLE terminals (x INTEGER)", name)  # stands in the first migration's way
        with pytest.raises(KmsError) as error:
            upgrade(cluster.build_url(name))
        check_code(error, Code.DATABASE_SCHEMA, "did not make")
        assert cluster.execute(LEFT_OVER, name) == [("terminals",)]
        cluster.drop_database(name)

    def test_two_upgrades_at_once_go_one_after_the_other(self, cluster: Cluster) -> None:
        name = cluster.create_database()
        run_at_once(lambda: upgrade(cluster.build_url(name)), lambda: upgrade(cluster.build_url(name)))
        assert find_differences(cluster.build_url(name)) == []
        cluster.drop_database(name)

    @pytest.mark.parametrize("table", ["audit_events", "visit_events"])
    @pytest.mark.parametrize("statement", ["UPDATE {} SET at = at", "DELETE FROM {}", "TRUNCATE {}"])
    def test_what_was_recorded_can_be_neither_changed_nor_removed(
        self, cluster: Cluster, database: str, store: SqlStore, table: str, statement: str
    ) -> None:
        with store.transaction() as transaction:
            transaction.audit.append(build_audit_event())
            transaction.visits.add(build_visit())
            transaction.visits.add_event(build_visit_event())
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            cluster.execute(statement.format(table), database)
        with store.reading() as reading:
            assert reading.audit.list() == [build_audit_event()]
            assert reading.visits.list_events(build_visit().id) == [build_visit_event()]


class TestIsolation:
    def test_a_transaction_sees_one_moment(self, store: SqlStore) -> None:
        with store.transaction() as first:
            card = first.cards.get(build_card().id)
            with store.transaction() as second:
                second.cards.claim(card)
                second.terminals.add(build_terminal(2))
            assert first.cards.get(card.id) == card
            assert len(first.terminals.list()) == 1
        with store.reading() as reading:
            assert reading.cards.get(card.id).version == card.version + 1

    def test_a_row_that_changed_since_it_was_read_is_not_overwritten(self, store: SqlStore) -> None:
        def overwrite() -> None:
            with store.transaction() as first:
                terminal = first.terminals.get(build_terminal().id)
                with store.transaction() as second:
                    second.terminals.save(replace(terminal, reason="stolen"))
                first.terminals.save(replace(terminal, reason=""))

        with pytest.raises(KmsError) as error:
            overwrite()
        check_code(error, Code.VISIT_CONFLICT, "try again")
        with store.reading() as reading:
            assert reading.terminals.get(build_terminal().id).reason == "stolen"

    def test_an_error_that_is_swallowed_does_not_pass_for_a_commit(self, store: SqlStore) -> None:
        def swallow() -> None:
            with store.transaction() as transaction:
                transaction.audit.append(build_audit_event())
                with contextlib.suppress(KmsError):
                    transaction.terminals.add(build_terminal())

        with pytest.raises(RuntimeError, match="left as if"):
            swallow()
        with store.reading() as reading:
            assert not reading.audit.list()

    def test_a_new_visit_does_not_collide_with_a_step_of_another(self, store: SqlStore) -> None:
        with store.transaction() as first:
            card = first.cards.get(build_card().id)
            with store.transaction() as second:
                second.cards.claim(card)
            first.visits.add(build_visit())
        with store.reading() as reading:
            assert reading.visits.list_open_for_card(card.id) == [build_visit()]

    def test_of_two_who_ask_for_an_update_at_once_the_later_asks_again_and_finds_it(self, store: SqlStore) -> None:
        quick = UpdateService(store=store, clock=TickingClock(), identifiers=CountingIdentifiers(200))

        class SlowIdentifiers(CountingIdentifiers):
            """While the slow one asks for its first identifier, having found no open update, the quick one adds one."""

            interrupted = False

            def new(self) -> str:
                if not self.interrupted:
                    self.interrupted = True
                    assert quick.force(build_card().identity, build_domain(1).aid, actor="quick").created
                return super().new()

        slow = UpdateService(store=store, clock=TickingClock(), identifiers=SlowIdentifiers(100))
        assert not slow.force(build_card().identity, build_domain(1).aid, actor="slow").created
        with store.reading() as reading:
            assert [item.requested_by for item in reading.key_updates.list_for_domain(build_domain(1).id)] == ["quick"]

    def test_a_reading_transaction_writes_nothing(self, store: SqlStore) -> None:
        with pytest.raises(KmsError) as error, store.reading() as reading:
            reading.cards.add(build_card(2))
        check_code(error, Code.DATABASE_UNAVAILABLE, "takes no changes")


class TestLimits:
    def test_every_session_has_them(self, open_one: Callable[..., SqlStore]) -> None:
        with open_one().reading() as reading:
            connection = reading.cards._connection  # noqa: SLF001 - looks at the session itself
            found = {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in SESSION_SETTINGS}
            isolation = connection.exec_driver_sql("SHOW transaction_isolation").scalar()
        assert found == SESSION_SETTINGS
        assert isolation == "repeatable read"

    def test_the_urls_own_settings_stand(self, open_one: Callable[..., SqlStore]) -> None:
        with open_one("statement_timeout=7s").reading() as reading:
            connection = reading.cards._connection  # noqa: SLF001 - looks at the session itself
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "7s"
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == SESSION_SETTINGS["lock_timeout"]

    def test_a_lock_is_not_waited_for_for_ever(self, store: SqlStore, open_one: Callable[..., SqlStore]) -> None:
        hasty = open_one("lock_timeout=50ms")
        with store.transaction() as first:
            first.cards.claim(build_card())
            with pytest.raises(KmsError) as error, hasty.transaction() as second:
                second.cards.claim(build_card())
        check_code(error, Code.DATABASE_UNAVAILABLE, "locked by a long transaction")

    def test_a_transaction_that_hangs_loses_its_locks(self, store: SqlStore, open_one: Callable[..., SqlStore]) -> None:
        sleepy = open_one("idle_in_transaction_session_timeout=50ms")

        def hang() -> None:
            with sleepy.transaction() as first:
                first.cards.claim(build_card())
                with store.transaction() as second:
                    second.cards.claim(build_card())
                first.cards.get(build_card().id)

        with pytest.raises(KmsError) as error:
            hang()
        check_code(error, Code.DATABASE_UNAVAILABLE)
        with store.reading() as reading:
            assert reading.cards.get(build_card().id).version == 1

    @pytest.mark.parametrize("reason", ["N" + "\0", "N" * 300], ids=["NUL", "long"])
    def test_a_text_that_does_not_fit_is_the_callers_fault(self, store: SqlStore, reason: str) -> None:
        with pytest.raises(KmsError) as error, store.transaction() as transaction:
            transaction.terminals.add(build_terminal(2, name=reason))
        check_code(error, Code.INPUT_INVALID, "too long")


class TestRights:
    def test_the_servers_user_needs_no_more_than_is_documented(
        self, cluster: Cluster, database: str, open_one: Callable[..., SqlStore]
    ) -> None:
        cluster.execute("CREATE ROLE kms_server LOGIN")
        for grant in GRANTS:
            cluster.execute(grant, database)
        served = open_one(user="kms_server")
        served.check()
        issuer, card = build_issuer(store=served), VirtualCard(build_factory_state(kvn=0x01, scp02_i=0x55))
        session = issuer.applications.apply(issuer.terminal, IDENTITY, APPLICATION_AID).session_id
        assert Agent(issuer.visits, issuer.terminal, card, IDENTITY).run(session).notification == "done"
        assert [item.delivery for item in issuer.key_sets(SSD_AID)] == [Delivery.REPLACED, Delivery.PROVED]
        with pytest.raises(KmsError) as error:
            downgrade(cluster.build_url(database, "kms_server"), "base")
        check_code(error, Code.DATABASE_UNAVAILABLE, "lacks a right")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            delete_events(cluster, database)
        served.dispose()
        cluster.execute("DROP OWNED BY kms_server", database)
        cluster.execute("DROP ROLE kms_server")


class TestAway:
    def test_it_heals_without_a_restart(self) -> None:
        cluster = Cluster()
        try:
            cluster.execute("CREATE ROLE kms LOGIN")
            name = cluster.create_database()
            upgrade(cluster.build_url(name))
            with closing_store(cluster.build_url(name)) as store:
                store.check()
                cluster.stop()
                began = time.monotonic()
                with pytest.raises(KmsError) as error:
                    store.check()
                check_code(error, Code.DATABASE_UNAVAILABLE, "check that it runs")
                assert time.monotonic() - began < 1
                cluster.start()
                store.check()
        finally:
            cluster.remove()

    def test_a_session_that_was_cut_off_is_replaced_unseen(
        self, cluster: Cluster, database: str, store: SqlStore
    ) -> None:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert cluster.execute(f"SELECT pg_terminate_backend(pid) {others}", database) == [(True,)]
        with store.transaction() as transaction:
            transaction.key_updates.add(build_update())

    def test_a_machine_that_says_nothing_is_given_up(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            store = open_store(f"postgresql://kms@127.0.0.1:{silent.getsockname()[1]}/kms")
            began = time.monotonic()
            with pytest.raises(KmsError) as error:
                store.check()
            store.dispose()
        check_code(error, Code.DATABASE_UNAVAILABLE)
        assert time.monotonic() - began < 4.5

    def test_a_database_that_is_not_there(self, cluster: Cluster) -> None:
        store = open_store(cluster.build_url("nowhere"))
        with pytest.raises(KmsError) as error:
            store.check()
        check_code(error, Code.DATABASE_UNAVAILABLE, "its address")
        store.dispose()


def run_at_once(*works: Callable[[], None]) -> None:
    """Run all in threads of their own; raises what the first of them raised."""
    failures: list[Exception] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    workers = [threading.Thread(target=run, args=(work,)) for work in works]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    if failures:
        raise failures[0]


def delete_events(cluster: Cluster, database: str) -> None:
    with psycopg.connect(cluster.build_url(database, "kms_server")) as connection:
        connection.execute("DELETE FROM audit_events")
