"""What the chart can be told is described, and what makes no sense is refused with a sentence."""

import json
import re
from collections.abc import Iterator
from typing import Any

import helm_python
import pytest

from deploy.chart import CHART, Value, read_values, readme, schema
from deploy.chart_types import OF_A_POOL, SAID_BY_THE_CHART
from shared.settings import Settings
from tests.support.chart import ALL, LEAST, Values, changed, containers, joined, refusal, render

SECRETS = {"secrets": {"apiKey": {"value": "a key"}, "secretKey": {"value": "what seals"}}}
TWICE: Values = {"pools": [{"name": "same"}, {"name": "same"}]}
SDXL: Values = {"models": {"list": [{"kind": "checkpoint", "id": "sdxl", "hub": "someone/sdxl"}]}}


def pool(**said: Any) -> Values:
    return joined(LEAST, {"pools": [{"name": "gpu", **said}]})


def models(*listed: dict[str, Any]) -> Values:
    return joined(LEAST, {"models": {"list": list(listed)}})


REFUSED: dict[str, tuple[Values, str]] = {
    "no-key": (
        changed("secrets.apiKey.value", "", LEAST),
        "No API key: set secrets.apiKey or secrets.apiKeysFile",
    ),
    "demo-key": (
        changed("secrets.apiKey.value", "demo", LEAST),
        "The key 'demo' is for one's own machine only",
    ),
    "no-secret-key": (
        changed("secrets.secretKey.value", "", LEAST),
        "Nothing seals S3 credentials and webhooks' URLs: set secrets.secretKey",
    ),
    "secret-twice": (
        changed("secrets.apiKey.existingSecret", "keys", LEAST),
        "secrets.apiKey has both existingSecret and value",
    ),
    "password-twice": (
        changed("redis.password.existingSecret", "redis", LEAST),
        "redis.password has both existingSecret and value",
    ),
    "sentinel-password-twice": (
        changed("redis.sentinel.password", {"existingSecret": "redis", "value": "word"}, LEAST),
        "redis.sentinel.password has both existingSecret and value",
    ),
    "secrets-alike": (
        changed("secrets.secretKey.key", "api-key", LEAST),
        "secrets.apiKey and secrets.secretKey would be the same key of the chart's Secret",
    ),
    "redis-open": (
        changed("redis.password.value", "", LEAST),
        "An embedded Redis without a password is open",
    ),
    "redis-password": (
        changed("redis.password.value", "p@ss", LEAST),
        "redis.password becomes part of a URL",
    ),
    "sentinel-password": (
        changed("redis.sentinel.password.value", "p&ss", LEAST),
        "redis.sentinel.password becomes part of a URL",
    ),
    "redis-memory": (
        changed("redis.embedded.resources.limits", {"memory": None}, LEAST),
        "set redis.embedded.resources.limits.memory",
    ),
    "redis-external": (joined(SECRETS, {"redis": {"mode": "external"}}), "set redis.external.url"),
    "sentinel-hosts": (
        joined(SECRETS, {"redis": {"mode": "sentinel", "sentinel": {"master": "main"}}}),
        "Sentinel needs hosts and a master",
    ),
    "sentinel-master": (
        joined(SECRETS, {"redis": {"mode": "sentinel", "sentinel": {"hosts": ["s:26379"]}}}),
        "Sentinel needs hosts and a master",
    ),
    "ingress": (changed("gateway.ingress.enabled", True, LEAST), "set gateway.ingress.hosts"),
    "route": (changed("gateway.httpRoute.enabled", True, LEAST), "set gateway.httpRoute.parentRefs"),
    "scaling-range": (
        changed("gateway.autoscaling", {"enabled": True, "minReplicas": 11}, LEAST),
        "gateway.autoscaling.minReplicas is above maxReplicas",
    ),
    "scaling-by-nothing": (
        changed("gateway.autoscaling", {"enabled": True, "targetCPU": 0}, LEAST),
        "The gateways' autoscaler has nothing to go by",
    ),
    "scaling-by-cpu": (
        joined(
            LEAST, {"gateway": {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}}
        ),
        "set gateway.resources.requests.cpu",
    ),
    "flower": (changed("flower.enabled", True, LEAST), "set flower.auth to user:password"),
    "data-of-a-node": (changed("data.type", "hostPath", LEAST), "data.type hostPath is a folder of one node"),
    "data-once": (
        changed("data.claim.accessModes", ["ReadWriteOnce"], LEAST),
        "data.claim is not ReadWriteMany",
    ),
    "models-once": (
        changed("models.cache.claim.accessModes", ["ReadWriteOnce"], LEAST),
        "models.cache.claim is not ReadWriteMany",
    ),
    "pools-alike": (joined(LEAST, TWICE), "Two pools are called same"),
    "two-gpus": (pool(gpu={"count": 2}), "Pool gpu asks for 2 GPUs for each worker, which uses one"),
    "preload-unserved": (
        pool(serves=["sdxl"], preload=["flux"]),
        "Pool gpu preloads flux, which it does not serve",
    ),
    "never-updated": (
        pool(rollout={"maxUnavailable": 0}),
        "Pool gpu could never be updated",
    ),
    "never-updated-in-percent": (
        pool(rollout={"maxSurge": "0%", "maxUnavailable": "0%"}),
        "Pool gpu could never be updated",
    ),
    "unserved": (joined(pool(serves=["flux"]), SDXL), "No pool serves the checkpoint sdxl"),
    "unserved-checker": (
        joined(pool(serves=["flux"]), {"models": {"list": [{"kind": "safety", "id": "nsfw", "hub": "a/b"}]}}),
        "No pool serves the safety nsfw",
    ),
    "no-source": (models({"kind": "lora", "id": "a"}), "lora a needs exactly one of path, hub and url"),
    "two-sources": (
        models({"kind": "lora", "id": "a", "hub": "b/c", "path": "/models/c"}),
        "lora a needs exactly one of path, hub and url",
    ),
    "relative": (models({"kind": "lora", "id": "a", "path": "b"}), "in a pod it must be whole, as /models/b"),
    "models-alike": (
        models(*[{"kind": "lora", "id": "a", "hub": "b/c"}] * 2),
        "models.list: lora a is there twice",
    ),
}
UNKNOWN: dict[str, Values] = {
    "top": {"replicaCount": 2},
    "group": {"gateway": {"replica": 2}},
    "inner-group": {"gateway": {"ingress": {"host": "a"}}},
    "settings": {"settings": {"max_sides": 512}},
    "said-by-the-chart": {"settings": {"redis_url": "redis://elsewhere"}},
    "pool": {"pools": [{"name": "gpu", "gpus": 1}]},
    "pool-group": {"pools": [{"name": "gpu", "drain": {"seconds": 1}}]},
    "pool-settings": {"pools": [{"name": "gpu", "settings": {"max_side": 512}}]},
    "secret": {"secrets": {"apiKey": {"secretName": "a"}}},
    "image": {"images": {"worker": {"name": "a"}}},
    "model": {"models": {"list": [{"kind": "lora", "id": "a", "hub": "b/c", "size": 1}]}},
    "resources": {"dispatcher": {"resources": {"limit": {}}}},
    "toleration": {"dispatcher": {"tolerations": [{"keys": "a"}]}},
    "redis-replicas": {"redis": {"embedded": {"replicas": 3}}},
}
MISTYPED: dict[str, Values] = {
    "setting-range": {"settings": {"max_side": 30}},
    "setting-type": {"settings": {"slots": "many"}},
    "dtype": {"settings": {"dtype": "fp8"}},
    "model-kind": {"models": {"list": [{"kind": "unet", "id": "a", "hub": "b/c"}]}},
    "model-id": {"models": {"list": [{"kind": "lora", "id": "../a", "hub": "b/c"}]}},
    "pool-name": {"pools": [{"name": "Big GPU"}]},
    "pool-without-name": {"pools": [{}]},
    "no-pools": {"pools": []},
    "quantity": {"tmpSize": "10 GB"},
    "redis-mode": {"redis": {"mode": "cluster"}},
    "sentinel-host": {"redis": {"sentinel": {"hosts": ["no-port"]}}},
    "start": {"poolDefaults": {"startSeconds": 0}},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_together_is_refused_with_a_sentence(case: str) -> None:
    values, sentence = REFUSED[case]

    assert sentence in refusal(values)


def test_every_sentence_of_the_chart_is_tested() -> None:
    template = (CHART / "templates" / "check-values.yaml").read_text()
    said = [
        re.sub(r"%[sd]", "|", each).split("|")
        for each in re.findall(r'\$wrong \(?(?:printf )?"([^"]+)"', template)
    ]
    tested = "\n".join(refusal(values) for values, _ in REFUSED.values())

    assert len(said) >= 25
    assert [parts for parts in said if max(parts, key=len) not in tested] == []


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = refusal({})

    for sentence in ("No API key", "Nothing seals", "without a password"):
        assert sentence in said


@pytest.mark.parametrize("values", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_values_are_refused_at_every_level(values: Values) -> None:
    assert "additional properties" in refusal(joined(LEAST, values))


@pytest.mark.parametrize("values", MISTYPED.values(), ids=MISTYPED)
def test_values_of_another_type_or_range_are_refused(values: Values) -> None:
    assert "don't meet the specifications of the schema" in refusal(joined(LEAST, values))


def test_what_an_umbrella_chart_tells_all_is_taken() -> None:
    assert refusal(joined(LEAST, {"global": {"storageClass": "fast"}})) == ""


def test_readme_and_schema_are_those_of_the_values() -> None:
    """If not: `python -m deploy.chart`."""
    values = read_values((CHART / "values.yaml").read_text())
    page = (CHART / "README.md").read_text()

    assert (CHART / "values.schema.json").read_text() == json.dumps(schema(values), indent=2) + "\n"
    assert page == readme(values, page.partition("| value |")[0])


def test_every_value_is_described() -> None:
    values = read_values((CHART / "values.yaml").read_text())

    assert [value.name for value in leaves(values) if not value.description] == []
    assert len(list(leaves(values))) > 100


def leaves(values: tuple[Value, ...]) -> Iterator[Value]:
    for value in values:
        if value.inner:
            yield from leaves(value.inner)
        else:
            yield value


def test_every_setting_is_the_chart_s_or_can_be_said() -> None:
    said = schema(read_values((CHART / "values.yaml").read_text()))["$defs"]["settings"]["properties"].keys()

    assert said | SAID_BY_THE_CHART == set(Settings.model_fields)
    assert not said & SAID_BY_THE_CHART
    assert said >= OF_A_POOL


def test_a_pool_can_say_all_that_pools_have_by_default() -> None:
    made = schema(read_values((CHART / "values.yaml").read_text()))
    defaults = made["properties"]["poolDefaults"]["properties"]

    assert made["$defs"]["pool"]["properties"].keys() == defaults.keys() | {"name"}
    assert (
        refusal(joined(ALL, {"pools": [{"name": "gpu", "replicas": 2, "drain": {"longestJobSeconds": 5}}]}))
        == ""
    )


def test_the_first_command_of_the_readme_has_all_that_is_needed() -> None:
    page = (CHART / "README.md").read_text()
    (shell,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    made = set(re.findall(r"--from-literal=([\w-]+)=", shell))

    layers = [helm_python.parse_set_string(each) for each in re.findall(r"--set (\S+)", shell)]
    values = joined(*layers)

    assert refusal(values) == ""
    (secret,) = re.findall(r"create secret generic (\S+)", shell)
    used = {
        reference["key"]
        for pod in render(values).pods().values()
        for each in containers(pod)
        for variable in each["env"]
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef", {})).get("name") == secret
    }
    assert used == made
