"""The device, or the native code below it, fails: hangs, lost devices, memory, segmentation faults."""

from pathlib import Path
from typing import Any

from shared import ledger
from shared.jobs import JobState
from tests.chaos.installation import Installation, attacked
from tests.chaos.reckoning import Report, reckon
from tests.chaos.shapes import SHAPES, SIDE
from tests.chaos.traffic import Traffic, streaming
from tests.support.receiver import running_receiver
from tests.support.waiting import wait_until

FAULTY = ("tests.chaos.faulty", "tests.chaos.faulty")
POISONED = 20
"""Number of the job."""
HASTY: dict[str, Any] = {"lease_s": 4.0, "beat_s": 1.0, "step_timeout_s": 3.0}


def device_fails(folder: Path, *, jobs: int) -> Report:
    """Once in each way, in the middle of other jobs; memory runs out all the time."""
    once = ("segfault", "hang", "device lost")

    def fields(number: int) -> dict[str, Any]:
        if number % 10 == 5 and number // 10 < len(once):
            return {"height": SHAPES[once[number // 10]]}
        return {"height": SHAPES["out of memory"] if number % 2 else SIDE}

    with (
        attacked(folder, worker_apps=FAULTY, **HASTY) as installation,
        running_receiver() as receiver,
    ):
        traffic = Traffic(installation, receiver, fields)
        with streaming(traffic, jobs):
            wait_until(lambda: _deaths(installation) >= len(once), within_s=90)
        logs = installation.logs()
        assert "a step has not ended within" in logs, "nothing hung"
        assert "the engine can't go on" in logs, "no device was lost"
        assert "lane narrowed" in logs, "memory has not run out"
        return reckon("device fails", traffic, kills=_deaths(installation))


def poison_job(folder: Path, *, jobs: int) -> Report:
    """A job that ends every worker it comes to."""
    # so many that some would meet it each time, if jobs that were hit twice were not kept apart
    many = HASTY | {"slots": 16}

    def fields(number: int) -> dict[str, Any]:
        return {"height": SHAPES["poison"] if number == POISONED else SIDE, "num_inference_steps": 20}

    with attacked(folder, worker_apps=FAULTY, **many) as installation, running_receiver() as receiver:
        traffic = Traffic(installation, receiver, fields, most_open=64)
        with streaming(traffic, jobs, clients=32):
            wait_until(lambda: _failed(installation), within_s=120)
        report = reckon("poison job", traffic, kills=_deaths(installation))
        with installation.ledger() as store:
            ended = [store.run(ledger.read(job_id, None)) for job_id in traffic.accepted.values()]
        (failed,) = [job for job in ended if job.state is JobState.FAILED]
        assert failed.attempts == installation.settings.max_attempts
        assert failed.outcome
        assert "3 attempts" in failed.outcome.reason
        return report


def _deaths(installation: Installation) -> int:
    return sum(worker.deaths for worker in installation.workers)


def _failed(installation: Installation) -> int:
    with installation.raw() as raw:
        return int(raw.hget("pw:totals", "failed") or 0)
