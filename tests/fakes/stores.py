"""Databases to test with: SQLite files made once by the migrations and copied for each test."""

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from kms.db.migration import upgrade


@cache
def _build_template() -> Path:
    folder = Path(mkdtemp(prefix="kms-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


def build_database(folder: Path) -> str:
    """Make a database with the newest schema in `folder`; returns its URL."""
    path = folder / "kms.db"
    shutil.copyfile(_build_template(), path)
    return f"sqlite:///{path}"
