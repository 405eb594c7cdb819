"""Pictures per second through the whole cluster, beside the stock pipeline in a loop: same model, same work.

`python -m tests.bench.throughput` prints one table. The baselines run first and alone, with as many threads
as the worker has; every row makes the same pictures: 128 px, 20 steps, Euler, guidance 7.5.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

from shared.settings import DEMO, Settings
from tests.support.processes import running_cluster

PROMPT = "a red circle on a blue background"
SIDE, STEPS, GUIDANCE = 128, 20, 7.5
PICTURES = 48
CLIENTS = (1, 8, 32)
BATCHES = (1, 8)


@dataclass(frozen=True)
class Row:
    name: str
    pictures_per_s: float


def stock_rows() -> list[Row]:
    """The stock pipeline, one call after the other."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        DEMO / "model", dtype=torch.float32, safety_checker=None
    )
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)

    def call_all(batch: int, pictures: int = PICTURES) -> None:
        for first in range(0, pictures, batch):
            pipeline(
                [PROMPT] * batch,
                width=SIDE,
                height=SIDE,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                generator=[torch.Generator().manual_seed(first + i) for i in range(batch)],
            )

    rows = []
    for batch in BATCHES:
        call_all(batch, pictures=batch)
        rows.append(Row(f"stock pipeline, batch {batch}", _rate(partial(call_all, batch))))
    return rows


def cluster_rows() -> list[Row]:
    """Clients that each send one request after the other, all real HTTP."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_cluster(Path(folder)) as cluster,
        httpx.Client(base_url=cluster.url, timeout=120) as client,
    ):
        _request(client, 0)
        return [
            Row(f"cluster, {clients} clients", _rate(partial(_request_all, client, clients)))
            for clients in CLIENTS
        ]


def _request_all(client: httpx.Client, clients: int) -> None:
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(partial(_request, client), range(PICTURES)))


def _request(client: httpx.Client, seed: int) -> None:
    body = {
        **{"key": "demo", "model_id": "demo", "prompt": PROMPT, "seed": seed, "width": SIDE, "height": SIDE},
        **{"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "scheduler": "EulerDiscreteScheduler"},
    }
    answer = client.post("/api/v1/enterprise/text2img", json=body).json()
    if answer["status"] != "success":
        sys.exit(f"not made: {answer}")


def _rate(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return PICTURES / (time.perf_counter() - started)


def table(rows: Sequence[Row]) -> str:
    """Each rate, and its ratio to the stock pipeline called one by one."""
    base = rows[0].pictures_per_s
    lines = [f"{'':28}{'pictures/s':>12}{'ratio':>8}"]
    lines += [f"{row.name:28}{row.pictures_per_s:12.2f}{row.pictures_per_s / base:8.2f}" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(Settings().cpu_threads)
    print(f"{PICTURES} pictures of {SIDE} px, {STEPS} steps, {torch.get_num_threads()} threads")
    print(table(stock_rows() + cluster_rows()))
