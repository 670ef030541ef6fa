"""Anchors are appended once each, and read back; a file that cannot be used is told by name."""

from dataclasses import replace
from pathlib import Path

import pytest

from kms.anchors.anchor_file import AnchorFile, read_anchors
from kms.domain.audit_check import Anchor
from kms.errors import Code, KmsError
from tests.fakes.audit_log import START

FIRST = Anchor(1, bytes(32), START)
SECOND = Anchor(2, bytes(range(32)), START)


def test_anchors_are_read_back_in_their_order(tmp_path: Path) -> None:
    file = AnchorFile(tmp_path / "anchors")
    file.write("bank", FIRST)
    AnchorFile(tmp_path / "anchors").write("bank", SECOND)
    assert read_anchors(tmp_path / "anchors", "bank") == [FIRST, SECOND]
    assert (tmp_path / "anchors").stat().st_mode & 0o777 == 0o640


def test_the_same_checkpoint_is_not_written_twice(tmp_path: Path) -> None:
    file = AnchorFile(tmp_path / "anchors")
    file.write("bank", FIRST)
    file.write("bank", replace(FIRST, at=START.replace(year=2027)))
    assert read_anchors(tmp_path / "anchors", "bank") == [FIRST]


def test_a_line_that_a_crash_cut_off_spoils_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "anchors"
    AnchorFile(path).write("bank", FIRST)
    path.write_bytes(path.read_bytes()[:40])
    AnchorFile(path).write("bank", FIRST)
    AnchorFile(path).write("bank", SECOND)
    assert read_anchors(path, "bank") == [FIRST, SECOND]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(KmsError, match="cannot be written: Is a directory") as failure:
        AnchorFile(tmp_path).write("bank", FIRST)
    assert failure.value.code is Code.AUDIT_ANCHOR


def test_a_disk_that_is_full_is_told() -> None:
    with pytest.raises(KmsError, match="No space left") as failure:
        AnchorFile(Path("/dev/full")).write("bank", FIRST)
    assert failure.value.code is Code.AUDIT_ANCHOR


def test_a_file_that_is_not_there_and_a_foreign_line_are_told(tmp_path: Path) -> None:
    with pytest.raises(KmsError) as failure:
        read_anchors(tmp_path / "nothing", "bank")
    assert failure.value.code is Code.INPUT_INVALID
    AnchorFile(tmp_path / "anchors").write("elsewhere", FIRST)
    with pytest.raises(KmsError) as failure:
        read_anchors(tmp_path / "anchors", "bank")
    assert failure.value.code is Code.AUDIT_BROKEN
