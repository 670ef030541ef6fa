import re
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from kms.db.migration import MIGRATIONS, downgrade, find_differences, get_newest_revision, upgrade
from kms.db.models import Base
from kms.db.store import SCHEMA_REVISION, open_store
from kms.errors import Code, KmsError
from tests.fakes.stores import build_database


def list_lines(sql: str) -> list[str]:
    """A CREATE TABLE as its lines in an order of their own: migrations may name constraints in another order.

    Without quotes and without parentheses around defaults: SQLite has both in a table that was made anew.
    """
    plain = re.sub(r"DEFAULT \(('[^']*'|\d+)\)", r"DEFAULT \1", sql.replace('"', ""))
    plain = re.sub(r", (?=[a-z_]+ [A-Z]+)", ",\n", plain)  # columns that were added later share the last one's line
    return sorted(line.strip().rstrip(",") for line in plain.splitlines() if line.strip())


def read_tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return names


def test_migrations_and_models_agree(tmp_path: Path) -> None:
    assert find_differences(build_database(tmp_path)) == []


def test_migrations_make_the_models_tables_to_the_last_check(tmp_path: Path) -> None:
    build_database(tmp_path)
    connection = sqlite3.connect(tmp_path / "kms.db")
    made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    connection.close()
    for table in Base.metadata.sorted_tables:
        wanted = str(CreateTable(table).compile(dialect=sqlite.dialect()))
        assert list_lines(made[table.name]) == list_lines(wanted)


def test_a_sqlite_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'new' / 'kms.db'}")
    assert (tmp_path / "new" / "kms.db").stat().st_mode & 0o777 == 0o600


def test_the_program_asks_for_the_newest_revision() -> None:
    assert get_newest_revision() == SCHEMA_REVISION


def test_migrations_are_named_by_date() -> None:
    names = [path.name for path in (MIGRATIONS / "versions").glob("*.py") if path.name != "__init__.py"]
    assert names
    assert [name for name in names if not re.fullmatch(r"\d{4}_\d\d_\d\d_[a-z0-9_]+\.py", name)] == []


def test_forwards_back_and_forwards_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "kms.db"
    url = f"sqlite:///{path}"
    upgrade(url)
    assert "cards" in read_tables(path)
    downgrade(url, "base")
    assert read_tables(path) <= {"alembic_version", "sqlite_sequence"}
    upgrade(url)
    store = open_store(url)
    store.check()
    store.dispose()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kms.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE terminals (x INTEGER)")  # stands in the first migration's way
    connection.commit()
    connection.close()
    with pytest.raises(KmsError) as error:
        upgrade(f"sqlite:///{path}")
    assert error.value.code is Code.DATABASE_SCHEMA
    assert read_tables(path) == {"terminals"}


def test_a_table_that_the_models_do_not_have_is_told(tmp_path: Path) -> None:
    url = build_database(tmp_path)
    connection = sqlite3.connect(tmp_path / "kms.db")
    connection.execute("CREATE TABLE extra (x INTEGER)")
    connection.close()
    assert [line for line in find_differences(url) if "remove_table" in line and "extra" in line]
