"""Redis dies, hangs, fills up or can't be reached: clients hear it at once, and no job does."""

from pathlib import Path

from tests.chaos.scenarios.clocks import worker_with_a_wrong_clock
from tests.chaos.scenarios.redis_away import redis_full, redis_killed, redis_paused, worker_cut_off


def test_everything_resumes_by_itself_when_redis_comes_back(tmp_path: Path) -> None:
    redis_killed(tmp_path, jobs=60, kills=2, every_s=2.0, lease_s=3.0).require_clean()


def test_a_redis_that_hangs_for_longer_than_a_lease_costs_no_worker_its_jobs(tmp_path: Path) -> None:
    redis_paused(tmp_path, jobs=50, pause_s=9.0).require_clean()


def test_a_worker_that_was_cut_off_cannot_write_when_it_comes_back(tmp_path: Path) -> None:
    worker_cut_off(tmp_path, jobs=30, cut_s=2.0).require_clean()


def test_a_full_redis_refuses_jobs_and_does_those_that_it_has(tmp_path: Path) -> None:
    redis_full(tmp_path, jobs=120).require_clean()


def test_a_worker_whose_clock_is_wrong_works_like_any_other(tmp_path: Path) -> None:
    worker_with_a_wrong_clock(tmp_path, jobs=40).require_clean()
