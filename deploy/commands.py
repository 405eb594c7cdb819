"""How each process is started. One source for the launcher and for everything else that starts them."""

import sys
from dataclasses import dataclass

from shared.broker import WEBHOOK_QUEUE, gpu_queue


@dataclass(frozen=True)
class Command:
    """A process of the cluster: its name in logs and the words that start it."""

    name: str
    words: tuple[str, ...]


def gateway() -> Command:
    return Command("gateway", (sys.executable, "-m", "api"))


def gpu_worker(name: int | str, slots: int, pool: str) -> Command:
    """One process for one GPU, which CUDA_VISIBLE_DEVICES names. `name` tells it from others of its host."""
    words = _celery_worker("worker.gpu.app", gpu_queue(pool), f"gpu{name}", slots)
    return Command(f"worker{name}", words)


def dispatcher(deliveries_at_once: int) -> Command:
    words = _celery_worker("worker.dispatcher.app", WEBHOOK_QUEUE, "dispatcher", deliveries_at_once)
    return Command("dispatcher", words)


def flower(address: str, port: int) -> Command:
    words = ("worker.monitor", "flower", f"--address={address}", f"--port={port}")
    return Command("flower", (sys.executable, "-m", "celery", "-A", *words))


def _celery_worker(app: str, queue: str, node: str, concurrency: int) -> tuple[str, ...]:
    """Threads, so that beats and remote control answer while the GPU is busy; never solo or prefork. Quiet:
    Celery's banner is no line of a log."""
    options = ("--pool=threads", f"--concurrency={concurrency}", "--without-mingle", "--without-gossip")
    celery = (sys.executable, "-m", "celery", "--quiet", "-A", app, "worker")
    return (*celery, *options, f"--queues={queue}", f"--hostname={node}@%h", "--loglevel=INFO")
