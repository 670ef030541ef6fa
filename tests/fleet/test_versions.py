"""Old and new version side by side: for each migration, whether the statements of the version before still fit.

A server reads and writes the columns that it knows, by name. So after a migration the older one goes on as long as its
columns are there and what is new in its tables may be left out. Where that does not hold the migration is listed here
and in docs/operations.md, Upgrade: all servers and schedulers are stopped for it.
"""

from itertools import pairwise
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from kms.db.migration import MIGRATIONS, downgrade, upgrade

STOP_FOR = {"0004", "0006", "0008", "0009"}
OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
Columns = dict[str, dict[str, bool]]


def list_revisions() -> list[str]:
    scripts = ScriptDirectory(str(MIGRATIONS)).walk_revisions()
    return sorted(script.revision for script in scripts)


def read_columns(url: str) -> Columns:
    """By table: its columns, and whether an INSERT may leave each out."""
    engine = create_engine(url)
    try:
        found = inspect(engine)
        return {
            table: {
                str(column["name"]): bool(column["nullable"]) or column["default"] is not None
                for column in found.get_columns(table)
            }
            for table in found.get_table_names()
        }
    finally:
        engine.dispose()


def fits(old: Columns, new: Columns) -> bool:
    """Whether statements written for the old tables can be executed on the new ones."""
    return all(
        table in new
        and columns.keys() <= new[table].keys()
        and all(new[table][name] for name in new[table].keys() - columns.keys())
        for table, columns in old.items()
    )


def test_which_migrations_the_version_before_goes_on_after(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kms.db'}"
    revisions = list_revisions()
    shapes: dict[str, Columns] = {}
    for revision in revisions:
        upgrade(url, revision)
        shapes[revision] = read_columns(url)
    stopping = {after for before, after in pairwise(revisions) if not fits(shapes[before], shapes[after])}
    assert stopping == STOP_FOR
    for revision in reversed(revisions):
        downgrade(url, revision)
        assert read_columns(url) == shapes[revision]


@pytest.mark.parametrize("revision", sorted(STOP_FOR))
def test_the_operators_are_told(revision: str) -> None:
    upgrading = OPERATIONS.read_text(encoding="utf-8").partition("## Upgrade")[2].partition("\n## ")[0]
    assert f"`{revision}`" in upgrading
