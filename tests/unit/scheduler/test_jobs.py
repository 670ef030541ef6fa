from pathlib import Path

from kms.bootstrap import open_platform
from kms.bootstrap_scheduler import open_scheduler
from kms.config import load_config
from tests.fakes.installation import build_installation


def test_every_job_has_a_name_of_its_own_and_an_interval(tmp_path: Path) -> None:
    platform = open_platform(load_config(build_installation(tmp_path).config))
    jobs = open_scheduler(platform).jobs
    assert len({job.name for job in jobs}) == len(jobs)
    assert {job.name: job.interval.total_seconds() for job in jobs}["expire-visits"] == 60
    platform.store.dispose()


def test_every_job_that_needs_no_hsm_works_on_an_empty_platform(tmp_path: Path) -> None:
    """The installation's HSM is away: only what signs or looks into it may fail."""
    platform = open_platform(load_config(build_installation(tmp_path).config))
    parts = open_scheduler(platform)
    assert parts.keeper.keep()
    runs = {job.name: parts.service.run(job) for job in parts.jobs}
    failed = {name for name, run in runs.items() if run is None or run.failed}
    assert failed <= {"checkpoint-audit", "check-tokens"}
    platform.store.dispose()
