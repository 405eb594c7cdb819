"""Servers that share jobs, in simulated time: the choice code in a small cluster."""

from tests.bench.simulating.run import simulate
from tests.bench.simulating.world import World

SMALL = World(servers=10, asked=2, gpus=4, load=0.7, warm_up_s=20, measured_s=60, after_s=10)


def test_a_simulation_gives_the_same_each_time() -> None:
    assert simulate(SMALL, "ours") == simulate(SMALL, "ours")


def test_jobs_are_done_sooner_than_if_servers_were_picked_at_random() -> None:
    ours, at_random = simulate(SMALL, "ours"), simulate(SMALL, "random")

    assert len(ours.waits_s) == len(at_random.waits_s)
    assert ours.mean_s < at_random.mean_s
    assert ours.quantile_s(0.95) < at_random.quantile_s(0.95)
