"""What values of the chart may be where their defaults don't tell: Kubernetes' own objects, settings, models.

Objects of Kubernetes that are large, and change with its versions, are passed on: its API server checks them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.registry.file import FileModel
from shared.settings import Settings

Schema = dict[str, Any]

SAID_BY_THE_CHART = frozenset(
    (
        *("redis_url", "data_dir", "host", "port", "server_name", "metrics_host", "metrics_port"),
        *("api_key", "api_keys_file", "secret_key", "webhook_secret", "peers", "models_file", "models_dir"),
        *("pool", "serves", "preload", "drain_s", "start_s"),
    )
)
"""Settings that other values lead to."""
OF_A_POOL = frozenset(
    (
        *("cpu_threads", "compile_backend", "device", "dtype", "lane_width", "model_memory_bytes"),
        *("slots", "step_timeout_s"),
    )
)
"""Settings that workers alone read, and that each may have its own way."""

_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"


def definitions(pool: Schema) -> dict[str, Schema]:
    """`pool`: the properties that `poolDefaults` has."""
    settings = _settings()
    return {
        "strings": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object"},
        "quantity": {"anyOf": [{"type": "string", "pattern": f"^$|{_QUANTITY}"}, {"type": "number"}]},
        "intOrPercent": {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%$"}]
        },
        "named": _object({"name": _NAME}, required=["name"]),
        "image": _object(
            {
                "repository": _TEXT,
                "tag": {"type": "string", "pattern": r"^$|^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"},
                "digest": {"type": "string", "pattern": "^$|^sha256:[0-9a-f]{64}$"},
                "pullPolicy": {"enum": ["", "Always", "IfNotPresent", "Never"]},
            }
        ),
        "secret": _object({"existingSecret": _TEXT, "key": _NAME, "value": _TEXT}),
        "claim": _object(
            {
                "existingClaim": _TEXT,
                "storageClass": _TEXT,
                "size": _ref("quantity"),
                "accessModes": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"enum": ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]},
                },
            }
        ),
        "resources": _object({"requests": _QUANTITIES, "limits": _QUANTITIES}),
        "toleration": _object(
            {
                "key": _TEXT,
                "operator": {"enum": ["Exists", "Equal"]},
                "value": _TEXT,
                "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
                "tolerationSeconds": {"type": "integer"},
            }
        ),
        "spread": _object(
            {
                "maxSkew": {"type": "integer", "minimum": 1},
                "topologyKey": _NAME,
                "whenUnsatisfiable": {"enum": ["DoNotSchedule", "ScheduleAnyway"]},
                "minDomains": {"type": "integer", "minimum": 1},
                "nodeAffinityPolicy": {"enum": ["Honor", "Ignore"]},
                "nodeTaintsPolicy": {"enum": ["Honor", "Ignore"]},
            },
            required=["maxSkew", "topologyKey", "whenUnsatisfiable"],
        ),
        "rollout": _object({"maxSurge": _ref("intOrPercent"), "maxUnavailable": _ref("intOrPercent")}),
        "parentRef": _object(
            {
                **dict.fromkeys(("group", "kind", "namespace", "sectionName"), _TEXT),
                "name": _NAME,
                "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            },
            required=["name"],
        ),
        "variable": _object({"name": _NAME, "value": _TEXT, "valueFrom": _ref("free")}, required=["name"]),
        "volume": {"type": "object", "properties": {"name": _NAME}, "required": ["name"]},
        "mount": _object(
            {
                "name": _NAME,
                "mountPath": _NAME,
                "subPath": _TEXT,
                "readOnly": {"type": "boolean"},
            },
            required=["name", "mountPath"],
        ),
        "settings": _object(_only(settings, settings.keys() - SAID_BY_THE_CHART)),
        "poolSettings": _object(_only(settings, OF_A_POOL)),
        "model": _object(_properties(FileModel.model_json_schema()), required=["kind", "id"]),
        "pool": _object({"name": _POOL_NAME, **pool}, required=["name"]),
    }


def _object(properties: Mapping[str, Schema], *, required: Iterable[str] = ()) -> Schema:
    wanted = {"required": list(required)} if required else {}
    return {"type": "object", "additionalProperties": False, "properties": dict(properties), **wanted}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_POOL_NAME: Schema = {
    "type": "string",
    "pattern": "^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$",
    "description": "Names the pool's objects, and the pool in metrics",
}
_QUANTITIES: Schema = {"type": "object", "additionalProperties": {"$ref": "#/$defs/quantity"}}


def _settings() -> dict[str, Schema]:
    return _properties(Settings.model_json_schema())


def _only(properties: Mapping[str, Schema], names: Iterable[str]) -> dict[str, Schema]:
    return {name: properties[name] for name in sorted(names)}


def _properties(model: Schema) -> dict[str, Schema]:
    """Of a pydantic model, without defaults: they are the model's to say, and some depend on the machine."""
    inner = model.get("$defs", {})
    return {name: _plain(found, inner) for name, found in sorted(model["properties"].items())}


def _plain(found: Schema, inner: Mapping[str, Schema]) -> Schema:
    if "$ref" in found:
        found = inner[found["$ref"].rpartition("/")[2]] | {
            name: value for name, value in found.items() if name != "$ref"
        }
    if "anyOf" in found:  # something, or nothing: what is nothing is not said
        (one,) = (each for each in found["anyOf"] if each.get("type") != "null")
        found = one | {name: value for name, value in found.items() if name != "anyOf"}
    kept = ("type", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "multipleOf", "items")
    plain = {name: value for name, value in found.items() if name in kept}
    if "description" in found:
        plain["description"] = " ".join(found["description"].split())
    return plain
