"""Several servers that share jobs: how their throughput adds up, and what jobs wait when one of them is slow.

`python -m tests.bench.servers` prints two tables. The servers are real, but a forward of their workers is a
sleep of fixed length (tests/servers/paced.py): one machine could not show otherwise what several can do.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.report import print_table, quantile
from tests.chaos.installation import Installation
from tests.servers.group import NAMES, Group, group, post
from tests.support.waiting import wait_until

STEADY, SLOW = "tests.bench.steady", "tests.bench.three_times_slower"
SLOTS, STEPS = 4, 10
JOBS_OF_EACH = 96
ARRIVALS, ARRIVALS_PER_S = 180, 6.0
"""About six sevenths of what two steady servers and a slow one can do."""
CLIENTS = 32


@dataclass(frozen=True)
class Policy:
    """Who decides which server makes the job of a number."""

    name: str
    asked: Callable[[int, random.Random], str]
    loadbalancer: str = "no"


POLICIES = (
    Policy("clients draw a server", lambda _, dice: dice.choice(NAMES)),
    Policy("clients take turns", lambda number, _: NAMES[number % len(NAMES)]),
    Policy("loadbalancer: yes", lambda _number, _dice: NAMES[0], loadbalancer="yes"),
)


def main() -> None:
    print_throughput([(count, _jobs_per_s(count)) for count in range(1, len(NAMES) + 1)])
    with _servers(NAMES, {NAMES[-1]: SLOW}) as servers:
        print_latencies([(policy.name, _took_s(servers, policy)) for policy in POLICIES])


def print_throughput(found: Sequence[tuple[int, float]]) -> None:
    alone = found[0][1]
    rows = [
        (f"{count} server{'s'[: count > 1]}", f"{rate:.2f}", f"{rate / alone / count:.2f}", ">= 0.9")
        for count, rate in found
    ]
    title = f"throughput: {JOBS_OF_EACH} jobs for each server, all sent to the first at once"
    print_table(title, ("jobs/s", "of linear", "expected"), rows)


def print_latencies(found: Sequence[tuple[str, Sequence[float]]]) -> None:
    p95 = {name: quantile(list(took), 0.95) for name, took in found}
    ours = p95[POLICIES[-1].name]
    rows = [
        (name, f"{quantile(list(took), 0.5):.2f}", f"{p95[name]:.2f}", f"{p95[name] / ours:.2f}", "> 1")
        for name, took in found[:-1]
    ]
    name, took = found[-1]
    rows.append((name, f"{quantile(list(took), 0.5):.2f}", f"{ours:.2f}", "1.00", ""))
    title = f"latency: three servers, one of them three times slower, {ARRIVALS_PER_S:g} jobs/s"
    print_table(title, ("p50 in s", "p95 in s", "p95 ratio", "expected"), rows)


def _jobs_per_s(count: int) -> float:
    names = NAMES[:count]
    with _servers(names) as servers, ThreadPoolExecutor(CLIENTS) as clients:
        began = time.monotonic()
        jobs = list(clients.map(lambda _: _send(servers.first, "yes"), range(JOBS_OF_EACH * count)))
        _lives_s([(servers.first, job) for job in jobs])
        return len(jobs) / (time.monotonic() - began)


def _took_s(servers: Group, policy: Policy) -> list[float]:
    """From each job's acceptance to its end. The arrivals are the same for all policies."""
    dice, due, sent = random.Random(7), time.monotonic(), []
    with ThreadPoolExecutor(CLIENTS) as clients:
        for number in range(ARRIVALS):
            due += dice.expovariate(ARRIVALS_PER_S)
            time.sleep(max(0.0, due - time.monotonic()))
            asked = servers.servers[policy.asked(number, dice)]
            sent.append((asked, clients.submit(_send, asked, policy.loadbalancer)))
        return _lives_s([(asked, job.result()) for asked, job in sent])


@contextmanager
def _servers(names: Sequence[str], apps: Mapping[str, str] | None = None) -> Iterator[Group]:
    """Ready, and each knows its own pace."""
    workers = {name: ((apps or {}).get(name, STEADY),) for name in names}
    with (
        tempfile.TemporaryDirectory() as folder,
        group(Path(folder), names=names, worker_apps=workers, slots=SLOTS) as servers,
    ):
        for asked in servers.servers.values():
            _lives_s([(asked, _send(asked, "no")) for _ in range(2 * SLOTS)])
        yield servers


def _send(asked: Installation, loadbalancer: str) -> int:
    fields = {"num_inference_steps": STEPS, "instant_response": "yes", "loadbalancer": loadbalancer}
    said = post(
        asked, "text2img", model_id="demo", prompt="x", width=64, height=64, safety_checker="no", **fields
    )
    return int(said["id"])


def _lives_s(jobs: Sequence[tuple[Installation, int]]) -> list[float]:
    """How long each was open; waits until all have ended."""
    return [wait_until(lambda: _life_s(*job), within_s=180, every_s=0.05) for job in jobs]  # noqa: B023


def _life_s(asked: Installation, job_id: int) -> float | None:
    with asked.raw() as raw:
        created, finished = raw.hmget(f"pw:job:{job_id}", "created_ms", "finished_ms")
    return (float(finished) - float(created)) / 1000 if created and finished else None


if __name__ == "__main__":
    main()
