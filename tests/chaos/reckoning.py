"""Afterwards: what became of every job that was accepted."""

import io
import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
from PIL import Image
from standardwebhooks.webhooks import Webhook

from shared import ledger
from shared.jobs import Job, JobState
from shared.storage import FolderStorage
from tests.chaos.installation import WEBHOOK_SECRET, Installation
from tests.chaos.traffic import Traffic
from tests.support.serving import Received
from tests.support.waiting import wait_until

A_DAY_S = 24 * 3600


@dataclass(frozen=True)
class Report:
    """One scenario's row."""

    scenario: str
    jobs: int
    kills: int = 0
    hits: int = 0
    """Jobs that workers held when they were killed or cut off."""
    failed: int = 0
    """Ended with a reason, after every attempt that they had."""
    lost: int = 0
    doubled: int = 0
    slowest_recovery_s: float = 0.0
    flaws: Sequence[str] = field(default_factory=list)
    """Anything else that must not be."""

    def require_clean(self, *, failed: int = 0) -> None:
        assert (self.lost, self.doubled, self.failed, list(self.flaws)) == (0, 0, failed, []), self


def reckon(
    scenario: str,
    traffic: Traffic,
    *,
    kills: int = 0,
    hits: int = 0,
    slowest_recovery_s: float = 0.0,
    within_s: float = 120.0,
    accepted_before: int = 0,
) -> Report:
    """Waits until every job has ended and every webhook was sent; then looks at all of them.
    `accepted_before`: jobs of the installation that are not the traffic's."""
    traffic.close()
    installation = traffic.installation
    with installation.ledger() as store:
        wait_until(lambda: _is_quiet(store.run(ledger.stats())), within_s, every_s=0.1)
        totals = store.run(ledger.stats()).totals
        jobs = [store.run(ledger.read(job_id, None)) for job_id in traffic.accepted.values()]
    flaws = [*traffic.wrong, *_unreadable(jobs), *_left_behind(installation), *_logged(installation)]
    lost = [f"job {job.id} has not ended: {job.state}" for job in jobs if not job.state.is_terminal]
    accepted = totals["accepted"] - accepted_before
    doubled = [] if accepted == len(set(traffic.accepted.values())) else [f"jobs made twice: {totals}"]
    told = _told(traffic.receiver.requests)
    for job in jobs:
        bodies = told.get(f"msg_{job.spec.file_prefix}", set())
        if not bodies:
            lost.append(f"no webhook of job {job.id}")
        if len(bodies) > 1:
            doubled.append(f"job {job.id} was told in {len(bodies)} ways")
    return Report(
        scenario=scenario,
        jobs=len(jobs),
        kills=kills,
        hits=hits,
        failed=sum(job.state is JobState.FAILED for job in jobs),
        lost=len(lost),
        doubled=len(doubled),
        slowest_recovery_s=slowest_recovery_s,
        flaws=[*flaws, *lost, *doubled],
    )


def _is_quiet(stats: ledger.Stats) -> bool:
    return not (stats.queued or stats.running or stats.away or stats.deliveries_waiting)


def _told(requests: Sequence[Received]) -> dict[str, set[str]]:
    """webhook-id → the different outcomes that came with it. Raises if a signature is wrong."""
    verifier, told = Webhook(WEBHOOK_SECRET), defaultdict(set)
    for request in requests:
        verifier.verify(request.body, request.headers)
        told[request.headers["webhook-id"]].add(json.dumps(json.loads(request.body), sort_keys=True))
    return told


def _unreadable(jobs: Sequence[Job]) -> list[str]:
    """Pictures of succeeded jobs that can't be had."""
    flaws = []
    with httpx.Client(trust_env=False, timeout=20, follow_redirects=True) as client:
        for job in jobs:
            if job.state is not JobState.SUCCEEDED:
                continue
            for url in job.spec.file_urls:
                try:
                    Image.open(io.BytesIO(client.get(url).content)).load()
                except (OSError, httpx.HTTPError) as exc:
                    flaws.append(f"picture of job {job.id}: {exc!r}")
    return flaws


def _left_behind(installation: Installation) -> list[str]:
    """Files that no job needs, and that the gateway's cleaner would not remove when their time is over."""
    storage = FolderStorage(installation.data_dir, A_DAY_S)
    then = time.time() - 8 * A_DAY_S
    for name in ("inputs", "generations"):
        for path in (installation.data_dir / name).rglob(".*"):
            os.utime(path, (then, then))
    storage.remove_expired(input_life_s=0)
    kept = [
        *(installation.data_dir / "generations").rglob(".*"),
        *(installation.data_dir / "inputs").iterdir(),
    ]
    return [f"left behind: {path}" for path in kept]


def _logged(installation: Installation) -> list[str]:
    """Errors that nobody has foreseen."""
    return [
        f"logged: {line[:300]}"
        for line in installation.logs().splitlines()
        if '"unexpected error"' in line or "Segmentation" in line
    ]
