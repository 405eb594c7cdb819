"""What a drain of a node may take of the chart's pods, and that it ends."""

from tests.support.chart import ALL, LEAST, Rendered, joined, render


def budgets(rendered: Rendered) -> dict[str, list[str]]:
    """The makers of the pods that each PodDisruptionBudget is about."""
    return {
        each["metadata"]["name"]: [
            name
            for name, pod in rendered.pods().items()
            if each["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ]
        for each in rendered.of_kind("PodDisruptionBudget")
    }


def test_each_budget_is_about_the_pods_that_it_is_named_after() -> None:
    found = budgets(render(ALL))

    assert set(found) == {
        f"pw-printworks-{each}" for each in ("gateway", "dispatcher", "worker-gpu", "worker-cpu")
    }
    assert all(pods == [name] for name, pods in found.items())


def test_a_pod_that_is_not_ready_holds_up_no_drain() -> None:
    said = [each["spec"]["unhealthyPodEvictionPolicy"] for each in render(ALL).of_kind("PodDisruptionBudget")]

    assert said == ["AlwaysAllow"] * 4


def test_workers_hold_up_no_drain_unless_gpus_are_to_spare() -> None:
    assert set(budgets(render(LEAST))) == {"pw-printworks-gateway", "pw-printworks-dispatcher"}


def test_the_drain_of_a_single_node_ends() -> None:
    assert budgets(render(joined(ALL, {"singleNode": "gpu-1"}))) == {}
