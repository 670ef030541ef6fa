"""The store: transactions over one engine.

Rules: a transaction sees the database as of one moment, and what it reads and saves nobody else changes in between:
SQLite lets others wait, PostgreSQL refuses the later of two with `visit.conflict`, and its whole block may be tried
again. Open the store after fork; neither SQLite's nor PostgreSQL's connections survive one. A transaction that met an
error is over: leave the block (PostgreSQL refuses every later statement in it).
"""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from sqlalchemy import Connection, Engine, text

from kms.db.console_queries import SqlConsoleQueries
from kms.db.engine import READING, build_engine
from kms.db.faults import UPGRADE_HINT, translate_faults
from kms.db.queries import SqlQueries
from kms.db.repositories.alarms import SqlAlarmRepository
from kms.db.repositories.applications import SqlApplicationRepository
from kms.db.repositories.audit import ChainWriter, SqlAuditRepository
from kms.db.repositories.campaigns import SqlCampaignRepository
from kms.db.repositories.cards import SqlCardRepository
from kms.db.repositories.ceremonies import SqlCeremonyRepository
from kms.db.repositories.compromises import SqlCompromises
from kms.db.repositories.housekeeping import SqlHousekeepingRepository
from kms.db.repositories.key_sets import SqlKeySetRepository
from kms.db.repositories.key_updates import SqlKeyUpdateRepository
from kms.db.repositories.leases import SqlLeaseRepository
from kms.db.repositories.master_keys import SqlMasterKeyRepository
from kms.db.repositories.pending import SqlPendingRepository
from kms.db.repositories.people import (
    SqlAccountRepository,
    SqlCredentialRepository,
    SqlInvitationRepository,
    SqlLoginSessionRepository,
    SqlPersonRepository,
)
from kms.db.repositories.platform_keys import SqlPeerKeyRepository, SqlPlatformKeyRepository
from kms.db.repositories.policies import SqlPolicyRepository
from kms.db.repositories.recovery import (
    SqlKeyFindingRepository,
    SqlPlatformStateRepository,
    SqlRepairOrderRepository,
)
from kms.db.repositories.requests import SqlRequestRepository
from kms.db.repositories.security_domains import SqlSecurityDomainRepository
from kms.db.repositories.terminals import SqlTerminalRepository
from kms.db.repositories.transfers import SqlTransferRepository
from kms.db.repositories.visits import SqlVisitRepository
from kms.db.sweeps import SqlSweeps
from kms.db.watch import DatabaseWatch
from kms.errors import Code, KmsError

SCHEMA_REVISION = "0012"
"""The migration this code is written for; a test compares it with the newest file in migrations/versions."""


class SqlTransaction:
    """The repositories of one transaction (`kms.service.ports.Transaction`)."""

    def __init__(self, connection: Connection, writer: ChainWriter | None = None) -> None:
        self._connection = connection
        self._writer = writer

    @cached_property
    def cards(self) -> SqlCardRepository:
        """Cards."""
        return SqlCardRepository(self._connection)

    @cached_property
    def security_domains(self) -> SqlSecurityDomainRepository:
        """Security domains."""
        return SqlSecurityDomainRepository(self._connection)

    @cached_property
    def key_sets(self) -> SqlKeySetRepository:
        """Key sets."""
        return SqlKeySetRepository(self._connection)

    @cached_property
    def key_updates(self) -> SqlKeyUpdateRepository:
        """Key updates."""
        return SqlKeyUpdateRepository(self._connection)

    @cached_property
    def applications(self) -> SqlApplicationRepository:
        """Applications."""
        return SqlApplicationRepository(self._connection)

    @cached_property
    def visits(self) -> SqlVisitRepository:
        """Visits."""
        return SqlVisitRepository(self._connection)

    @cached_property
    def terminals(self) -> SqlTerminalRepository:
        """Terminals."""
        return SqlTerminalRepository(self._connection)

    @cached_property
    def master_keys(self) -> SqlMasterKeyRepository:
        """Master keys."""
        return SqlMasterKeyRepository(self._connection)

    @cached_property
    def transfers(self) -> SqlTransferRepository:
        """Transfers between platforms."""
        return SqlTransferRepository(self._connection)

    @cached_property
    def platform_keys(self) -> SqlPlatformKeyRepository:
        """This platform's key pairs."""
        return SqlPlatformKeyRepository(self._connection)

    @cached_property
    def peer_keys(self) -> SqlPeerKeyRepository:
        """The peers' signing keys."""
        return SqlPeerKeyRepository(self._connection)

    @cached_property
    def policies(self) -> SqlPolicyRepository:
        """Policies."""
        return SqlPolicyRepository(self._connection)

    @cached_property
    def sweeps(self) -> SqlSweeps:
        """Statements over all key sets."""
        return SqlSweeps(self._connection)

    @cached_property
    def alarms(self) -> SqlAlarmRepository:
        """Alarms."""
        return SqlAlarmRepository(self._connection)

    @cached_property
    def leases(self) -> SqlLeaseRepository:
        """Leases and the last runs of jobs."""
        return SqlLeaseRepository(self._connection)

    @cached_property
    def pending(self) -> SqlPendingRepository:
        """The list of what is pending."""
        return SqlPendingRepository(self._connection)

    @cached_property
    def people(self) -> SqlPersonRepository:
        """People."""
        return SqlPersonRepository(self._connection)

    @cached_property
    def accounts(self) -> SqlAccountRepository:
        """People's accounts."""
        return SqlAccountRepository(self._connection)

    @cached_property
    def credentials(self) -> SqlCredentialRepository:
        """What accounts show."""
        return SqlCredentialRepository(self._connection)

    @cached_property
    def login_sessions(self) -> SqlLoginSessionRepository:
        """Logins."""
        return SqlLoginSessionRepository(self._connection)

    @cached_property
    def invitations(self) -> SqlInvitationRepository:
        """Invitations."""
        return SqlInvitationRepository(self._connection)

    @cached_property
    def platform_state(self) -> SqlPlatformStateRepository:
        """The platform's condition."""
        return SqlPlatformStateRepository(self._connection)

    @cached_property
    def repair_orders(self) -> SqlRepairOrderRepository:
        """Repair orders."""
        return SqlRepairOrderRepository(self._connection)

    @cached_property
    def key_findings(self) -> SqlKeyFindingRepository:
        """What was found on cards."""
        return SqlKeyFindingRepository(self._connection)

    @cached_property
    def campaigns(self) -> SqlCampaignRepository:
        """Campaigns."""
        return SqlCampaignRepository(self._connection)

    @cached_property
    def compromises(self) -> SqlCompromises:
        """What is below a master."""
        return SqlCompromises(self._connection)

    @cached_property
    def housekeeping(self) -> SqlHousekeepingRepository:
        """Sweeps and figures."""
        return SqlHousekeepingRepository(self._connection)

    @cached_property
    def requests(self) -> SqlRequestRepository:
        """Requests that need approval."""
        return SqlRequestRepository(self._connection)

    @cached_property
    def ceremonies(self) -> SqlCeremonyRepository:
        """Ceremonies."""
        return SqlCeremonyRepository(self._connection)

    @cached_property
    def queries(self) -> SqlQueries:
        """Lists for people, over several tables; no part of the port."""
        return SqlQueries(self._connection)

    @cached_property
    def console(self) -> SqlConsoleQueries:
        """What the console's pages read; no part of the port."""
        return SqlConsoleQueries(self._connection)

    @cached_property
    def audit(self) -> SqlAuditRepository:
        """The audit log."""
        return SqlAuditRepository(self._connection, self._writer)


class SqlStore:
    """`kms.service.ports.Store` on SQLite or PostgreSQL. Safe to share between threads; one transaction per thread.

    `node`: names this machine in the chains of the audit log.
    """

    def __init__(self, engine: Engine, node: str = "local") -> None:
        self._engine = engine
        self._reading = engine.execution_options(**READING)
        self._watch: DatabaseWatch | None = None
        self._node = node
        self._thread = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """Open a transaction: commit at the end of the block, roll back on an exception.

        Raises `database.unavailable`, `database.schema`; `input.conflict` where a foreign key leads nowhere at commit;
        `visit.conflict` where another transaction changed the same rows meanwhile.
        """
        writer = self._get_writer()
        try:
            with translate_faults("change"), self._engine.begin() as connection:
                yield SqlTransaction(connection, writer)
        except BaseException:
            writer.head = None  # what was appended may or may not be there: the chain's end is read anew
            raise

    @contextmanager
    def reading(self) -> Iterator[SqlTransaction]:
        """Open a transaction that only reads: it waits for no writer. Raises as `transaction`."""
        with translate_faults("reading"), self._reading.begin() as connection:
            yield SqlTransaction(connection)

    def watch(self) -> None:
        """Have the database asked in the background from now on, so that `check` never waits. After the fork."""
        self._watch = DatabaseWatch(self._ask)
        self._watch.start()

    def check(self) -> None:
        """Raise `database.unavailable` or `database.schema` unless the database has the schema of this code.

        Asks the database, unless it is watched: then it tells what was found lately.
        """
        if self._watch is not None:
            self._watch.check()
        else:
            self._ask()

    def _ask(self) -> None:
        revision = self.find_revision()
        if revision is None:
            raise KmsError(Code.DATABASE_SCHEMA, f"The database is empty. {UPGRADE_HINT}")
        if revision != SCHEMA_REVISION:
            text = f"The database has schema {revision}; this program needs {SCHEMA_REVISION}. {UPGRADE_HINT}"
            raise KmsError(Code.DATABASE_SCHEMA, text)

    def find_revision(self) -> str | None:
        """Read the schema revision; None for a database without one. Raises `database.unavailable`."""
        try:
            with translate_faults("schema"), self._reading.begin() as connection:
                row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
        except KmsError as error:
            if error.code is Code.DATABASE_SCHEMA:
                return None
            raise
        return None if row is None else str(row[0])

    def _get_writer(self) -> ChainWriter:
        """This thread's own chain of the audit log, begun at its first transaction."""
        writer: ChainWriter | None = getattr(self._thread, "writer", None)
        if writer is None:
            writer = self._thread.writer = ChainWriter(f"{self._node}/{secrets.token_hex(8)}")
        return writer

    def dispose(self) -> None:
        """Close all connections."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        self._engine.dispose()


def open_store(url: str, node: str = "local") -> SqlStore:
    """Make the store for a SQLAlchemy URL; connects when first used. Raises `config.invalid`."""
    return SqlStore(build_engine(url, existing=True), node)
