from collections.abc import Iterator
from pathlib import Path

import pytest

from kms.bootstrap import open_platform
from kms.bootstrap_scheduler import SchedulerParts, open_scheduler
from kms.config import load_config
from kms.errors import Code, KmsError
from tests.fakes.installation import build_installation


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[SchedulerParts]:
    installation = build_installation(tmp_path)
    installation.config.write_text(installation.config.read_text() + "\n[scheduler]\nlease_seconds = 12\n")
    platform = open_platform(load_config(installation.config))
    yield open_scheduler(platform)
    platform.store.dispose()


def test_two_beats_may_fail_before_the_lease_ends(parts: SchedulerParts) -> None:
    assert parts.beat.total_seconds() * 3 == 12


def test_two_schedulers_of_one_process_are_two_holders(parts: SchedulerParts) -> None:
    other = open_scheduler(parts.platform)
    assert parts.keeper.keep()
    assert not other.keeper.keep()


def test_jobs_write_nothing_without_the_lease(parts: SchedulerParts) -> None:
    assert parts.service.run(parts.get_job("expire-visits")) is None


def test_a_job_is_found_by_its_name(parts: SchedulerParts) -> None:
    assert parts.get_job("expire-visits").name == "expire-visits"
    with pytest.raises(KmsError) as error:
        parts.get_job("nothing")
    assert error.value.code is Code.NOT_FOUND


def test_without_a_port_there_are_no_metrics(parts: SchedulerParts) -> None:
    assert parts.open_metrics() is None
