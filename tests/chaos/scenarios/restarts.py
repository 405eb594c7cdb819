"""What operators do: SIGTERM to a busy worker, a rolling restart under load."""

import itertools
import signal
from functools import partial
from pathlib import Path

import httpx

from tests.chaos.installation import API_KEY, Installation, attacked
from tests.chaos.members import Member
from tests.chaos.reckoning import Report, reckon
from tests.chaos.traffic import ROOT, Traffic, streaming
from tests.support.receiver import running_receiver
from tests.support.waiting import wait_until

LONGEST_GAP_S = 5.0


def workers_drained(folder: Path, *, jobs: int, drain_s: float) -> Report:
    """SIGTERM: a worker ends what it can in its grace, and gives the rest back; no attempt is counted."""
    with attacked(folder, drain_s=drain_s) as installation, running_receiver() as receiver:
        traffic = Traffic(
            installation, receiver, lambda number: {"num_inference_steps": 40, "samples": 1 + number % 2}
        )
        with streaming(traffic, jobs):
            for worker in installation.workers:
                wait_until(lambda: installation.running() >= installation.settings.slots, within_s=60)
                deaths = worker.deaths
                worker.signal(signal.SIGTERM)
                wait_until(partial(_has_died_since, worker, deaths), within_s=drain_s + 10)
        report = reckon("workers drained", traffic, kills=len(installation.workers))
        assert "job given back" in installation.logs(), "nothing was in the way"
        assert _attempts(installation, traffic) == {"1"}
        return report


def rolling_restart(folder: Path, *, jobs: int) -> Report:
    """`restart_server` under load: nothing fails, and pictures keep coming."""
    with attacked(folder) as installation, running_receiver() as receiver:
        traffic = Traffic(installation, receiver, lambda _: {"num_inference_steps": 10})
        before = {worker.pid for worker in installation.workers}
        with streaming(traffic, jobs):
            wait_until(lambda: len(receiver.requests) > 10, within_s=60)
            said = httpx.post(
                f"{installation.urls[0]}{ROOT}/restart_server", json={"key": API_KEY}, trust_env=False
            )
            assert said.json()["status"] == "success"
            wait_until(lambda: before.isdisjoint(worker.pid for worker in installation.workers), within_s=60)
            installation.wait_until_whole()
        report = reckon("rolling restart", traffic, kills=len(before))
        assert _attempts(installation, traffic) == {"1"}
        gap_s = _longest_gap_s(installation, traffic)
        assert gap_s <= LONGEST_GAP_S, f"no picture came for {gap_s:.1f} s"
        return report


def _has_died_since(worker: Member, deaths: int) -> bool:
    return worker.deaths > deaths


def _attempts(installation: Installation, traffic: Traffic) -> set[object]:
    with installation.raw() as raw:
        return {raw.hget(f"pw:job:{job_id}", "attempts") for job_id in traffic.accepted.values()}


def _longest_gap_s(installation: Installation, traffic: Traffic) -> float:
    """Between two jobs that ended one after the other."""
    with installation.raw() as raw:
        ends = sorted(
            float(raw.hget(f"pw:job:{job_id}", "finished_ms") or 0) for job_id in traffic.accepted.values()
        )
    return max(after - before for before, after in itertools.pairwise(ends)) / 1000
