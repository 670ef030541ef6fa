"""A throw-away PostgreSQL cluster: one for a test run, started when first needed, gone with the run.

Rules: a folder of its own with a short name (a socket's path has at most 107 bytes) that the user `postgres` may enter;
no TCP, so nothing on the machine is met or blocked. Without fsync: what a killed server has not written is lost.
The server dies with the process that started it, however that ends. The databases belong to `kms`, who is no superuser.
"""

import atexit
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

import psycopg
from psycopg import sql

from kms.db.migration import upgrade

MISSING = "PostgreSQL is not installed, and the tests need it: apt-get install postgresql (`make test` does it)"
START_S = 20
TEMPLATE = "kms_template"
SHAPE = "SELECT (SELECT count(*) FROM pg_class), (SELECT version_num FROM alembic_version)"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
_NUMBERS = count(1)


class Cluster:
    """A running cluster. `options`: further settings for the server (`name=value`)."""

    def __init__(self, *options: str) -> None:
        self._programs = find_programs()
        # Not in TMPDIR, whose path may be long or closed to `postgres`.
        self.folder = Path(mkdtemp(prefix="kms-pg-", dir="/tmp"))
        self._options = options
        self._as_owner: tuple[str, ...] = ()
        self._emptied: list[str] = []
        if os.geteuid() == 0:  # initdb and postgres refuse to be root
            self._as_owner = ("--reuid=postgres", "--regid=postgres", "--init-groups")
            shutil.chown(self.folder, "postgres", "postgres")
        data = str(self.folder / "data")
        # A bare machine has no locale: without these two the encoding would be SQL_ASCII.
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "--encoding=UTF8", "--locale=C.UTF-8")
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = self._build_command("postgres", "-D", str(self.folder / "data"), "-k", str(self.folder))
        settings = ["listen_addresses=", "fsync=off", "full_page_writes=off", "autovacuum=off", *self._options]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [*command, *(part for setting in settings for part in ("-c", setting))],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # a Ctrl-C is for the tests, which then stop it
            )
        give_up = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > give_up or self._server.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server at once; sessions are cut off."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(timeout=START_S)

    def remove(self) -> None:
        """Stop the server and remove all that it made."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def build_url(self, database: str, user: str = "kms") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def execute(self, statement: sql.Composed | str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as the superuser, outside a transaction."""
        with self._connect(database) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, template: str | None = None) -> str:
        """Make a database that `kms` owns, empty or as a copy; returns its name."""
        name = f"kms_{next(_NUMBERS)}"
        self.execute(
            sql.SQL("CREATE DATABASE {} OWNER kms TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template or "template0")
            )
        )
        return name

    def drop_database(self, name: str) -> None:
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def lend_database(self) -> Iterator[str]:
        """Give a database with the newest schema and no rows: one that a test before has left, else a new one.

        Emptying takes a tenth of the time of making. One whose schema a test has changed is not given again.
        """
        name = self._emptied.pop() if self._emptied else self.create_database(TEMPLATE)
        try:
            yield name
        finally:
            if self._empty(name):
                self._emptied.append(name)
            else:
                self.drop_database(name)

    @cached_property
    def _shape(self) -> list[tuple[object, ...]]:
        return self.execute(SHAPE, TEMPLATE)

    def _empty(self, name: str) -> bool:
        """Delete all rows; False, and nothing is done, where a test has changed the schema."""
        with self._connect(name) as connection:
            if connection.execute(SHAPE).fetchall() != self._shape:
                return False
            # Without triggers: of those are the foreign keys and the rule of append-only tables.
            connection.execute("SET session_replication_role = replica; SET lock_timeout = '5s'")
            tables = [sql.Identifier(str(table)) for (table,) in connection.execute(TABLES).fetchall()]
            connection.execute(sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(table) for table in tables))
            return True

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True)

    def _answers(self) -> bool:
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        made = subprocess.run(
            self._build_command(program, *arguments), cwd=self.folder, capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise RuntimeError(f"{program} failed: {made.stderr}")

    def _build_command(self, program: str, *arguments: str) -> list[str]:
        # SIGQUIT is PostgreSQL's immediate shutdown; sent by the kernel when the process that started it ends.
        return ["setpriv", "--pdeathsig=QUIT", *self._as_owner, str(self._programs / program), *arguments]


def find_programs() -> Path:
    """The folder of the newest PostgreSQL's programs (Debian keeps `initdb` and `postgres` off the PATH)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        raise RuntimeError(MISSING)
    return found[-1].parent if found else Path(str(on_path)).parent


@cache
def get_cluster() -> Cluster:
    """The test run's cluster, with a template database that has the newest schema."""
    cluster = Cluster()
    atexit.register(cluster.remove)
    cluster.execute("CREATE ROLE kms LOGIN")
    cluster.execute(f"CREATE DATABASE {TEMPLATE} OWNER kms TEMPLATE template0")
    upgrade(cluster.build_url(TEMPLATE))
    return cluster
