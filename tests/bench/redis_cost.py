"""What a job costs Redis, beside a plain Celery task; and how that grows with the cluster.

`python -m tests.bench.redis_cost` prints three tables. Redis works on one core, so its CPU time for each job
says how many one server takes. The first table counts all that a real gateway, worker and dispatcher ask for,
the second what they need themselves (the worker paints next to nothing); the third (redis_scale.py) times the
ledger's scripts while many GPUs are busy and their queue is long.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import redis

from deploy import commands as words
from deploy.ports import free_port
from shared.settings import Settings
from tests.bench import plain_celery
from tests.bench.redis_scale import script_rows
from tests.bench.report import print_table
from tests.support import tiny
from tests.support.models import write_models_file
from tests.support.processes import (
    forked,
    running,
    running_dispatcher,
    running_redis,
    running_worker,
)
from tests.support.receiver import running_receiver
from tests.support.waiting import wait_until

CLIENTS, SLOTS = 16, 8
KEY = "key-of-the-benchmark"


@dataclass(frozen=True)
class Cost:
    """Of one job, to Redis and to our own processes."""

    commands: float
    cpu_us: float
    process_ms: dict[str, float]
    """CPU time of each of ours."""


def _figures(client: redis.Redis, processes: Mapping[str, int]) -> list[float]:
    """Commands and CPU seconds of the server, and CPU seconds of each process by its id."""
    info = client.info()
    cpu_s = info["used_cpu_sys_main_thread"] + info["used_cpu_user_main_thread"]
    times = [psutil.Process(pid).cpu_times() for pid in processes.values()]
    return [info["total_commands_processed"], cpu_s, *(each.user + each.system for each in times)]


@contextmanager
def _measured(
    client: redis.Redis, count: int, costs: list[Cost], processes: Mapping[str, int] | None = None
) -> Iterator[None]:
    processes = processes or {}
    before = _figures(client, processes)
    yield
    after = _figures(client, processes)
    commands, cpu_s, *own_s = (now - was for now, was in zip(after, before, strict=True))
    own_ms = dict(zip(processes, (1e3 * each / count for each in own_s), strict=True))
    costs.append(Cost(commands / count, 1e6 * cpu_s / count, own_ms))


def job_cost(folder: Path, url: str, jobs: int) -> Cost:
    """Of jobs with webhooks, through real processes: each client sends one after the other."""
    model = tiny.save_stable_diffusion(folder / "tiny")
    settings = Settings(
        redis_url=url,
        data_dir=folder / "data",
        port=free_port(),
        api_key=KEY,
        models_file=write_models_file(folder / "models.yaml", models={"demo": model}),
        slots=SLOTS,
        allow_private_hosts=("127.0.0.1",),
    )
    costs: list[Cost] = []
    with ExitStack() as stack:
        worker = stack.enter_context(running_worker(settings, folder / "worker.log"))
        dispatcher = stack.enter_context(running_dispatcher(settings, folder / "dispatcher.log"))
        gateway = stack.enter_context(forked(words.gateway(), settings, folder / "gateway.log"))
        wait_until(lambda: b"running on" in (folder / "gateway.log").read_bytes(), within_s=60)
        processes = {"gateway": gateway.pid, "GPU worker": worker.pid, "dispatcher": dispatcher.pid}
        receiver = stack.enter_context(running_receiver())
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=120))
        server = stack.enter_context(redis.Redis.from_url(url))
        pool = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        body = {"key": KEY, "model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64}
        body |= {"num_inference_steps": 4, "webhook": receiver.url}

        def request(_: int) -> None:
            answer = client.post("/api/v1/enterprise/text2img", json=body).json()
            if answer["status"] != "success":
                sys.exit(f"not made: {answer}")

        list(pool.map(request, range(CLIENTS)))
        with _measured(server, jobs, costs, processes):
            list(pool.map(request, range(jobs)))
            while len(receiver.requests) < CLIENTS + jobs:
                time.sleep(0.01)
    return costs[0]


def task_cost(folder: Path, url: str, tasks: int) -> Cost:
    """Of plain Celery tasks that do nothing and whose results are kept and waited for."""
    app = plain_celery.make_app(url)
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "tests.bench.plain_celery", "worker"]
    command += ["--pool=threads", f"--concurrency={SLOTS}"]
    costs: list[Cost] = []
    with (
        running(command, folder / "celery.log", environment={"PLAIN_CELERY_REDIS_URL": url}),
        redis.Redis.from_url(url) as server,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):

        def request(number: int) -> None:
            app.send_task(plain_celery.TASK, [number]).get(timeout=60)

        list(pool.map(request, range(CLIENTS)))
        with _measured(server, tasks, costs):
            list(pool.map(request, range(tasks)))
    return costs[0]


def _rows(task: Cost, job: Cost) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{cost.commands:.0f}",
            f"{cost.cpu_us:.0f}",
            f"{cost.cpu_us / task.cpu_us:.2f}",
            f"{1e6 / cost.cpu_us:.0f}",
        )
        for name, cost in (("a plain Celery task", task), ("a job with its webhook", job))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--gpus", type=int, nargs="+", default=[10, 100, 1000])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_redis(folder) as url:
            task = task_cost(folder, url.removesuffix("/0") + "/1", asked.jobs)
            job = job_cost(folder, url, asked.jobs)
            columns = ("commands", "CPU us", "ratio", "a second on one core")
            print_table("redis, for each one", columns, _rows(task, job))
            own = [(name, f"{ms:.1f}", f"{1e3 / ms:.0f}") for name, ms in job.process_ms.items()]
            print_table("our processes, for each job", ("CPU ms", "a second on one core"), own)
            clusters = [f"{gpus} GPUs" for gpus in asked.gpus]
            print_table("redis, us for each call", clusters, script_rows(url, asked.gpus, job.cpu_us))


if __name__ == "__main__":
    main()
