"""The processes that launchers start: their commands, environments, and where Prometheus finds them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deploy import commands
from deploy.commands import Command
from deploy.flower import FlowerOptions
from deploy.ports import free_ports
from shared.settings import Settings, host_in_url


@dataclass(frozen=True)
class Process:
    """What a child is started with."""

    command: Command
    environment: Mapping[str, str] = field(repr=False)
    kind: str
    metrics_at: str = ""
    """host:port of its /metrics; empty: it has none."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What Prometheus is to know of it besides."""


def server_processes(
    settings: Settings,
    devices: Sequence[str | None],
    flower_port: int | None,
    environment: Mapping[str, str],
) -> Iterator[Process]:
    """All of a server but Redis; the ports of their metrics are any that are free."""
    yield Process(commands.gateway(), environment, "gateway", f"{host_in_url(settings.host)}:{settings.port}")
    dispatchers_port, *ports = free_ports(1 + len(devices))
    dispatcher = commands.dispatcher(settings.deliveries_at_once)
    yield _measured(dispatcher, environment, "dispatcher", settings.metrics_host, dispatchers_port)
    if flower_port is not None:
        here = {"FLOWER_ADDRESS": "127.0.0.1", "FLOWER_PORT": str(flower_port)}
        options = FlowerOptions.from_environment({**environment, **here})
        yield Process(commands.flower(options.address, options.port), options.variables, "flower")
    yield from gpu_workers(settings, devices, ports, environment)


def gpu_workers(
    settings: Settings, devices: Sequence[str | None], ports: Sequence[int], environment: Mapping[str, str]
) -> Iterator[Process]:
    """One for each of these CUDA_VISIBLE_DEVICES, with the port of its metrics (0: none). None: it looks for
    itself."""
    for device, port in zip(devices, ports, strict=True):
        pin = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        command = commands.gpu_worker(device or 0, settings.slots, settings.pool)
        worker = _measured(command, {**environment, **pin}, "gpu-worker", settings.metrics_host, port)
        yield replace(worker, labels={"pool": settings.pool})


def write_targets(file: Path, processes: Iterable[Process]) -> None:
    """Where their metrics are, as Prometheus' `file_sd_configs` reads it; in one move, because it may be
    reading."""
    targets = [
        {"targets": [process.metrics_at], "labels": {"process": process.kind, **process.labels}}
        for process in processes
        if process.metrics_at
    ]
    new = file.with_suffix(".new")
    new.write_text(json.dumps(targets, indent=2) + "\n")
    new.replace(file)


def _measured(command: Command, environment: Mapping[str, str], kind: str, host: str, port: int) -> Process:
    own = {**environment, "PRINTWORKS_METRICS_PORT": str(port)}
    return Process(command, own, kind, f"{host_in_url(host)}:{port}" if port else "")
