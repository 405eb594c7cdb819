"""What a GPU worker says of itself with each beat: what it makes too, so that nobody looks at each job."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

from shared.jobs import JobSpec


class HeldJobs(BaseModel):
    """Jobs of one model that a worker holds. Work is in work units."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    jobs: int = 0
    work_left: float = 0.0
    work_done: float = 0.0


class WorkerFacts(BaseModel):
    """Of one moment. Workers of another version may say more, or less."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    device: str = ""
    pool: str = "default"
    serves: tuple[str, ...] = ()
    """Ids of models; none: all."""
    slots: int = 0
    models: tuple[str, ...] = ()
    """Ids of those that are loaded."""
    load_s: float | None = None
    """How long the last load of a checkpoint took; None if there was none yet."""
    jobs: Mapping[str, HeldJobs] = {}
    """By model id; loads of models are none."""

    def takes(self, model_id: str) -> bool:
        return not self.serves or model_id in self.serves

    @property
    def running(self) -> int:
        return sum(held.jobs for held in self.jobs.values())

    @property
    def work_done(self) -> float:
        """Of the jobs that it holds."""
        return sum(held.work_done for held in self.jobs.values())


def held_jobs(held: Iterable[tuple[JobSpec, float]]) -> dict[str, HeldJobs]:
    """By model id, from each job and its progress."""
    found: dict[str, HeldJobs] = {}
    for spec, progress in held:
        if spec.cost == 0:  # a load
            continue
        done = spec.cost * progress
        before = found.get(spec.model_id, HeldJobs())
        found[spec.model_id] = HeldJobs(
            jobs=before.jobs + 1,
            work_left=before.work_left + spec.cost - done,
            work_done=before.work_done + done,
        )
    return found
