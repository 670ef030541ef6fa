"""Bringing a database's schema forwards and back (Alembic, driven from here; there is no alembic.ini).

Rules: one transaction per run, on both databases, so a migration that fails changes nothing; two runs at once go one
after the other. The files in
`migrations/versions` are the truth; the models are compared with them by a test and by `kms db check`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from kms.db.engine import build_engine, parse_url
from kms.db.faults import translate_faults
from kms.db.models import Base
from kms.errors import Code, KmsError

ADVISORY_LOCK = 0x6B6D73  # "kms": the number, within one database, by which migrations wait for each other
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema forwards. Makes a SQLite file and its folder, for the owner alone.

    Raises `database.unavailable`.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        file = Path(parsed.database)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)  # SQLite gives its WAL the same mode: nobody else reads who holds which keys
    with _open_connection(url) as connection:
        command.upgrade(_build_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Bring the schema back to `revision` (`base`: empty). Tables that it drops are lost with their rows."""
    with _open_connection(url) as connection:
        command.downgrade(_build_config(connection), revision)


def find_differences(url: str) -> list[str]:
    """Compare the database's schema with the models: one line for each difference, none when they agree."""
    with _open_connection(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [_describe(difference) for difference in compare_metadata(context, Base.metadata)]


def get_newest_revision() -> str:
    """Read the newest revision of the migration files."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if head is None:
        raise KmsError(Code.DATABASE_SCHEMA, "The migration files are missing from this installation.")
    return head


@contextmanager
def _open_connection(url: str) -> Iterator[Connection]:
    """Open a connection in one transaction; on SQLite with foreign keys unchecked until its end."""
    engine = build_engine(url)
    try:
        with translate_faults("schema"), engine.connect() as connection:
            is_sqlite = engine.dialect.name == "sqlite"
            if is_sqlite:
                # Making a table anew drops the old one, which would count as deleting the rows that others refer to.
                # The pragma does nothing inside a transaction, so it goes to the driver before BEGIN.
                _get_driver_connection(connection).execute("PRAGMA foreign_keys = OFF")
            else:
                # What a run wrote that this one waited for must be seen.
                connection.execution_options(isolation_level="READ COMMITTED")
            try:
                with connection.begin():
                    if not is_sqlite:
                        _prepare_postgresql(connection)
                    yield connection
                    if is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                        raise KmsError(Code.DATABASE_SCHEMA, "A migration would leave rows that refer to nothing.")
            finally:
                if is_sqlite:
                    _get_driver_connection(connection).execute("PRAGMA foreign_keys = ON")
    finally:
        engine.dispose()


def _prepare_postgresql(connection: Connection) -> None:
    # Rewriting a large table takes its time. Waiting for a lock stays bounded (`lock_timeout`): everybody else would
    # queue behind it.
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    # Two runs at once, from two nodes: the later one waits and then finds nothing to do.
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")


def _get_driver_connection(connection: Connection) -> Any:  # noqa: ANN401 - the driver's own connection
    return connection.connection.driver_connection


def _build_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _describe(difference: Any) -> str:  # noqa: ANN401 - alembic's tuples have no type
    if isinstance(difference, list):
        return "; ".join(_describe(item) for item in difference)
    return " ".join(str(part) for part in difference)
