"""What a GPU worker tells Prometheus of its engine, its shelf and its jobs. What happens is told to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.jobs import JobState, Kind, Outcome
from shared.ledger import Claim
from shared.settings import Settings
from worker.gpu.engine import Observer
from worker.gpu.models.cache import ShelfObserver
from worker.gpu.painting.forward import DENOISE

End = Literal["folder", "s3"]
"""Where a file is stored."""

MINUTE, HOUR = 60, 3600

TICK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, MINUTE, 2 * MINUTE)
"""From a token of a small model to what `step_timeout_s` allows."""
WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
WAIT_S = (
    *(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30),
    *(MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 24 * HOUR),
)
"""From an idle cluster's to what `job_deadline_s` allows."""
GENERATION_S = (
    *(0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45),
    *(MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR),
)
UPLOAD_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, MINUTE)
LOAD_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE)


class EngineMetrics(Observer):
    """Each call takes a few microseconds."""

    def __init__(self, registry: CollectorRegistry, settings: Settings) -> None:
        self._tick_seconds = Histogram(
            "printworks_tick_seconds",
            "Time of one forward; on a GPU including the wait for those that were queued before",
            ["work"],
            buckets=TICK_S,
            registry=registry,
        )
        self._denoising = self._tick_seconds.labels(work=DENOISE)
        self._lane_width = Histogram(
            "printworks_lane_width", "Asks in one denoising forward", buckets=WIDTHS, registry=registry
        )
        self._busy = Counter(
            "printworks_gpu_busy_seconds", "Time in which the engine had work", registry=registry
        )
        self._out_of_memory = Counter(
            "printworks_out_of_memory", "Forwards that did not fit the device's memory", registry=registry
        )
        most = Gauge("printworks_lane_width_most", "Most asks in one forward: a setting", registry=registry)
        most.set(settings.lane_width)

    def ticked(self, work: str, asks: int, seconds: float) -> None:
        if work == DENOISE:
            self._denoising.observe(seconds)
            self._lane_width.observe(asks)
        else:
            self._tick_seconds.labels(work=work).observe(seconds)

    def was_busy(self, seconds: float) -> None:
        self._busy.inc(seconds)

    def ran_out_of_memory(self) -> None:
        self._out_of_memory.inc()


class ShelfMetrics(ShelfObserver):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._loaded = Gauge(
            "printworks_models_loaded", "Models and their parts in memory", ["kind"], registry=registry
        )
        self._load_seconds = Histogram(
            "printworks_model_load_seconds",
            "Time to bring one from its files to the device",
            ["kind"],
            buckets=LOAD_S,
            registry=registry,
        )
        self._evictions = Counter(
            "printworks_model_evictions",
            "How many had to make room, or were dropped",
            ["kind"],
            registry=registry,
        )

    def loaded(self, kind: str, seconds: float) -> None:
        self._loaded.labels(kind=kind).inc()
        self._load_seconds.labels(kind=kind).observe(seconds)
        self._evictions.labels(kind=kind)  # from now on it is there, and 0

    def evicted(self, kind: str) -> None:
        self._loaded.labels(kind=kind).dec()
        self._evictions.labels(kind=kind).inc()


class JobMetrics:
    """Loads of models count as started and as finished; the rest is about what slots make."""

    def __init__(self, registry: CollectorRegistry, settings: Settings) -> None:
        self._started = Counter(
            "printworks_jobs_started",
            "Jobs that were claimed, by which attempt it was",
            ["attempt"],
            registry=registry,
        )
        self._started.labels(attempt=1)
        self._finished = Counter(
            "printworks_jobs_finished",
            "Jobs whose outcome this worker has written",
            ["endpoint", "model", "state"],
            registry=registry,
        )
        self._queue_seconds = _waits(
            registry, "printworks_queue_seconds", "From accept to claim, of first attempts"
        )
        self._first_step_seconds = _waits(
            registry,
            "printworks_first_step_seconds",
            "From accept to the end of the first denoising step, of first attempts that made it",
        )
        self._generation_seconds = Histogram(
            "printworks_generation_seconds",
            "Time to make what a job asks for, as its answer tells it",
            ["endpoint", "model"],
            buckets=GENERATION_S,
            registry=registry,
        )
        self._upload_seconds = Histogram(
            "printworks_upload_seconds",
            "Time to store one file where it can be read",
            ["to"],
            buckets=UPLOAD_S,
            registry=registry,
        )
        for to in get_args(End):
            self._upload_seconds.labels(to=to)
        self._busy = Gauge("printworks_slots_busy", "Slots that hold a job", registry=registry)
        most = Gauge(
            "printworks_slots_most", "Jobs that this worker holds at a time: a setting", registry=registry
        )
        most.set(settings.slots)

    @contextmanager
    def attended(self, claim: Claim) -> Iterator[None]:
        """While it is held."""
        self._started.labels(attempt=claim.attempts).inc()
        if claim.spec.kind is Kind.LOAD_MODEL:
            yield
            return
        if claim.attempts == 1:
            self._queue_seconds.observe(claim.waited_s)
        with self._busy.track_inprogress():
            yield

    def finished(self, claim: Claim, state: JobState, outcome: Outcome) -> None:
        endpoint, model = claim.spec.kind, claim.spec.registered_model
        self._finished.labels(endpoint=endpoint, model=model, state=state).inc()
        if state is JobState.SUCCEEDED:
            self._generation_seconds.labels(endpoint=endpoint, model=model).observe(outcome.generation_time_s)

    def stepped(self, claim: Claim, after_s: float) -> None:
        """The first step was done so long after the claim."""
        if claim.attempts == 1:
            self._first_step_seconds.observe(claim.waited_s + after_s)

    def stored(self, to: End, seconds: float) -> None:
        self._upload_seconds.labels(to=to).observe(seconds)


class GpuMetrics:
    """All of one worker's."""

    def __init__(self, registry: CollectorRegistry, settings: Settings) -> None:
        self.engine = EngineMetrics(registry, settings)
        self.shelf = ShelfMetrics(registry)
        self.jobs = JobMetrics(registry, settings)
        self.memory = Gauge(
            "printworks_device_memory_bytes",
            "Used by all processes of a GPU, or by this one of a CPU; models: by what is loaded",
            ["what"],
            registry=registry,
        )
        self._spooled = Gauge(
            "printworks_spooled_files", "Files in the spool that wait for S3", registry=registry
        )

    def count_spooled(self, waiting: Callable[[], int]) -> None:
        """`waiting` is asked at each scrape."""
        self._spooled.set_function(waiting)


def _waits(registry: CollectorRegistry, name: str, documentation: str) -> Histogram:
    return Histogram(name, documentation, buckets=WAIT_S, registry=registry)
