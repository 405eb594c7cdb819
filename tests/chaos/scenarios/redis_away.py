"""Redis dies, hangs, fills up, or can't be reached by one of the workers."""

import signal
import time
from pathlib import Path

from deploy.embedded_redis import embedded_redis, wait_for_redis
from deploy.ports import free_port
from shared.ledger import worker_name
from tests.chaos.installation import Installation, attacked
from tests.chaos.reckoning import Report, reckon
from tests.chaos.scenarios.kills import pause
from tests.chaos.traffic import Traffic, streaming
from tests.support.proxy import network_to
from tests.support.receiver import running_receiver
from tests.support.waiting import wait_until

RESUMED_WITHIN_S = 15.0


def redis_killed(folder: Path, *, jobs: int, kills: int, every_s: float, lease_s: float) -> Report:
    """kill -9 in mid-load. It is away for longer than a lease, and yet no worker loses one."""
    with (
        attacked(folder, lease_s=lease_s, beat_s=lease_s / 4) as installation,
        running_receiver() as receiver,
    ):
        traffic = Traffic(installation, receiver, lambda _: {"num_inference_steps": 40})
        with streaming(traffic, jobs):
            for _ in range(kills):
                pause(every_s)
                installation.redis.wanted = False
                installation.redis.kill()
                traffic.require_refusal()
                time.sleep(1.5 * lease_s)  # nobody can tell that it is away: it is
                installation.redis.wanted = True
                _wait_until_resumed(installation)
        assert not _was_refused(installation), "a worker that was well has lost a job"
        return reckon("redis killed", traffic, kills=kills)


def redis_paused(folder: Path, *, jobs: int, pause_s: float) -> Report:
    """It answers nothing for a while: longer than a lease, so that no worker can have beaten."""
    with attacked(folder) as installation, running_receiver() as receiver:
        traffic = Traffic(installation, receiver, lambda _: {"num_inference_steps": 40})
        with streaming(traffic, jobs):
            wait_until(lambda: installation.running() >= 2, within_s=30)
            installation.redis.signal(signal.SIGSTOP)
            traffic.require_refusal()
            time.sleep(pause_s)  # nobody can tell that it hangs: it does
            installation.redis.signal(signal.SIGCONT)
            _wait_until_resumed(installation)
        assert not _was_refused(installation), "a worker that was well has lost a job"
        return reckon("redis paused", traffic)


def worker_cut_off(folder: Path, *, jobs: int, cut_s: float) -> Report:
    """One worker can't reach Redis: others make its jobs, and what it writes later is refused."""
    server = embedded_redis(folder / "redis", free_port())
    with (
        network_to(server.url) as (network, url),
        attacked(folder, server=server, first_workers_redis_url=url) as installation,
        running_receiver() as receiver,
    ):
        cut_off = worker_name(installation.workers[0].pid)
        traffic = Traffic(installation, receiver, lambda _: {"num_inference_steps": 30})
        with streaming(traffic, jobs):
            wait_until(lambda: _holds(installation, cut_off) >= 2, within_s=30)
            network.cut()
            held = _holds(installation, cut_off)
            wait_until(lambda: not _holds(installation, cut_off), within_s=30)
            pause(cut_s)
            network.mend()
        report = reckon("worker cut off", traffic, hits=held)
        wait_until(lambda: _was_refused(installation), within_s=30)
        wait_until(lambda: cut_off in installation.beating(), within_s=RESUMED_WITHIN_S)
        return report


def redis_full(folder: Path, *, jobs: int) -> Report:
    """Its memory is bounded: what does not fit is refused, what was accepted is done."""
    with (
        attacked(folder) as installation,
        running_receiver() as receiver,
        installation.raw() as raw,
    ):
        used = int(raw.info("memory")["used_memory"])
        raw.config_set("maxmemory", used + 1_000_000)
        traffic = Traffic(installation, receiver, lambda _: {"prompt": "x" * 9000}, most_open=jobs)
        with streaming(traffic, jobs, clients=32):
            wait_until(lambda: traffic.refused, within_s=60)
            raw.config_set("maxmemory", used + 300_000_000)  # the operator gives it more
        return reckon("redis full", traffic)


def _was_refused(installation: Installation) -> bool:
    """Whether a worker has heard that a job is no longer its own, while it made it or when it had."""
    logs = installation.logs()
    return "job lost to another worker" in logs or "outcome refused: the lease was lost" in logs


def _wait_until_resumed(installation: Installation) -> None:
    """By themselves: nobody starts a process again."""
    wait_for_redis(installation.server.url)
    ended = _ended(installation)
    wait_until(lambda: _ended(installation) > ended, within_s=RESUMED_WITHIN_S)


def _ended(installation: Installation) -> int:
    with installation.raw() as raw:
        return int(raw.hget("pw:totals", "succeeded") or 0)


def _holds(installation: Installation, worker: str) -> int:
    """How many jobs a worker has."""
    with installation.raw() as raw:
        leased = map(str, raw.zrange("pw:leases", 0, -1))
        return sum(raw.hget(f"pw:job:{job_id}", "worker") == worker for job_id in leased)
