"""The cluster's state as the ledger has it, for Prometheus. All gateways say the same: queries take `max`."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.jobs import JobState
from shared.ledger import Census, ModelJobs, TenantJobs, WorkerFacts


class ClusterMetrics(CollectorRegistry, Collector):
    """Of one moment. Without a census there is only the news that the ledger is away."""

    def __init__(self, census: Census | None) -> None:
        super().__init__()
        self._census = census
        self.register(self)

    def collect(self) -> Iterator[Metric]:
        is_up = GaugeMetricFamily("printworks_ledger_up", "Whether the ledger answers this gateway")
        is_up.add_metric([], float(self._census is not None))
        yield is_up
        if self._census is not None:
            yield from _by_model(self._census)
            yield from _by_pool(self._census)
            yield from _by_key_class(self._census)
            yield from _ended(self._census)


Values = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, said: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = GaugeMetricFamily(name, said, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _by_model(census: Census) -> Iterator[Metric]:
    counts = {
        (state, each.model_id): getattr(each, state)
        for each in census.models
        for state in ("queued", "running", "away")
    }
    yield _gauge("printworks_jobs", "Jobs that are not finished", ("state", "model"), counts.items())
    work = {(each.model_id,): each.work * census.job_pace_ms / 1000 for each in census.models}
    said = "Work of open jobs here, in seconds of one GPU"
    yield _gauge("printworks_backlog_gpu_seconds", said, ("model",), work.items())
    served = {each for each in census.models if any(w.takes(each.model_id) for w in census.workers)}
    unserved = sum(each.queued for each in census.models if each not in served)
    said = "Queued jobs of models that no worker serves"
    yield _gauge("printworks_unserved_jobs", said, (), [((), unserved)])
    said = "Loads of models that no worker has begun"
    yield _gauge("printworks_loads_waiting", said, (), [((), census.loads_waiting)])
    said = "Since the job was accepted that has been queued longest"
    yield _gauge("printworks_oldest_queued_seconds", said, (), [((), census.oldest_queued_s)])


def _by_pool(census: Census) -> Iterator[Metric]:
    pools: dict[str, list[WorkerFacts]] = {}
    for worker in census.workers:
        pools.setdefault(worker.pool, []).append(worker)
    workers = {(pool,): len(its) for pool, its in pools.items()}
    yield _gauge("printworks_workers", "GPU workers that beat", ("pool",), workers.items())
    slots = {(pool,): sum(each.slots for each in its) for pool, its in pools.items()}
    yield _gauge("printworks_slots", "Jobs that they hold at most", ("pool",), slots.items())
    jobs, waits = {}, {}
    for pool, its in pools.items():
        served = [each for each in census.models if its[0].takes(each.model_id)]
        jobs[pool, "queued"] = sum(each.queued for each in served)
        jobs[pool, "running"] = sum(each.running for each in its)
        waits[(pool,)] = _work(served) * census.job_pace_ms / 1000 / len(its)
    said = "Open jobs: those queued that the pool serves, and those that its workers run"
    yield _gauge("printworks_pool_jobs", said, ("pool", "state"), jobs.items())
    said = "Predicted time until the pool has done all open jobs that it serves"
    yield _gauge("printworks_pool_wait_seconds", said, ("pool",), waits.items())


def _work(models: Iterable[ModelJobs]) -> float:
    return sum(each.work for each in models)


def _by_key_class(census: Census) -> Iterator[Metric]:
    """Keys of one weight are a class: they are treated alike."""
    jobs: dict[tuple[str, ...], float] = {}
    waits: dict[tuple[str, ...], float] = {}
    weights = sum(each.weight for each in census.tenants)
    for each in census.tenants:
        name = (f"{each.weight:g}",)
        jobs[name] = jobs.get(name, 0) + each.open
        waits[name] = max(waits.get(name, 0.0), _wait_s(each, weights, census))
    yield _gauge(
        "printworks_key_class_jobs", "Open jobs of all tenants of this weight", ("weight",), jobs.items()
    )
    said = "Longest predicted wait of a new job of a tenant of this weight"
    yield _gauge("printworks_key_class_wait_seconds", said, ("weight",), waits.items())


def _wait_s(tenant: TenantJobs, weights: float, census: Census) -> float:
    """As accept.lua predicts it, and refuses by it."""
    return min(census.work, tenant.work / tenant.weight * weights) * census.pace_ms / 1000


def _ended(census: Census) -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "printworks_jobs_ended", "Jobs ended since the ledger began", labels=("state",)
    )
    for state in JobState:
        if state.is_terminal:
            ended.add_metric([state], census.totals.get(state, 0))
    yield ended
    said = "Leases of GPU workers that expired since the ledger began"
    yield CounterMetricFamily("printworks_leases_expired", said, value=census.totals.get("expired", 0))
    deliveries = {("waiting",): census.deliveries_waiting, ("dead",): census.deliveries_dead}
    yield _gauge("printworks_deliveries", "Webhooks to send, or given up", ("state",), deliveries.items())
