"""The chart's pods meet the restricted Pod Security Standard, and have no right that they don't need."""

from collections.abc import Callable

import pytest

from tests.support.chart import ALL, EXAMPLES, LEAST, NODE_CACHE, Object, containers, example, joined, render

Rule = Callable[[Object, Object], bool]
"""Of a pod's spec and one of its containers."""
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
VOLUMES |= {"secret"}

RESTRICTED: dict[str, Rule] = {
    "shares nothing of its node": lambda pod, _: (
        not {"hostNetwork", "hostPID", "hostIPC"} & {name for name, value in pod.items() if value}
    ),
    "binds no port of its node": lambda _, each: all(
        not port.get("hostPort") for port in each.get("ports", ())
    ),
    "is not privileged": lambda _, each: not each["securityContext"].get("privileged"),
    "escalates nothing": lambda _, each: each["securityContext"]["allowPrivilegeEscalation"] is False,
    "has no capability": lambda _, each: each["securityContext"]["capabilities"] == {"drop": ["ALL"]},
    "is not root": lambda pod, each: (
        {**pod["securityContext"], **each["securityContext"]}["runAsNonRoot"] is True
    ),
    "has no root's number": lambda pod, each: (
        {**pod["securityContext"], **each["securityContext"]}["runAsUser"] > 0
    ),
    "is under seccomp": lambda pod, _: pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"},
    "sets no kernel parameter": lambda pod, _: "sysctls" not in pod["securityContext"],
    "mounts what is allowed": lambda pod, _: all(
        set(volume) - {"name"} <= VOLUMES for volume in pod.get("volumes", ())
    ),
    "sees /proc as usual": lambda _, each: "procMount" not in each["securityContext"],
}


@pytest.mark.parametrize("rule", RESTRICTED)
@pytest.mark.parametrize("values", [LEAST, ALL], ids=["least", "everything"])
def test_every_container_meets_the_restricted_standard(values: Object, rule: str) -> None:
    pods = render(values).pods()

    failing = [
        f"{name}: {each['name']}"
        for name, pod in pods.items()
        for each in containers(pod)
        if not RESTRICTED[rule](pod["spec"], each)
    ]

    assert (len(pods) >= 4, failing) == (True, [])


def test_folders_of_nodes_are_all_that_keeps_a_release_from_the_standard() -> None:
    """They are the operator's choice, where there is no shared storage."""
    for values in (joined(ALL, NODE_CACHE), *map(example, EXAMPLES)):
        broken = {
            rule
            for rule, holds in RESTRICTED.items()
            for pod in render(values).pods().values()
            for each in containers(pod)
            if not holds(pod["spec"], each)
        }
        assert broken <= {"mounts what is allowed"}


def test_every_container_writes_to_its_volumes_only_and_gets_no_token() -> None:
    rendered = render(joined(ALL, NODE_CACHE))

    for pod in rendered.pods().values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["serviceAccountName"] == "pw-printworks"
        for each in containers(pod):
            assert each["securityContext"]["readOnlyRootFilesystem"] is True
            assert "tmp" in {mount["name"] for mount in each["volumeMounts"]}
    assert rendered.of_kind("Role") + rendered.of_kind("ClusterRole") == []


def test_every_container_says_what_it_needs() -> None:
    for pod in render(joined(ALL, NODE_CACHE)).pods().values():
        for each in containers(pod):
            assert {"cpu", "memory"} <= each["resources"]["requests"].keys()
            assert "memory" in each["resources"]["limits"]
