"""kill -9, of workers and of gateways."""

import itertools
import random
import threading
import time
from pathlib import Path

from tests.chaos.installation import attacked
from tests.chaos.reckoning import Report, reckon
from tests.chaos.recovery import Recoveries
from tests.chaos.traffic import Traffic, streaming
from tests.support.receiver import running_receiver


def workers_killed(folder: Path, *, jobs: int, kills: int, every_s: float) -> Report:
    """At random moments, each in turn; jobs that are hit are made again."""
    with attacked(folder) as installation, running_receiver() as receiver:
        traffic = Traffic(installation, receiver, lambda number: {"num_inference_steps": 5 + number % 10})
        recoveries, over = Recoveries(installation), threading.Event()
        watching = threading.Thread(target=recoveries.watch, args=(over,))
        watching.start()
        try:
            with streaming(traffic, jobs):
                for worker in itertools.islice(itertools.cycle(installation.workers), kills):
                    pause(every_s)
                    recoveries.kill(worker)
        finally:
            over.set()
            watching.join()
        return reckon(
            "workers killed",
            traffic,
            kills=kills,
            hits=recoveries.hits,
            slowest_recovery_s=recoveries.slowest_s,
        )


def gateways_killed(folder: Path, *, jobs: int, kills: int, every_s: float) -> Report:
    """While clients submit, and try again with the same Idempotency-Key."""
    with attacked(folder, gateways=2) as installation, running_receiver() as receiver:
        traffic = Traffic(installation, receiver)
        with streaming(traffic, jobs):
            for gateway in itertools.islice(itertools.cycle(installation.gateways), kills):
                pause(every_s)
                gateway.kill()
        installation.wait_until_whole()
        assert traffic.broken, "no client has noticed"
        return reckon("gateways killed", traffic, kills=kills)


def pause(about_s: float) -> None:
    """So that faults come at random moments: nothing is waited for."""
    time.sleep(about_s * random.uniform(0.5, 1.5))
