"""How long it takes until a job whose worker was killed is being made again."""

import threading
import time
from dataclasses import dataclass, field

from redis import Redis

from shared.ledger import worker_name
from tests.chaos.installation import Installation
from tests.chaos.members import Member

LOOK_EVERY_S = 0.02
Held = tuple[str, str]
"""A job's id, and the token of the lease that was lost."""


@dataclass
class Recoveries:
    """Watches the jobs that killed workers held, from a thread of its own. Safe to share between threads."""

    installation: Installation
    hits: int = 0
    slowest_s: float = 0.0
    _waiting: dict[Held, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def kill(self, worker: Member) -> None:
        """kill -9; from now on its jobs are waited for."""
        with self.installation.raw() as raw:
            name = worker_name(worker.kill())
            held = [held for held in _running(raw) if raw.hget(f"pw:job:{held[0]}", "worker") == name]
        now = time.monotonic()
        with self._lock:
            self.hits += len(held)
            self._waiting |= dict.fromkeys(held, now)

    def watch(self, over: threading.Event) -> None:
        """Until `over`, and then until nothing is waited for."""
        with self.installation.raw() as raw:
            while not over.is_set() or self._waiting:
                self._look(raw)
                time.sleep(LOOK_EVERY_S)

    def _look(self, raw: Redis) -> None:
        for (job_id, token), since in list(self._waiting.items()):
            state, token_now = raw.hmget(f"pw:job:{job_id}", "state", "token")
            if state != "queued" and token_now != token:
                with self._lock:
                    del self._waiting[job_id, token]
                    self.slowest_s = max(self.slowest_s, time.monotonic() - since)


def _running(raw: Redis) -> list[Held]:
    leased = [str(job_id) for job_id in raw.zrange("pw:leases", 0, -1)]
    return [(job_id, str(raw.hget(f"pw:job:{job_id}", "token"))) for job_id in leased]
