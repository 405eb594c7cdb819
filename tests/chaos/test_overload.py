"""Too much at once, and nowhere to put it."""

from pathlib import Path

from tests.chaos.scenarios.burst import burst, jobs_before_another_keys
from tests.chaos.scenarios.storage import disk_full, s3_away


def test_a_burst_is_refused_beyond_what_can_be_done_and_the_rest_is_done(tmp_path: Path) -> None:
    burst(tmp_path, requests=1200, clients=64, max_wait_s=5.0).require_clean()


def test_a_single_job_is_not_kept_waiting_by_another_keys_five_thousand(tmp_path: Path) -> None:
    before, slots = jobs_before_another_keys(tmp_path, flood=5000)

    assert before <= 2 * slots


def test_pictures_wait_for_an_s3_that_is_away(tmp_path: Path) -> None:
    s3_away(tmp_path, jobs=40, away_s=2.0).require_clean()


def test_jobs_wait_for_a_disk_that_is_full(tmp_path: Path) -> None:
    disk_full(tmp_path, jobs=20, full_s=2.0).require_clean()
