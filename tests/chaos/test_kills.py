"""kill -9 of any process, and what operators do on purpose."""

from pathlib import Path

from tests.chaos.scenarios.kills import gateways_killed, workers_killed
from tests.chaos.scenarios.restarts import rolling_restart, workers_drained

RECOVERY_S = 15.0


def test_jobs_of_killed_workers_are_made_by_others_within_seconds(tmp_path: Path) -> None:
    report = workers_killed(tmp_path, jobs=300, kills=5, every_s=2.5)

    report.require_clean()
    assert report.hits > 0
    assert report.slowest_recovery_s <= RECOVERY_S


def test_a_client_that_tries_again_at_another_gateway_gets_its_job_once(tmp_path: Path) -> None:
    gateways_killed(tmp_path, jobs=100, kills=4, every_s=1.2).require_clean()


def test_a_worker_that_is_told_to_end_gives_back_what_it_cannot_finish(tmp_path: Path) -> None:
    workers_drained(tmp_path, jobs=16, drain_s=0.5).require_clean()


def test_a_rolling_restart_is_not_noticed(tmp_path: Path) -> None:
    rolling_restart(tmp_path, jobs=60).require_clean()
