from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from kms.anchors.database_anchor import FileAnchor
from kms.domain.recovery import AnchorMark
from kms.errors import Code, KmsError

MARK = AnchorMark("0199", datetime(2026, 11, 23, 12, 0, tzinfo=UTC), (b"\x01" * 32,))


def test_what_was_written_last_is_read_back_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "anchor"
    anchor = FileAnchor(path)
    assert anchor.read() is None
    anchor.write(AnchorMark("0198", MARK.event_at))
    anchor.write(MARK)
    assert anchor.read() == MARK
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2, "event_id": "a", "event_at": "x"}', "\x00"])
def test_what_is_no_anchor_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "anchor"
    path.write_text(content)
    with pytest.raises(KmsError) as error:
        FileAnchor(path).read()
    assert error.value.code is Code.CONFIG_INVALID


def test_an_anchor_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    FileAnchor(path).write(MARK)
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(KmsError):
        FileAnchor(path).read()


def test_a_place_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    acts: list[Callable[[], object]] = [
        FileAnchor(tmp_path).read,
        partial(FileAnchor(tmp_path / "file" / "anchor").write, MARK),
    ]
    for act in acts:
        with pytest.raises(KmsError) as error:
            act()
        assert error.value.code is Code.CONFIG_INVALID
