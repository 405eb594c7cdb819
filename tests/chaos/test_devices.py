"""Devices and native code that fail, and jobs that make them."""

from pathlib import Path

from tests.chaos.scenarios.devices import device_fails, poison_job


def test_others_finish_the_jobs_of_a_worker_whose_device_fails(tmp_path: Path) -> None:
    device_fails(tmp_path, jobs=60).require_clean()


def test_a_job_that_ends_its_workers_fails_after_three_attempts_and_takes_no_other_with_it(
    tmp_path: Path,
) -> None:
    poison_job(tmp_path, jobs=60).require_clean(failed=1)
