"""Makes the chart's README.md and values.schema.json from its values.yaml: `python -m deploy.chart`.

A value's description stands above it, after `# --`; `# @schema` adds to what its default tells of its type.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.chart_types import Schema, definitions

CHART = Path(__file__).resolve().parent.parent / "helm" / "printworks"
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


@dataclass(frozen=True)
class Value:
    """A value of values.yaml, or a group of them."""

    name: str
    description: str
    given: Schema
    """What `# @schema` says."""
    default: Any
    type: str
    """Of the default, as YAML sees it."""
    inner: tuple["Value", ...] = ()
    """Of a group that is not described as a whole."""


def read_values(text: str) -> tuple[Value, ...]:
    return _group(yaml.compose(text), text.splitlines())


def schema(values: Sequence[Value]) -> Schema:
    (pool,) = (value for value in values if value.name == "poolDefaults")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart printworks",
        **_properties(values),
        "$defs": definitions(_properties(pool.inner)["properties"]),
    }


def readme(values: Sequence[Value], head: str) -> str:
    """`head`: what stands before the table."""
    lines = [f"| `{path}` | {_shown(value.default)} | {value.description} |" for path, value in _rows(values)]
    return "\n".join([head.rstrip(), "", "| value | default | meaning |", "|---|---|---|", *lines, ""])


def _group(node: Any, lines: Sequence[str]) -> tuple[Value, ...]:
    return tuple(_value(key, content, lines) for key, content in node.value)


def _value(key: Any, content: Any, lines: Sequence[str]) -> Value:
    description, given = _comment(lines, key.start_mark.line)
    is_group = isinstance(content, yaml.MappingNode) and not description
    return Value(
        name=key.value,
        description=description,
        given=given,
        default=yaml.SafeLoader("").construct_object(content, deep=True),
        type=content.tag.rpartition(":")[2],
        inner=_group(content, lines) if is_group else (),
    )


def _comment(lines: Sequence[str], line: int) -> tuple[str, Schema]:
    """What the lines right above say."""
    words: list[str] = []
    given: Schema = {}
    while line and (text := lines[line - 1].strip()).startswith("#"):
        line -= 1
        text = text.removeprefix("#").strip()
        if text.startswith("@schema "):
            given = json.loads(text.removeprefix("@schema "))
        elif text.startswith("-- "):
            return " ".join([text.removeprefix("-- "), *words]), given
        else:
            words.insert(0, text)
    return "", given


def _properties(values: Sequence[Value]) -> Schema:
    properties = {value.name: _schema(value) for value in values}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _schema(value: Value) -> Schema:
    if value.inner:
        return _properties(value.inner)
    described = {"description": value.description} if value.description else {}
    if {"$ref", "enum"} & value.given.keys():
        return described | value.given
    kind = {"seq": "array", "map": "object"}.get(value.type) or _TYPES[value.type]
    return described | {"type": kind} | value.given


def _rows(values: Sequence[Value], before: str = "") -> Iterator[tuple[str, Value]]:
    for value in values:
        path = f"{before}{value.name}"
        if value.inner:
            yield from _rows(value.inner, f"{path}.")
        else:
            yield path, value


def _shown(default: Any) -> str:
    return f"`{json.dumps(default)}`"


def main() -> None:
    values = read_values((CHART / "values.yaml").read_text())
    (CHART / "values.schema.json").write_text(json.dumps(schema(values), indent=2) + "\n")
    page = CHART / "README.md"
    head = page.read_text().partition("| value |")[0]
    page.write_text(readme(values, head))


if __name__ == "__main__":
    main()
