"""The GPU workers of a machine in a cluster: `printworks-worker [--gpus 0,1]`, or `make worker GPUS=0,1`.

One process per GPU, restarted when it dies. Redis, gateways and dispatchers run elsewhere; where, and all
else, the PRINTWORKS_ settings say. All that is told goes to stderr as JSON lines, the workers' own included.
"""

import argparse
import logging
import math
import os
import time

from deploy.embedded_redis import wait_for_redis
from deploy.gpus import chosen_gpus, workers_of
from deploy.processes import gpu_workers
from deploy.readiness import Heartbeats
from deploy.stopping import Stopping, explaining, say
from deploy.supervisor import POLL_S, Child, end_all
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.settings import Settings

logger = logging.getLogger(__name__)

LAST_STEP_S = 10.0
"""What workers may take beyond `drain_s`: jobs are given back at their next step."""
ASK_S = 0.5
"""Between two looks at who is up."""


def main() -> None:
    configure_logging("launcher")
    asked = _parser().parse_args().gpus
    with explaining(say):
        settings, stopping = Settings.load(), Stopping()
        (devices,) = workers_of(chosen_gpus(asked), 1)
        workers = list(
            gpu_workers(settings, devices, _ports(settings.metrics_port, len(devices)), os.environ)
        )
        wait_for_redis(settings.redis_url, math.inf, lambda: stopping.wanted, logger.warning)
        children = [Child(worker.command, worker.environment, None) for worker in workers]
        _Workers(children, settings, stopping).run()


class _Workers:
    """Keeps them alive until it is to stop; then they drain."""

    def __init__(self, children: list[Child], settings: Settings, stopping: Stopping) -> None:
        self._children = children
        self._stopping = stopping
        self._stop_s = settings.drain_s + LAST_STEP_S
        self._heartbeats = Heartbeats(settings.redis_url)
        self._up: set[int] = set()
        """Process ids of those that have been told to be up."""
        self._ask_at = 0.0

    def run(self) -> None:
        if self._stopping.wanted:  # nobody wants them any more
            return
        for child in self._children:
            child.start()
            logger.info(f"{child.command.name}: started, pid {child.process.pid}")
        while not self._stopping.wanted:
            for child in self._children:
                child.keep_alive(logger.warning)
            self._tell_who_is_up()
            time.sleep(POLL_S)
        logger.info(f"stopping: the workers drain, for up to {self._stop_s:g} s")
        end_all(self._children, self._stop_s, lambda: self._stopping.at_once)
        logger.info("stopped")

    def _tell_who_is_up(self) -> None:
        names = {child.process.pid: child.command.name for child in self._children}
        unknown = names.keys() - self._up
        if not unknown or time.monotonic() < self._ask_at:
            return
        for pid in self._heartbeats.among(unknown):
            self._up.add(pid)
            logger.info(f"{names[pid]}: up, pid {pid}")
        self._ask_at = time.monotonic() + ASK_S


def _ports(first: int, count: int) -> list[int]:
    """Of their metrics; 0: none. Raises `Misconfigured`."""
    if first + count > 2**16:
        raise Misconfigured(f"PRINTWORKS_METRICS_PORT {first} leaves no port for each of {count} workers.")
    return [first + number if first else 0 for number in range(count)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="printworks-worker", description="Runs one GPU worker per GPU of this machine, for a cluster."
    )
    parser.add_argument(
        "--gpus",
        default="",
        metavar="IDS",
        help="as CUDA_VISIBLE_DEVICES takes them, separated by commas; else all",
    )
    return parser


if __name__ == "__main__":
    main()
