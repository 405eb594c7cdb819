"""What a server does with a job that a client sent to it. `Ours` is the real choice code."""

from collections.abc import Callable, Generator, Sequence
from random import Random

import simpy

from api.balancing.choice import moves
from tests.bench.simulating.server import Server
from tests.bench.simulating.sight import Sight, wanted
from tests.bench.simulating.world import Job, World

ROUND_EVERY_S = 0.5
ROUND_S = 0.01
"""Jobs that come during a round are looked at together in the next one."""
LOOKED_AT = 64


class Asked:
    """A server that is asked: it has a queue of its own, sees its peers, and throws dice of its own."""

    def __init__(self, env: simpy.Environment, world: World, home: Server, servers: Sequence[Server]) -> None:
        self.env = env
        self.home = home
        self.dice = Random(f"{world.seed} {home.name}")
        self.names = [server.name for server in servers]
        self.sight = Sight(env, world, [peer for peer in servers if peer is not home], self.dice)

    def put(self, job: Job, name: str) -> None:
        if name == self.home.name:
            self.home.queue_up(job)
        else:
            self.sight.send(job, name)


def at_random(asked: Asked) -> Callable[[Job], None]:
    return lambda job: asked.put(job, asked.dice.choice(asked.names))


def round_robin(asked: Asked) -> Callable[[Job], None]:
    names = list(asked.names)
    asked.dice.shuffle(names)  # not all begin with the same server

    def accept(job: Job) -> None:
        names.append(names.pop(0))
        asked.put(job, names[-1])

    return accept


def least_queue(asked: Asked) -> Callable[[Job], None]:
    """Fewest open jobs, as far as this server knows; what it has sent itself counts at once."""
    asked.sight.probe_all()

    def accept(job: Job) -> None:
        peers = {peer.name: peer.standing for peer in asked.sight.candidates}
        lengths = {name: standing.open_jobs for name, standing in peers.items()}
        lengths[asked.home.name] = asked.home.tell().open_jobs
        fewest = min(lengths.values())
        name = asked.dice.choice([name for name, length in lengths.items() if length == fewest])
        if name in peers:
            peers[name].send(wanted(job))
        asked.put(job, name)

    return accept


def ours(asked: Asked) -> Callable[[Job], None]:
    """The job waits at home; rounds move jobs to peers for as long as no GPU at home has taken them."""
    asked.sight.probe_all()
    own: set[int] = set()
    bell = simpy.Store(asked.env)

    def accept(job: Job) -> None:
        own.add(job.job_id)
        asked.home.queue_up(job)
        if not bell.items:
            bell.put(None)

    def ring() -> Generator[simpy.Event]:
        yield asked.env.timeout(asked.dice.uniform(0, ROUND_EVERY_S))
        while True:
            yield asked.env.timeout(ROUND_EVERY_S)
            if not bell.items:
                bell.put(None)

    def rounds() -> Generator[simpy.Event]:
        while True:
            yield bell.get()
            yield asked.env.timeout(ROUND_S)
            waiting = {job.job_id: job for job in asked.home.queue if job.job_id in own}
            _round(asked, list(waiting.values())[:LOOKED_AT])

    asked.env.process(ring())
    asked.env.process(rounds())
    return accept


def _round(asked: Asked, waiting: Sequence[Job]) -> None:
    if not waiting:
        return
    peers = asked.sight.candidates
    able = frozenset(job.job_id for job in waiting)
    for peer in peers:
        peer.able = able
    by_id = {job.job_id: job for job in waiting}
    for move in moves([wanted(job) for job in waiting], asked.home.tell(), peers, asked.dice):
        job = by_id[move.job.job_id]
        asked.home.queue.remove(job)
        asked.sight.send(job, move.peer)


POLICIES: dict[str, Callable[[Asked], Callable[[Job], None]]] = {
    "random": at_random,
    "round robin": round_robin,
    "least queue": least_queue,
    "ours": ours,
}
