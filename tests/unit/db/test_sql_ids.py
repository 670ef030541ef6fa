from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select

from kms.db.engine import build_engine
from kms.db.sql_ids import build_id_expression
from kms.domain.identifiers import build_uuid7
from tests.fakes.records import NOW
from tests.fakes.stores import DATABASES, open_database


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with open_database(request.param, tmp_path, empty=True) as url:
        engine = build_engine(url)
        yield engine
        engine.dispose()


def test_ids_are_uuids_of_version_7_and_of_the_given_time_each_another(engine: Engine) -> None:
    expression = build_id_expression(engine.dialect.name, NOW)
    with engine.begin() as connection:
        # A scalar of its own for each: that a table's rows differ too, the store's contract shows.
        found = [connection.execute(select(expression)).scalar_one() for _ in range(50)]
        assert connection.execute(select(func.length(expression))).scalar_one() == 36
    assert len(set(found)) == 50
    parsed = [UUID(item) for item in found]
    assert {(item.version, item.variant) for item in parsed} == {(7, "specified in RFC 4122")}
    assert [str(item) for item in parsed] == found
    stamp = int(NOW.timestamp() * 1000)
    assert {item.int >> 80 for item in parsed} == {stamp}
    assert build_uuid7(stamp - 1, b"\xff" * 10) < min(found)
    assert max(found) < build_uuid7(stamp + 1, bytes(10))
