"""The audit log on real databases: many writers at once, changes behind the program's back, no room, no rights."""

import random
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from kms.db.engine import build_engine
from kms.db.store import SqlStore
from kms.domain.audit import AuditEvent
from kms.domain.keys import PlatformKeyPurpose
from kms.errors import Code, KmsError
from kms.service.audit_log import AuditLogService
from kms.service.platform_keys import PlatformKeyService
from tests.fakes.master_vault import MasterVault
from tests.fakes.records import CountingIdentifiers, TickingClock
from tests.fakes.stores import build_database

WRITERS, ROUNDS = 4, 10
COLUMNS = ("chain", "sequence", "digest", "id", "at", "actor", "action", "subject", "result", "kcv", "detail", "reason")


@dataclass
class Site:
    """A database with a log of several writers and two checkpoints."""

    path: Path
    engine: Engine
    store: SqlStore
    log: AuditLogService
    keys: PlatformKeyService
    vault: MasterVault
    clock: TickingClock

    def write(self, writer: int) -> None:
        for number in range(ROUNDS):
            item = AuditEvent(
                f"w{writer}-{number}", self.clock.now(), f"officer {writer}", "key.use", f"key {number}", "done"
            )
            with self.store.transaction() as transaction:
                transaction.audit.append(item)

    def write_by_all(self, first: int) -> None:
        threads = [threading.Thread(target=self.write, args=(first + number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    engine = build_engine(build_database(tmp_path))
    store = SqlStore(engine, "node-1")
    vault, clock = MasterVault(), TickingClock()
    keys = PlatformKeyService(store=store, vault=vault, clock=clock, identifiers=CountingIdentifiers(), platform="bank")
    log = AuditLogService(store=store, clock=clock, platform_keys=keys, anchors=[], platform="bank", node="node-1")
    yield Site(tmp_path / "kms.db", engine, store, log, keys, vault, clock)
    store.dispose()


def test_writers_at_once_have_chains_of_their_own_and_one_checkpoint_joins_them(site: Site) -> None:
    site.write_by_all(0)
    anchored = site.log.checkpoint()
    site.write_by_all(WRITERS)
    site.log.checkpoint()
    report = site.log.verify()
    assert anchored.chains > WRITERS
    assert report.records >= 2 * WRITERS * ROUNDS
    assert report.uncovered == 0


def test_every_change_of_the_stored_log_is_found(site: Site) -> None:
    site.write_by_all(0)
    site.log.checkpoint()
    site.write_by_all(WRITERS)
    site.log.checkpoint()
    site.log.verify()
    connection = sqlite3.connect(site.path, isolation_level=None)
    for action in ("update", "delete"):  # whoever may write the file can do this
        connection.execute(f"DROP TRIGGER tr_audit_events_{action}")
        connection.execute(f"DROP TRIGGER tr_audit_checkpoints_{action}")
    chance = random.Random(7)  # noqa: S311 - a seeded choice of changes, no secret
    rows = connection.execute("SELECT chain, sequence FROM audit_events").fetchall()
    for number in range(120):
        chain, sequence = chance.choice(rows)
        where = "WHERE chain = ? AND sequence = ?"
        connection.execute("CREATE TEMP TABLE saved AS SELECT * FROM audit_events")
        match number % 4:
            case 0:
                column = chance.choice(COLUMNS[4:])
                value = "2020-01-01 00:00:00.000000" if column == "at" else "forged"
                connection.execute(f"UPDATE audit_events SET {column} = ? {where}", (value, chain, sequence))  # noqa: S608 - names of this file
            case 1:
                connection.execute(f"DELETE FROM audit_events {where}", (chain, sequence))  # noqa: S608 - a text of this file
            case 2:
                connection.execute(f"UPDATE audit_events SET sequence = sequence + 1000 {where}", (chain, sequence))  # noqa: S608 - a text of this file
            case 3:
                names = ", ".join(COLUMNS)
                connection.execute(
                    f"INSERT INTO audit_events ({names}, request_id) SELECT 'forged/a', 1, digest, 'forged', "  # noqa: S608 - names of this file
                    f"'2020-01-01 00:00:00.000000', actor, action, subject, result, kcv, detail, reason, '' "
                    f"FROM audit_events {where}",
                    (chain, sequence),
                )
        with pytest.raises(KmsError) as failure:
            site.log.verify()
        assert failure.value.code is Code.AUDIT_BROKEN, number
        connection.execute("DELETE FROM audit_events")
        connection.execute("INSERT INTO audit_events SELECT * FROM saved")
        connection.execute("DROP TABLE saved")
    for statement in ("DELETE FROM audit_checkpoints WHERE number = 1", "UPDATE audit_checkpoints SET number = 9"):
        connection.execute("BEGIN")
        connection.execute(statement)
        connection.execute("COMMIT")
        with pytest.raises(KmsError):
            site.log.verify()
    connection.close()


@pytest.mark.parametrize(
    ("pragma", "words"),
    [
        ("PRAGMA max_page_count = {pages}", "disk is full; nothing was done"),
        ("PRAGMA query_only = ON", "may not be written; nothing was done"),
    ],
)
def test_a_log_that_cannot_be_written_stops_a_key_operation_before_the_hsm_is_asked(
    site: Site, pragma: str, words: str
) -> None:
    site.log.checkpoint()
    made = site.vault.made
    statement = pragma.format(pages=site.path.stat().st_size // 4096)
    event.listen(site.engine, "connect", lambda connection, _: connection.execute(statement))
    site.store.dispose()  # the next connection has the limit
    with pytest.raises(KmsError, match=words) as failure:
        site.keys.ensure(PlatformKeyPurpose.SIGNING, actor="officer " + "alice" * 20_000)
    assert failure.value.code is Code.DATABASE_UNAVAILABLE
    assert site.vault.made == made
