"""What a server that is asked knows of the others: what probes told it, and what it has sent since."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from random import Random

import simpy

from api.balancing.choice import Candidate, Load, Standing, Wanted
from tests.bench.simulating.server import Server
from tests.bench.simulating.world import Job, World

PROBED_EVERY_S = (0.8, 1.2)


def wanted(job: Job) -> Wanted:
    return Wanted(job.job_id, job.cost, job.model_id)


@dataclass(eq=False)
class Seen:
    """A peer as one server sees it."""

    server: Server
    candidate: Candidate
    sent: list[tuple[float, Wanted]] = field(default_factory=list)

    def hear(self, load: Load, asked_s: float, network_s: float) -> None:
        """What was sent after the question went out may be missing from the answer."""
        self.sent = [(sent_s, job) for sent_s, job in self.sent if sent_s >= asked_s]
        self.candidate.standing = Standing(load, network_s)
        for _, job in self.sent:
            self.candidate.standing.send(job)


class Sight:
    """All peers, as one server sees them. Jobs go to them through it."""

    def __init__(self, env: simpy.Environment, world: World, peers: Iterable[Server], dice: Random) -> None:
        self._env = env
        self._one_way_s = world.one_way_s
        self._dice = dice
        self._seen = {
            peer.name: Seen(peer, Candidate(peer.name, Standing(peer.tell(), 2 * world.one_way_s)))
            for peer in peers
        }

    @property
    def candidates(self) -> list[Candidate]:
        return [seen.candidate for seen in self._seen.values()]

    def probe_all(self) -> None:
        for seen in self._seen.values():
            self._env.process(self._probe(seen))

    def send(self, job: Job, name: str) -> None:
        """The candidate's standing is the caller's to keep until the next probe."""
        self._seen[name].sent.append((self._env.now, wanted(job)))
        self._env.process(self._hand_over(job, self._seen[name].server))

    def _hand_over(self, job: Job, server: Server) -> Generator[simpy.Event]:
        yield self._env.timeout(self._one_way_s)
        server.queue_up(job)

    def _probe(self, seen: Seen) -> Generator[simpy.Event]:
        yield self._env.timeout(self._dice.uniform(0, PROBED_EVERY_S[1]))
        while True:
            asked_s = self._env.now
            yield self._env.timeout(self._one_way_s)
            load = seen.server.tell()
            yield self._env.timeout(self._one_way_s)
            seen.hear(load, asked_s, 2 * self._one_way_s)
            yield self._env.timeout(self._dice.uniform(*PROBED_EVERY_S))
