"""Processes whose clocks are wrong."""

from pathlib import Path

from tests.chaos.installation import attacked
from tests.chaos.reckoning import Report, reckon
from tests.chaos.traffic import Traffic, streaming
from tests.support.receiver import running_receiver


def worker_with_a_wrong_clock(folder: Path, *, jobs: int) -> Report:
    """Of two workers one is a day ahead: leases and deadlines are by Redis' time, so nobody loses a job."""
    apps = ("worker.gpu.app", "tests.chaos.tomorrow")
    with attacked(folder, worker_apps=apps) as installation, running_receiver() as receiver:
        traffic = Traffic(installation, receiver, lambda _: {"num_inference_steps": 10})
        with streaming(traffic, jobs):
            pass
        report = reckon("wrong clock", traffic)
        with installation.raw() as raw:
            records = [
                raw.hmget(f"pw:job:{job_id}", "worker", "attempts") for job_id in traffic.accepted.values()
            ]
        assert {attempts for _, attempts in records} == {"1"}
        assert len({worker for worker, _ in records}) == len(apps), "one of them did nothing"
        return report
