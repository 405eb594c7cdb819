"""Which server gets a job, of those that share them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import pytest

from api.balancing.choice import Candidate, Load, Standing, Wanted, moves

COST = 1000
"""Of a job. At a pace of 1 ms that is a second."""
SLOTS = 4


def load(
    open_jobs: int = 0,
    *,
    slots: int = SLOTS,
    pace_ms: float | None = 0.25,
    job_pace_ms: float | None = 1.0,
    workers: int | None = None,
    warmth: Mapping[str, float] = {"m": 1.0},
    load_s: float = 10.0,
) -> Load:
    """Each of its workers makes one job at a time, if nothing else is said."""
    return Load(
        work_left=open_jobs * COST,
        pace_ms=pace_ms,
        job_pace_ms=job_pace_ms,
        slots=slots,
        open_jobs=open_jobs,
        workers=slots if workers is None else workers,
        warmth=dict(warmth),
        load_s=load_s,
    )


def jobs(count: int) -> list[Wanted]:
    return [Wanted(job_id, COST, "m") for job_id in range(count)]


def peers(*loads: Load, able: Sequence[Wanted]) -> list[Candidate]:
    ids = frozenset(job.job_id for job in able)
    return [Candidate(str(index), Standing(told, 0.1), ids) for index, told in enumerate(loads)]


def given(waiting: Sequence[Wanted], home: Load, *loads: Load, seed: int = 1) -> Counter[str]:
    """How many of the jobs go to each peer. Home has them all in its queue, besides what it tells."""
    home = home.model_copy(
        update={
            "work_left": home.work_left + len(waiting) * COST,
            "open_jobs": home.open_jobs + len(waiting),
        }
    )
    found = moves(waiting, home, peers(*loads, able=waiting), Random(seed))
    return Counter(move.peer for move in found)


def test_a_home_that_is_idle_keeps_its_job() -> None:
    assert given(jobs(1), load(), load(), load()) == {}


def test_a_home_keeps_what_it_can_begin_at_once_and_gives_what_would_wait_behind_it() -> None:
    assert given(jobs(2 * SLOTS), load(), load()) == {"0": SLOTS}


def test_a_home_that_is_busy_gives_to_a_peer_that_is_idle() -> None:
    assert given(jobs(1), load(open_jobs=40), load(), load(open_jobs=20)) == {"0": 1}


def test_jobs_move_in_their_order_and_the_rest_stays() -> None:
    waiting = jobs(200)

    found = moves(waiting, load(open_jobs=240), peers(load(), able=waiting), Random(1))

    moved = [move.job.job_id for move in found]
    assert moved == sorted(moved)
    assert 0 < len(moved) < len(waiting)


def test_a_peer_that_has_loaded_the_model_goes_before_one_that_has_not() -> None:
    cold = load(warmth={})

    assert given(jobs(1), load(open_jobs=99), cold, load(open_jobs=SLOTS)) == {"1": 1}


def test_a_peer_goes_first_where_more_of_the_workers_have_loaded_the_model() -> None:
    few, many = load(warmth={"m": 0.25}), load(warmth={"m": 0.75})

    assert given(jobs(1), load(open_jobs=99), few, many) == {"1": 1}


def test_a_peer_that_must_load_the_model_goes_before_one_where_waiting_takes_longer() -> None:
    cold = load(warmth={}, load_s=2.0)
    warm = load(open_jobs=SLOTS + 20)

    assert given(jobs(1), load(open_jobs=99), cold, warm) == {"0": 1}


def test_a_job_stays_while_a_peer_without_room_would_finish_it_sooner_than_one_with_room() -> None:
    full = load(open_jobs=SLOTS + 44)
    home = load(open_jobs=400)

    assert given(jobs(1), home, full, load(warmth={}, load_s=30.0)) == {}
    assert given(jobs(1), home, full, load(warmth={}, load_s=5.0)) == {"1": 1}


def test_a_peer_that_is_nearer_goes_before_one_that_is_far() -> None:
    waiting = jobs(1)
    candidates = peers(load(), load(), able=waiting)
    candidates[0].standing.network_s = 3.0

    found = moves(waiting, load(open_jobs=99), candidates, Random(1))

    assert [move.peer for move in found] == ["1"]


def test_a_peer_gets_more_the_faster_it_is() -> None:
    slow = load(open_jobs=SLOTS, pace_ms=1.0)
    fast = load(open_jobs=SLOTS, pace_ms=0.25)

    shares = given(jobs(64), load(open_jobs=400), slow, fast)

    assert shares["1"] / shares["0"] == pytest.approx(4, rel=0.3)


def test_a_burst_is_spread_evenly_over_peers_that_are_idle() -> None:
    shares = given(jobs(100), load(open_jobs=400), *[load() for _ in range(10)])

    assert sum(shares.values()) == 100
    assert max(shares.values()) - min(shares.values()) <= 4


def test_what_was_sent_counts_until_the_peer_tells_of_it() -> None:
    waiting = jobs(1)
    candidates = peers(load(), load(), able=waiting)
    for _ in range(4 * SLOTS):
        candidates[0].standing.send(waiting[0])

    found = moves(waiting, load(open_jobs=99), candidates, Random(1))

    assert [move.peer for move in found] == ["1"]


def test_of_peers_that_are_alike_chance_picks() -> None:
    picked: Counter[str] = Counter()
    for seed in range(300):
        picked += given(jobs(1), load(open_jobs=99), load(), load(), load(), seed=seed)

    assert all(70 <= picked[name] <= 130 for name in "012")


def test_peers_are_alike_that_would_be_done_within_a_second_of_each_other() -> None:
    soon, a_little_later, later = (load(job_pace_ms=pace_ms) for pace_ms in (1.0, 1.5, 2.5))

    picked: Counter[str] = Counter()
    for seed in range(100):
        picked += given(jobs(1), load(open_jobs=99), soon, a_little_later, later, seed=seed)

    assert picked["0"] > 30
    assert picked["1"] > 30
    assert picked["2"] == 0


def test_of_many_peers_that_are_alike_two_are_drawn_and_the_emptier_one_gets_the_job() -> None:
    alike = [load(open_jobs=0 if index == 0 else 1) for index in range(20)]

    picked: Counter[str] = Counter()
    for seed in range(400):
        picked += given(jobs(1), load(open_jobs=99), *alike, seed=seed)

    assert 20 <= picked["0"] <= 60  # it is one of two in a tenth of the draws


def test_a_peer_that_is_full_beyond_the_horizon_gets_none() -> None:
    assert given(jobs(5), load(open_jobs=400), load(open_jobs=60)) == {}


def test_a_peer_gets_no_more_than_it_can_begin_within_the_horizon() -> None:
    shares = given(jobs(64), load(open_jobs=400), load(pace_ms=1.0))

    assert shares["0"] == pytest.approx(SLOTS + 10, abs=1)


def test_a_peer_that_is_not_able_gets_none() -> None:
    waiting = jobs(2)

    found = moves(waiting, load(open_jobs=99), peers(load(), able=waiting[1:]), Random(1))

    assert [move.job.job_id for move in found] == [1]


def test_a_peer_without_workers_gets_none() -> None:
    assert given(jobs(5), load(open_jobs=99), load(slots=0)) == {}
    assert given(jobs(5), load(slots=0), load(slots=0)) == {}


def test_a_home_without_workers_gives_away_all_that_there_is_room_for() -> None:
    assert given(jobs(8), load(slots=0), load(), load()).total() == 8
    assert given(jobs(99), load(slots=0), load(pace_ms=1.0)).total() < 99


def test_a_pace_that_nobody_knows_yet_counts_as_the_typical_one() -> None:
    new = load(pace_ms=None, job_pace_ms=None)
    slow, fast = (load(pace_ms=pace_ms, job_pace_ms=None) for pace_ms in (4.0, 0.25))

    assert given(jobs(1), load(open_jobs=99), new, slow) == {"0": 1}
    assert given(jobs(1), load(open_jobs=99, pace_ms=4.0), new, slow, fast) == {"2": 1}


def test_servers_that_have_done_nothing_yet_share_too() -> None:
    new = load(pace_ms=None, job_pace_ms=None)
    busy = load(open_jobs=99, pace_ms=None, job_pace_ms=None)

    assert given(jobs(1), busy, new) == {"0": 1}


def test_the_same_dice_choose_the_same() -> None:
    loads = [load(open_jobs=index) for index in range(20)]

    assert given(jobs(50), load(open_jobs=99), *loads) == given(jobs(50), load(open_jobs=99), *loads)


def test_a_job_goes_to_an_idle_peer_rather_than_share_a_gpu_at_home() -> None:
    home, idle = load(open_jobs=1, slots=4, workers=1), load(slots=4, workers=1)

    assert given(jobs(1), home, idle) == {"0": 1}
    assert given(jobs(1), load(slots=4, workers=1), idle) == {}


def test_jobs_are_spread_before_any_gpu_is_shared() -> None:
    servers = [load(slots=8, workers=1) for _ in range(3)]

    assert given(jobs(3), *servers) == {"0": 1, "1": 1}
    assert sum(given(jobs(9), *servers).values()) == 6


def test_gpus_that_are_free_are_not_shared() -> None:
    home = load(open_jobs=3, slots=32, workers=4)

    assert given(jobs(1), home, load(slots=32, workers=4)) == {}
