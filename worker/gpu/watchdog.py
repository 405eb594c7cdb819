"""Ends the process when its device hangs or is lost: crash-only, the ledger gives its jobs to others."""

import threading

from worker.gpu.engine import Engine
from worker.process import end_process

CHECKS_PER_TIMEOUT = 10


class Watchdog:
    """Watches that every operation of the engine ends within its time."""

    def __init__(self, engine: Engine, step_timeout_s: float) -> None:
        self._engine = engine
        self._step_timeout_s = step_timeout_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._step_timeout_s / CHECKS_PER_TIMEOUT):
            if self._engine.stalled_s() > self._step_timeout_s:
                end_process(f"a step has not ended within {self._step_timeout_s} s")
