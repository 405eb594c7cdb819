"""Kubernetes' own schemas of its objects, strict ones: a field that its version does not know is an error."""

import functools
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema.validators import Draft202012Validator
from referencing import Registry, Resource

VERSIONS = ("1.30.0", "1.34.0", "1.37.0")
"""The oldest that the chart claims, the newest that there are schemas of, and one between."""
_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
CRDS = Path(__file__).parent.parent / "deploying" / "crds"
"""Schemas of what is no part of Kubernetes: `kind.json`."""


def flaws(thing: dict[str, Any], version: str) -> list[str]:
    """What is wrong with an object, for that version."""
    validator = _validator(thing["kind"], thing["apiVersion"], version)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(thing)]


@functools.cache
def _validator(kind: str, api_version: str, version: str) -> Draft202012Validator:
    if (crd := CRDS / f"{kind.lower()}.json").exists():
        return Draft202012Validator(_read(crd))
    group, _, name = api_version.rpartition("/")
    words = [kind.lower(), *([group.partition(".")[0]] if group else []), name]
    schema = _read(_folder(version) / f"{'-'.join(words)}.json")
    return Draft202012Validator(schema, registry=_definitions(version))


@functools.cache
def _definitions(version: str) -> Registry[Any]:
    return Resource.from_contents(_read(_folder(version) / "_definitions.json")) @ Registry()


def _folder(version: str) -> Path:
    return _SCHEMAS / f"v{version}-local-strict"


def _read(file: Path) -> Any:
    return json.loads(file.read_text())
