"""Servers that die, are slow, can't be reached or say nonsense: each job has one outcome, and one webhook."""

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any

import httpx
import pytest

from api.balancing.wire import PATH
from deploy.ports import free_port
from shared import ledger
from shared.jobs import Job, JobState
from tests.chaos.installation import API_KEY, Installation
from tests.chaos.reckoning import Report, reckon
from tests.chaos.traffic import Traffic, streaming
from tests.servers.group import PEER_KEY, USER_KEY, Group, group, post
from tests.support.proxy import network_to
from tests.support.receiver import Receiver, running_receiver
from tests.support.site import Page, Site, answer, raw, running_site, silence
from tests.support.waiting import wait_until

FAST, SLOW = ("tests.servers.fast",), ("tests.servers.slow",)
LEASE_S = 4.0
TAKEN_BACK_S = LEASE_S + 3.0
"""Then others make what a peer has that is not heard of any more: it gets its time to answer too."""
MAY_LEAVE = {"loadbalancer": "yes"}


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """Two that are as fast, and a slow one."""
    apps = {"first": FAST, "second": FAST, "third": SLOW}
    folder = tmp_path_factory.mktemp("servers")
    with group(folder, worker_apps=apps, lease_s=LEASE_S, beat_s=1.0) as made:
        yield made


@pytest.fixture
def whole(trio: Group) -> Group:
    """With all of its workers, whatever a test before has done."""
    for server in trio.servers.values():
        for member in server.members:
            member.wanted = True
    for name in ("second", "third"):
        meet(trio, name, trio.servers[name].urls[0])
    trio.wait_until_whole()
    return trio


def meet(servers: Group, name: str, url: str) -> None:
    """The first server is to find this one there, if it does not yet."""
    if servers.peers_of("first").get(name, {}).get("url") != url:
        post(servers.first, "add_peer", name=name, url=url, peer_key=PEER_KEY)


@pytest.fixture
def giving(whole: Group) -> Group:
    """The first server's worker is gone: it gives everything away."""
    (worker,) = whole.first.workers
    worker.wanted = False
    worker.kill()
    wait_until(lambda: not whole.first.beating(), within_s=3 * LEASE_S)
    return whole


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


class Work:
    """Jobs for the first server that may leave, and what became of them."""

    def __init__(self, servers: Group, receiver: Receiver, steps: int, most_open: int = 1000) -> None:
        fields = MAY_LEAVE | {"num_inference_steps": steps}
        self.traffic = Traffic(servers.first, receiver, lambda _: fields, most_open=most_open)
        self.first = servers.first
        self._before = _accepted(servers.first)

    def send(self, jobs: int) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.traffic.send, range(jobs)))

    @property
    def ids(self) -> list[int]:
        return list(self.traffic.accepted.values())

    def at(self, peer: str) -> set[int]:
        """Those that the peer has, and has not made yet as far as anybody knows."""
        with self.first.raw() as raw_redis:
            away = {int(job_id) for job_id in raw_redis.smembers("pw:away")}
            return {job_id for job_id in away if raw_redis.hget(f"pw:job:{job_id}", "peer") == peer}

    def wait_until_at(self, peer: str) -> set[int]:
        return wait_until(lambda: self.at(peer), within_s=20)

    def made_by(self) -> dict[int, str]:
        return {job_id: made_by(job(self.first, job_id)) for job_id in self.ids}

    def reckon(self, scenario: str, **facts: Any) -> Report:
        return reckon(scenario, self.traffic, accepted_before=self._before, **facts)


def job(server: Installation, job_id: int) -> Job:
    with server.ledger() as store:
        return store.run(ledger.read(job_id, None))


def made_by(ended: Job) -> str:
    """As its outcome says; what was made at home says nothing."""
    assert ended.outcome
    return str(ended.outcome.ran.get("server") or ended.spec.home)


def _accepted(server: Installation) -> int:
    with server.ledger() as store:
        return int(store.run(ledger.stats()).totals.get("accepted", 0))


def there(server: Installation, prefixes: set[str]) -> list[Job]:
    """The peer's own records of these jobs."""
    with server.raw() as raw_redis:
        ids = range(1, int(raw_redis.get("pw:next_id") or 0) + 1)
    return [found for job_id in ids if (found := job(server, job_id)).spec.file_prefix in prefixes]


def prefixes_of(server: Installation, ids: set[int]) -> set[str]:
    return {job(server, job_id).spec.file_prefix for job_id in ids}


def said(server: Installation, event: str) -> list[dict[str, Any]]:
    """Lines of the gateway's log."""
    lines = (server.folder / "gateway0.log").read_text().splitlines()
    found = [json.loads(line) for line in lines if f'"{event}"' in line]
    return [line for line in found if line["event"] == event]


def test_a_server_that_is_three_times_slower_gets_at_most_half_as_many_jobs(
    whole: Group, receiver: Receiver
) -> None:
    work = Work(whole, receiver, steps=8)
    work.send(12)  # so that all know how fast they are
    wait_until(lambda: len(receiver.requests) == len(work.ids), within_s=60)
    known = set(work.ids)

    work.send(64)

    work.reckon("slow server").require_clean()
    shares = Counter(server for job_id, server in work.made_by().items() if job_id not in known)
    assert 0 < shares["third"] <= shares["second"] / 2, shares


def test_a_server_that_dies_and_comes_back_costs_no_job(whole: Group, receiver: Receiver) -> None:
    work = Work(whole, receiver, steps=1)
    second = whole.servers["second"]

    with streaming(work.traffic, 300, clients=32):
        wait_until(lambda: len(receiver.requests) > 30, within_s=60, every_s=0.1)
        wait_until(lambda: work.at("second"), within_s=20)
        lost = work.at("second")
        for member in second.members:
            member.wanted = False
        for member in second.members:
            member.kill()
        wait_until(lambda: "second" not in whole.in_rotation(), within_s=10)
        wait_until(lambda: not work.at("second"), within_s=30)
        for member in second.members:
            member.wanted = True
        wait_until(lambda: "second" in whole.in_rotation(), within_s=40)

    work.reckon("server killed", kills=len(second.members)).require_clean()
    assert lost
    assert (work.traffic.refused, work.traffic.broken) == (0, 0)
    assert set(Counter(work.made_by().values())) == {"first", "second", "third"}


def test_jobs_of_a_peer_that_was_removed_are_made_by_another(giving: Group, receiver: Receiver) -> None:
    work = Work(giving, receiver, steps=6)
    second = giving.servers["second"]
    work.send(6)
    taken = work.wait_until_at("second")
    prefixes = prefixes_of(giving.first, taken)

    post(giving.first, "remove_peer", name="second")

    wait_until(lambda: not work.at("second"), within_s=LEASE_S / 2)
    wait_until(lambda: all(each.state is JobState.CANCELLED for each in there(second, prefixes)), within_s=5)
    work.reckon("peer removed").require_clean()
    assert {work.made_by()[job_id] for job_id in taken} == {"third"}
    assert set(giving.peers_of("first")) == {"third"}


def test_what_a_peer_makes_behind_a_cut_network_is_made_elsewhere_and_counts_once(
    giving: Group, receiver: Receiver
) -> None:
    work = Work(giving, receiver, steps=6)
    second = giving.servers["second"]
    with network_to(second.urls[0]) as (network, url):
        meet(giving, "second", url)
        wait_until(lambda: "second" in giving.in_rotation(), within_s=15)
        work.send(6)
        wait_until(lambda: giving.jobs_at("second") == len(work.at("second")) > 0, within_s=20)

        network.cut()
        cut_at, taken = time.monotonic(), work.at("second")
        wait_until(lambda: not work.at("second"), within_s=TAKEN_BACK_S)
        prefixes = prefixes_of(giving.first, taken)
        wait_until(lambda: all(e.state is JobState.SUCCEEDED for e in there(second, prefixes)), within_s=20)
        wait_until(lambda: time.monotonic() - cut_at > LEASE_S)
        network.mend()

        wait_until(lambda: "second" in giving.in_rotation(), within_s=15)
        work.reckon("network cut").require_clean()
    assert taken
    assert len(there(second, prefixes)) == len(taken)
    assert {work.made_by()[job_id] for job_id in taken} == {"third"}


def test_a_gateway_that_is_killed_takes_its_jobs_up_where_they_are(giving: Group, receiver: Receiver) -> None:
    work = Work(giving, receiver, steps=10)
    work.send(8)
    wait_until(lambda: work.at("second") | work.at("third") == set(work.ids), within_s=20)

    prefixes = prefixes_of(giving.first, set(work.ids))
    wait_until(lambda: len(_records(giving, prefixes)) == len(prefixes), within_s=20)

    giving.first.gateways[0].kill()

    work.reckon("gateway killed", kills=1).require_clean()
    assert sorted(_records(giving, prefixes)) == sorted(prefixes)


def _records(servers: Group, prefixes: set[str]) -> list[str]:
    """One for each time that a peer has accepted one of these jobs."""
    peers = [servers.servers[name] for name in ("second", "third")]
    return [each.spec.file_prefix for peer in peers for each in there(peer, prefixes)]


def test_jobs_of_a_peer_whose_only_worker_is_gone_are_made_by_another(
    giving: Group, receiver: Receiver
) -> None:
    work = Work(giving, receiver, steps=10)
    (worker,) = giving.servers["second"].workers
    work.send(6)
    taken = work.wait_until_at("second")

    worker.wanted = False
    worker.kill()

    wait_until(lambda: not work.at("second"), within_s=2 * LEASE_S + 3)
    work.reckon("no worker").require_clean()
    assert {work.made_by()[job_id] for job_id in taken} == {"third"}
    assert giving.peers_of("first")["second"]["reason"] == "none of its GPU workers is there"


def test_jobs_that_are_away_outlive_a_restart_of_their_servers_redis(
    giving: Group, receiver: Receiver
) -> None:
    work = Work(giving, receiver, steps=6)
    work.send(8)
    wait_until(lambda: work.at("second") and work.at("third"), within_s=20)

    giving.first.redis.kill()

    wait_until(lambda: giving.first.redis.deaths, within_s=10)
    work.reckon("Redis killed", kills=1).require_clean()
    assert set(work.made_by().values()) <= {"second", "third"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A server with a place for one job, and no peers but those that a test makes up."""
    folder = tmp_path_factory.mktemp("alone")
    with group(folder, names=("first",), worker_apps={"first": FAST}, slots=1) as made:
        yield made.first


class Fakes:
    """Peers that are pages of a site, each under a path of its own."""

    def __init__(self, home: Installation) -> None:
        self._home = home
        self._told = self._state_of_home()
        self._ids = itertools.count(1)

    def _state_of_home(self) -> dict[str, Any]:
        body = {"key": API_KEY, "known": "", "jobs": []}
        told: dict[str, Any] = httpx.post(f"{self._home.urls[0]}{PATH}/state", json=body, timeout=10).json()
        return told

    def state(self, jobs: Mapping[str, Any] | None = None, *, ahead_s: float = 0.0, **changes: Any) -> Page:
        """Has much room, and is very fast. `jobs`: what it says of each that it has."""
        load = {**self._told["load"], "work_left": 0, "open_jobs": 0, "slots": 8, "load_s": 0.001}
        load |= {"pace_ms": 1e-6, "job_pace_ms": 1e-6}

        def page(handler: BaseHTTPRequestHandler, over: Event) -> None:
            told = self._told | {"name": "fake", "load": load, "time_s": time.time() + ahead_s} | changes
            told["jobs"] = dict.fromkeys(map(str, range(1, 1000)), jobs) if jobs else {}
            answer(json.dumps(told).encode())(handler, over)

        return page

    def taking(self) -> Page:
        """Accepts every job."""

        def page(handler: BaseHTTPRequestHandler, over: Event) -> None:
            answer(json.dumps({"id": next(self._ids)}).encode())(handler, over)

        return page


OUT_OF_ROTATION: dict[str, tuple[Callable[[Fakes], Page], str]] = {
    "another-version": (lambda fakes: fakes.state(version="0.0.0"), "it is of version '0.0.0'"),
    "late": (lambda fakes: fakes.state(ahead_s=-600), "its clock is 600 s behind this server's"),
    "early": (lambda fakes: fakes.state(ahead_s=600), "its clock is 600 s ahead of this server's"),
    "no-workers": (
        lambda fakes: fakes.state(load=fakes._told["load"] | {"slots": 0}),
        "none of its GPU workers",
    ),
    "namesake": (lambda fakes: fakes.state(name="first"), "it has this server's name, first"),
    "garbage": (lambda _: answer(b"<html>Welcome!</html>"), "what it answers makes no sense"),
    "half-garbage": (lambda fakes: fakes.state(load={}), "what it answers makes no sense"),
    "no-http": (lambda _: raw(b"nonsense"), "it does not answer (RemoteProtocolError)"),
    "hanging": (lambda _: silence, "it does not answer ("),
    "broken": (lambda _: answer(b"", 500), "it answers 500"),
}
FAILED = {"state": "failed", "progress": 1.0, "outcome": {"reason": "Out of everything."}}
FILELESS = {"state": "succeeded", "progress": 1.0, "outcome": {}, "files": ["/generations/nothing-0.png"]}
BAD_AT_JOBS: dict[str, tuple[Page | None, Mapping[str, Any] | None]] = {
    "refuses": (answer(b'{"message": "Not me."}', 403), None),
    "breaks": (answer(b"", 500), None),
    "hangs": (silence, None),
    "talks-nonsense": (answer(b"[]"), None),
    "is-full": (answer(b"{}", 429), None),
    "forgets": (None, None),
    "fails": (None, FAILED),
    "has-no-files": (None, FILELESS),
}
"""What each says when it is given a job (None: that it takes it), and what it says of it later."""


def test_a_peer_that_cannot_be_relied_on_gets_no_jobs_and_the_log_says_why_once(alone: Installation) -> None:
    fakes = Fakes(alone)
    pages = {f"/{name}{PATH}/state": make(fakes) for name, (make, _) in OUT_OF_ROTATION.items()}
    with running_site(pages) as site:
        for name in OUT_OF_ROTATION:
            post(alone, "add_peer", name=name, url=f"{site.url}/{name}", peer_key=PEER_KEY)
        others = {"stranger": "a wrong key", "user": USER_KEY}
        for name, key in others.items():
            post(alone, "add_peer", name=name, url=alone.urls[0], peer_key=key)
        post(alone, "add_peer", name="nobody", url=f"http://127.0.0.1:{free_port()}", peer_key=PEER_KEY)

        reasons = {name: reason for name, (_, reason) in OUT_OF_ROTATION.items()} | {
            **{
                "stranger": "it answers 401: Invalid Api Key",
                "user": "it answers 403: This API key is no server's",
            },
            **{"nobody": "it does not answer (ConnectError)"},
        }
        wait_until(
            lambda: all(seen["reason"].startswith(reasons[name]) for name, seen in _peers(alone).items())
        )
        wait_until(lambda: all(_times_asked(site, name) >= 3 for name in OUT_OF_ROTATION), within_s=30)
        made = post(alone, "text2img", **PICTURE, **MAY_LEAVE)
        seen = _peers(alone)
        for name in reasons:
            post(alone, "remove_peer", name=name)

    assert made["status"] == "success"
    assert made["meta"]["server"] == "first"
    assert not any(each["in_rotation"] for each in seen.values())
    for name in reasons:
        lines = [line for line in said(alone, "peer out of rotation") if line["peer"] == name]
        assert any(line["reason"].startswith(reasons[name]) for line in lines), name
        assert all(one["reason"] != other["reason"] for one, other in itertools.pairwise(lines)), name


def test_jobs_that_peers_do_not_make_are_made_at_home(alone: Installation, receiver: Receiver) -> None:
    fakes = Fakes(alone)
    pages: dict[str, Page] = {}
    for name, (taking, jobs) in BAD_AT_JOBS.items():
        pages[f"/{name}{PATH}/state"] = fakes.state(jobs)
        pages[f"/{name}{PATH}/jobs"] = taking or fakes.taking()
    work = Work(Group({"first": alone}), receiver, steps=3, most_open=24)
    with running_site(pages) as site:
        for name in BAD_AT_JOBS:
            post(alone, "add_peer", name=name, url=f"{site.url}/{name}", peer_key=PEER_KEY)

        with streaming(work.traffic, 24):
            wait_until(lambda: all(_jobs_given(site, name) for name in BAD_AT_JOBS), within_s=60)
        work.reckon("bad peers").require_clean()

        for name in BAD_AT_JOBS:
            post(alone, "remove_peer", name=name)
    assert set(work.made_by().values()) == {"first"}


PICTURE: dict[str, Any] = {
    **{"model_id": "demo", "prompt": "x", "width": 64, "height": 64, "num_inference_steps": 3},
    **{"safety_checker": "no"},
}


def _peers(server: Installation) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in post(server, "peers")["peers"]}


def _times_asked(site: Site, name: str) -> int:
    return sum(request.path == f"/{name}{PATH}/state" for request in site.requests)


def _jobs_given(site: Site, name: str) -> int:
    return sum(request.path == f"/{name}{PATH}/jobs" for request in site.requests)
