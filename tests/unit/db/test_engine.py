from pathlib import Path

import pytest

from kms.db.engine import READ_ONLY, build_engine, parse_url
from kms.errors import Code, KmsError


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kms.db",
        "mysql://host/kms",
        "postgresql+psycopg2://host/kms",
        "postgresql+nodriver://host/kms",
        "sqlite+x://",
    ],
)
def test_what_is_no_usable_address_is_refused(url: str) -> None:
    with pytest.raises(KmsError) as error:
        build_engine(url)
    assert error.value.code is Code.CONFIG_INVALID


def test_a_password_in_the_address_is_not_told() -> None:
    with pytest.raises(KmsError) as error:
        build_engine("mysql://kms:opensesame@host/kms")
    assert "opensesame" not in str(error.value)


@pytest.mark.parametrize("name", ["postgresql", "postgresql+psycopg"])
def test_postgresql_is_psycopg_however_it_is_named(name: str) -> None:
    url = parse_url(f"{name}://kms:opensesame@host:5433/kms?sslmode=verify-full")
    assert url.render_as_string(hide_password=False) == (
        "postgresql+psycopg://kms:opensesame@host:5433/kms?sslmode=verify-full"
    )
    engine = build_engine(f"{name}://kms@host/kms")
    assert engine.driver == "psycopg"
    engine.dispose()


def test_sqlite_is_told_to_be_durable_and_to_check_references(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'kms.db'}")
    with engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_transaction_takes_the_write_lock_first_and_reading_does_not_wait_for_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'kms.db'}"
    writer, other = build_engine(url), build_engine(url)
    with writer.begin() as writing:
        writing.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    with writer.begin() as writing:
        writing.exec_driver_sql("INSERT INTO t VALUES (1)")
        with other.execution_options(**{READ_ONLY: True}).begin() as reading:
            assert reading.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
            assert other.pool.checkedout() == 1  # type: ignore[attr-defined] # the queue pool counts
    writer.dispose()
    other.dispose()


def test_tables_are_made_in_the_transaction(tmp_path: Path) -> None:
    engine = build_engine(f"sqlite:///{tmp_path / 'kms.db'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
        connection.rollback()
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
    engine.dispose()
