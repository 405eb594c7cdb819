"""How many workers KEDA would give a pool: its queries are answered from series as gateways tell them."""

import math
from collections.abc import Mapping

import pytest

from tests.support.chart import ALL, LEAST, Object, Values, changed, joined, refusal, render
from tests.support.known_metrics import LEDGER, known_metrics
from tests.support.kubernetes import VERSIONS, flaws
from tests.support.promql import NAME, Labels, Moment, labels
from tests.support.queries import named_in

POOLS: Values = {
    "serverName": "studio-1",
    "monitoring": {"prometheusAddress": "http://prometheus:9090"},
    "poolDefaults": {"autoscaling": {"enabled": True, "backlogSecondsPerGpu": 30, "jobsPerGpu": 4}},
    "pools": [
        {"name": "all"},
        {
            "name": "special",
            "serves": ["a.b/c", 'quoted "model"', "back\\slash"],
            "autoscaling": {"minReplicas": 0, "maxReplicas": 20},
        },
    ],
}
SCALED = joined(ALL, POOLS)
UP = {("printworks_ledger_up", ""): 1.0}

Told = Mapping[tuple[str, str], float]
"""What gateways tell: metric and its labels, as `state=queued,model=sdxl`, to its value."""


def scaled(pool: str, values: Values = SCALED) -> Object:
    return render(values).one("ScaledObject", f"pw-printworks-worker-{pool}")


def series(
    told: Told, *, server: str = "studio-1", gateways: int = 2
) -> dict[Labels, list[tuple[float, float]]]:
    found = {}
    for (name, said), value in told.items():
        of = dict(pair.split("=", 1) for pair in said.split(",") if pair)
        for i in range(gateways):
            each = labels(**{NAME: name}, **of, server=server, instance=f"g{i}", process="gateway")
            found[each] = [(0.0, value)]
    return found


def answers(pool: str, told: Mapping[Labels, list[tuple[float, float]]]) -> list[float | None]:
    """Of the backlog and of the jobs, in this order; None where the query has no result."""
    moment = Moment(told, 0.0)
    results = [moment.answer(trigger["metadata"]["query"]) for trigger in scaled(pool)["spec"]["triggers"]]
    assert all(len(result) <= 1 for result in results)
    return [next(iter(result.values()), None) for result in results]


def wanted(pool: str, told: Told) -> int:
    """Workers, as a HorizontalPodAutoscaler computes them from averages: the trigger that wants most."""
    thresholds = [float(each["metadata"]["threshold"]) for each in scaled(pool)["spec"]["triggers"]]
    values = [value or 0.0 for value in answers(pool, series(UP | dict(told)))]
    return max(math.ceil(value / per) for value, per in zip(values, thresholds, strict=True))


def queued(model: str, jobs: float, seconds: float) -> Told:
    return {
        ("printworks_jobs", f"state=queued,model={model}"): jobs,
        ("printworks_backlog_gpu_seconds", f"model={model}"): seconds,
    }


def test_every_scaled_object_is_one_that_keda_knows_and_scales_a_deployment_without_replicas() -> None:
    rendered = render(SCALED)

    objects = rendered.of_kind("ScaledObject")
    assert len(objects) == len(POOLS["pools"])
    for each in objects:
        assert flaws(each, VERSIONS[-1]) == []
        assert "replicas" not in rendered.one("Deployment", each["spec"]["scaleTargetRef"]["name"])["spec"]


def test_nothing_is_scaled_unless_it_is_wanted_and_then_that_pool_only() -> None:
    one = changed("pools", [{"name": "a", "autoscaling": {"enabled": True}}, {"name": "b"}], ALL)
    one = joined(one, {"monitoring": POOLS["monitoring"]})

    assert render(LEAST).of_kind("ScaledObject") == []
    assert [each["metadata"]["name"] for each in render(one).of_kind("ScaledObject")] == [
        "pw-printworks-worker-a"
    ]


@pytest.mark.parametrize("pool", ["all", "special"])
def test_queries_are_of_metrics_that_there_are_and_add_up_no_gateways(pool: str) -> None:
    for trigger in scaled(pool)["spec"]["triggers"]:
        for each in named_in(trigger["metadata"]["query"]):
            assert each.labels <= known_metrics()[each.metric]
            assert each.metric in LEDGER
            assert each.first_aggregation == "max"


def test_a_pool_grows_with_the_work_that_waits() -> None:
    assert wanted("all", queued("sdxl", 3, 300)) == 10


def test_a_pool_grows_with_many_small_jobs_too() -> None:
    assert wanted("all", queued("sdxl", 40, 1)) == 10


def test_a_pool_at_zero_is_woken_by_the_first_job_for_its_models() -> None:
    spec = scaled("special")["spec"]

    assert spec["minReplicaCount"] == 0
    assert all(trigger["metadata"]["activationThreshold"] == "0" for trigger in spec["triggers"])
    assert wanted("special", queued("a.b/c", 1, 0.5)) == 1


@pytest.mark.parametrize("model", POOLS["pools"][1]["serves"])
def test_a_pool_is_scaled_by_each_model_that_it_serves_whatever_its_name(model: str) -> None:
    assert answers("special", series(UP | dict(queued(model, 7, 70)))) == [70, 7]


@pytest.mark.parametrize("model", ["sdxl", "aXb/c", "a.b/c2", "quoted", ""])
def test_a_pool_is_not_scaled_by_models_of_others(model: str) -> None:
    assert answers("special", series(UP | dict(queued(model, 7, 70)))) == [0, 0]


def test_a_pool_that_serves_all_is_scaled_by_all() -> None:
    told = {**UP, **queued("sdxl", 2, 20), **queued("flux", 3, 30)}

    assert answers("all", series(told)) == [50, 5]


def test_jobs_that_run_keep_their_workers() -> None:
    running = {("printworks_pool_jobs", "pool=all,state=running"): 40.0}

    assert wanted("all", running) == 10
    assert wanted("special", running) == 0


def test_jobs_that_other_servers_make_need_no_worker_here() -> None:
    assert wanted("all", {("printworks_jobs", "state=away,model=sdxl"): 100.0}) == 0


def test_another_servers_jobs_are_not_counted() -> None:
    theirs = series(UP | dict(queued("sdxl", 9, 90)), server="studio-2")

    assert answers("all", {**series(UP), **theirs}) == [0, 0]


def test_no_jobs_are_a_number_and_not_an_error() -> None:
    assert answers("all", series(UP)) == [0, 0]


@pytest.mark.parametrize("told", [{}, {("printworks_ledger_up", ""): 0.0}], ids=["no gateways", "no ledger"])
def test_what_is_not_known_is_an_error_that_leads_to_the_fallback(told: Told) -> None:
    spec = scaled("all")["spec"]

    assert answers("all", series(told)) == [None, None]
    assert all(trigger["metadata"]["ignoreNullValues"] == "false" for trigger in spec["triggers"])
    # KEDA falls back for this type of metric only
    assert {trigger["metricType"] for trigger in spec["triggers"]} == {"AverageValue"}


@pytest.mark.parametrize(("least", "said", "then"), [(0, 0, 1), (3, 0, 3), (1, 4, 4)])
def test_a_pool_that_nothing_is_known_of_keeps_some_workers(least: int, said: int, then: int) -> None:
    values = {"minReplicas": least, "fallbackReplicas": said}

    fallback = scaled(
        "all", joined(SCALED, {"pools": [{"name": "all", "autoscaling": values}, {"name": "b"}]})
    )

    assert fallback["spec"]["fallback"] == {
        "failureThreshold": 3,
        "replicas": then,
        "behavior": "currentReplicasIfHigher",
    }


def test_one_gateway_that_sees_the_ledger_is_enough() -> None:
    blind = {labels(**{NAME: "printworks_ledger_up"}, server="studio-1", instance="g9"): [(0.0, 0.0)]}

    assert answers("all", {**series(UP | dict(queued("sdxl", 9, 90))), **blind}) == [90, 9]


def test_workers_go_slowly_and_one_may_always() -> None:
    behavior = scaled("all")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]

    assert behavior["stabilizationWindowSeconds"] == 600
    assert behavior["selectPolicy"] == "Max"
    assert {policy["type"]: policy["value"] for policy in behavior["policies"]} == {"Pods": 1, "Percent": 10}


def test_prometheus_may_want_proof() -> None:
    values = joined(SCALED, {"autoscaling": {"triggerAuthentication": "prometheus", "authModes": "bearer"}})

    each = scaled("all", values)
    assert flaws(each, VERSIONS[-1]) == []
    for trigger in each["spec"]["triggers"]:
        assert trigger["authenticationRef"] == {"name": "prometheus"}
        assert trigger["metadata"]["authModes"] == "bearer"


REFUSED = {
    "monitoring.prometheusAddress": (
        "",
        "Autoscaling of pool all asks Prometheus: set monitoring.prometheusAddress.",
    ),
    "poolDefaults.autoscaling.minReplicas": (5, "Pool all: autoscaling.minReplicas is above maxReplicas."),
    "poolDefaults.autoscaling.fallbackReplicas": (
        5,
        "Pool all: autoscaling.fallbackReplicas is not between minReplicas and maxReplicas.",
    ),
    "pools": (
        [{"name": each, "autoscaling": {"minReplicas": 0}} for each in ("all", "other")],
        "Every pool may go down to 0 workers",
    ),
}


@pytest.mark.parametrize(("path", "change"), REFUSED.items(), ids=REFUSED)
def test_what_can_not_scale_is_refused_with_a_sentence(path: str, change: tuple[object, str]) -> None:
    value, sentence = change

    assert sentence in refusal(changed(path, value, SCALED))


def test_a_pool_may_go_to_zero_beside_one_that_stays() -> None:
    zero = {"name": "zero", "autoscaling": {"minReplicas": 0}}

    assert (
        refusal(changed("pools", [zero, {"name": "stays", "autoscaling": {"enabled": False}}], SCALED)) == ""
    )
    assert refusal(changed("pools", [zero, {"name": "stays"}], SCALED)) == ""
    gone = {"name": "stays", "autoscaling": {"enabled": False}, "replicas": 0}
    assert "Every pool may go down to 0" in refusal(changed("pools", [zero, gone], SCALED))
