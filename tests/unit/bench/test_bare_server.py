import sqlite3
from contextlib import closing
from pathlib import Path

from bench.bare_server import Replay, split_requests
from bench.recorded_server import BEGIN, COMMIT, REQUEST, STATEMENT, Recorded

RECORDED = [
    Recorded(STATEMENT, "SELECT 'before any request'", ()),
    Recorded(REQUEST, "/first"),
    Recorded(BEGIN, "BEGIN IMMEDIATE"),
    Recorded(STATEMENT, "INSERT INTO rows VALUES (?)", (1,)),
    Recorded(COMMIT),
    Recorded(REQUEST, "/second"),
    Recorded(STATEMENT, "INSERT INTO rows VALUES (?)", [(2,), (3,)], many=True),
]


def read_rows(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [number for (number,) in connection.execute("SELECT n FROM rows")]


def test_each_request_runs_what_was_recorded_of_it_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE rows (n INTEGER)")
    requests = split_requests(RECORDED)
    assert [len(request) for request in requests] == [3, 1]
    replay = Replay(requests, path)
    replay.run()
    assert read_rows(path) == [1]
    replay.run()
    assert read_rows(path) == [1, 2, 3]
    replay.close()
