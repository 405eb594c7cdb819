"""More jobs at once than can be done: what is too much is refused, and what was accepted is done."""

import itertools
import threading
import uuid
from pathlib import Path

import psutil

from shared import ledger
from shared.registry.reading import Registry
from tests.chaos.installation import Installation, attacked
from tests.chaos.reckoning import Report, reckon
from tests.chaos.traffic import Traffic
from tests.support.jobs import make_key, make_spec
from tests.support.models import pin_everything
from tests.support.receiver import running_receiver
from tests.support.waiting import wait_until

MOST_GROWTH_BYTES = 200_000_000


def burst(folder: Path, *, requests: int, clients: int, max_wait_s: float) -> Report:
    """Nobody waits before asking again; the answer is a yes or the documented refusal."""
    with attacked(folder, max_wait_s=max_wait_s) as installation, running_receiver() as receiver:
        traffic = Traffic(installation, receiver, lambda _: {"num_inference_steps": 2})
        traffic.send(0)  # so that the pace is known
        wait_until(lambda: receiver.requests, within_s=60)
        before = _resident_bytes(installation)
        _send_all(traffic, requests, clients)
        grown = _resident_bytes(installation) - before
        assert traffic.refused, "it was no burst"
        assert traffic.refused + len(traffic.accepted) == requests + 1
        report = reckon("burst", traffic, within_s=300)
        assert grown < MOST_GROWTH_BYTES, f"the gateway and Redis have grown by {grown:,} bytes"
        return report


def _send_all(traffic: Traffic, requests: int, clients: int) -> None:
    numbers = itertools.count(1)

    def client() -> None:
        while (number := next(numbers)) <= requests:
            traffic.send_once(number, str(uuid.uuid4()))

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _resident_bytes(installation: Installation) -> int:
    members = (*installation.gateways, installation.redis)
    return sum(psutil.Process(member.pid).memory_info().rss for member in members)


def jobs_before_another_keys(folder: Path, *, flood: int) -> tuple[int, int]:
    """One key has `flood` jobs queued, and all slots busy, when another key sends one. How many jobs of the
    flood began before that one did, and how many slots there are."""
    with attacked(folder) as installation, installation.ledger() as store:
        pins = pin_everything(Registry(store).look())
        spec = make_spec(pins=pins, steps=10)

        def submit(tenant: str) -> int:
            call = ledger.accept(
                spec.model_copy(update={"file_prefix": str(uuid.uuid4())}),
                make_key(tenant),
                installation.settings,
                idempotency_key=None,
                digest="",
            )
            return store.run(call).job_id

        with installation.raw() as raw:
            raw.config_set("appendfsync", "everysec")  # so many accepts are not what is looked at
        flooding = [submit("flood") for _ in range(flood)]
        wait_until(lambda: store.run(ledger.stats()).running >= 2 * installation.settings.slots, within_s=60)
        single = submit("single")
        wait_until(lambda: store.run(ledger.read(single, "single")).state.is_terminal, within_s=60)
        with installation.raw() as raw:
            accepted = float(raw.hget(f"pw:job:{single}", "created_ms") or 0)
            began = float(raw.hget(f"pw:job:{single}", "started_ms") or 0)
            # in the order in which they were accepted, which is that in which they begin
            starts = [float(raw.hget(f"pw:job:{job_id}", "started_ms") or 0) for job_id in flooding[:500]]
        slots = installation.settings.slots * len(installation.workers)
        return sum(accepted < start < began for start in starts), slots
