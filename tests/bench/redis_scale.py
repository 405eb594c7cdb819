"""What the ledger's scripts cost Redis while many GPUs are busy and their queue is long."""

from collections.abc import Callable, Sequence

import redis

from shared import ledger
from shared.jobs import JobState, Outcome
from shared.ledger import Claim, Held, Ledger
from shared.settings import Settings
from tests.support.jobs import accept, claim

SLOTS, QUEUED_PER_GPU = 8, 8
BEATS_PER_S = 2
"""Of a busy worker: it tells progress every half second."""
TIMES = 40


def script_rows(url: str, clusters: Sequence[int]) -> list[tuple[str, ...]]:
    """A row for each script, a column for each number of GPUs, and what follows for the whole server."""
    columns = [_Cluster(url, gpus).costs_us() for gpus in clusters]
    rows = [(name, *(f"{column[name]:.0f}" for column in columns)) for name in columns[0]]
    at_once = [
        _busy_share(column, gpus, jobs_per_s=gpus) for column, gpus in zip(columns, clusters, strict=True)
    ]
    return [*rows, ("busy, scripts at 1 job/s a GPU", *(f"{share:.1%}" for share in at_once))]


def _busy_share(cost_us: dict[str, float], gpus: int, jobs_per_s: float) -> float:
    """Of one core: jobs, beats, and what some gateways and dispatchers sweep and are scraped."""
    gateways = 2 + gpus / 50
    by_jobs = jobs_per_s * (cost_us["accept"] + cost_us["claim"] + cost_us["finish"])
    by_beats = gpus * BEATS_PER_S * cost_us["beat"]
    by_rounds = 2 * gateways * cost_us["sweep"] + gateways / 15 * cost_us["census"]
    return (by_jobs + by_beats + by_rounds) / 1e6


class _Cluster:
    """So many GPUs, each with all its slots busy, and as many jobs again that wait."""

    def __init__(self, url: str, gpus: int) -> None:
        self._settings = Settings(redis_url=url, max_wait_s=1e9, slots=SLOTS)
        self._store = Ledger(url)
        self._server = redis.Redis.from_url(url, decode_responses=True)
        self._server.flushdb()
        self._gpus = gpus
        self._spare: list[Claim] = []
        self._tokens = 0
        for _ in range(gpus * (SLOTS + QUEUED_PER_GPU)):
            accept(self._store, self._settings)
        self._held = [[self._claim(gpu) for _ in range(SLOTS)] for gpu in range(gpus)]
        for gpu in range(gpus):
            self._beat(gpu)

    def costs_us(self) -> dict[str, float]:
        """By Redis' own clock."""
        calls: dict[str, Callable[[int], object]] = {
            "accept": lambda _: accept(self._store, self._settings),
            "claim": lambda _: self._spare.append(self._claim(0)),
            "finish": lambda _: self._finish(self._spare.pop()),
            "beat": lambda number: self._beat(number % self._gpus),
            "sweep": lambda _: self._store.run(ledger.sweep(self._settings)),
            "census": lambda _: self._store.run(ledger.census()),
        }
        costs = {name: self._cost_us(call) for name, call in calls.items()}
        self._store.close()
        self._server.close()
        return costs

    def _cost_us(self, call: Callable[[int], object]) -> float:
        self._server.config_resetstat()
        for number in range(TIMES):
            call(number)
        stats = self._server.info("commandstats")
        return float(stats["cmdstat_evalsha"]["usec"]) / TIMES

    def _claim(self, gpu: int) -> Claim:
        self._tokens += 1
        return claim(self._store, self._settings, f"token-{self._tokens}", f"worker-{gpu}")

    def _finish(self, claimed: Claim) -> None:
        call = ledger.finish(claimed.job_id, claimed.token, JobState.SUCCEEDED, Outcome())
        self._store.run(call)

    def _beat(self, gpu: int) -> None:
        claims = self._held[gpu]
        jobs = ledger.held_jobs((each.spec, 0.5) for each in claims)
        facts = ledger.WorkerFacts(device="cuda", slots=SLOTS, models=("demo",), jobs=jobs)
        held = [Held(each.job_id, each.token, 0.5) for each in claims]
        self._store.run(ledger.beat(f"worker-{gpu}", facts, self._settings, held))
