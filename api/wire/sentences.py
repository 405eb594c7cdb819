"""Turns validation errors into the wire's sentences: `samples must be between 1 and 4`."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from shared.errors import BadRequest
from shared.settings import Settings

M = TypeVar("M", bound=BaseModel)

MOST_SENTENCES = 5
ECHOED = frozenset({"track_id"})
"""Fields that come back as they were sent, so that nothing in them means "absent"."""


def parse(model: type[M], body: Mapping[str, Any], limits: Settings | None = None) -> M:
    """`body` as a `model`; raises `BadRequest` with a sentence per wrong field.

    `limits`: the settings that bound what a request may ask for.
    """
    spellings: Mapping[str, str] = getattr(model, "spellings", {})
    present = {name: value for name, value in body.items() if name in ECHOED or value not in (None, "")}
    renamed = {spellings[name]: value for name, value in present.items() if name in spellings}
    try:
        return model.model_validate(renamed | present, context=limits)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)[:MOST_SENTENCES]
    # out of the handler: no traceback of what goes wrong from here on may show what was sent
    raise BadRequest("; ".join(_sentence(error, model.model_fields) for error in errors))


def _sentence(error: ErrorDetails, fields: Mapping[str, FieldInfo]) -> str:
    if error["type"] == "of_field":
        return error["msg"]
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"Model id not found: {name} is required" if name == "model_id" else f"{name} is required"
    kind = error["type"]
    say = _PHRASES.get(kind)
    return f"{name} {say(error, fields[name])}" if say else f"{name}: {error['msg']}"


def _bounds(_: ErrorDetails, field: FieldInfo) -> str:
    limits = {
        end: getattr(rule, end) for rule in field.metadata for end in ("ge", "le") if hasattr(rule, end)
    }
    if "le" not in limits:
        return f"must be at least {limits['ge']:g}"
    return f"must be between {limits['ge']:g} and {limits['le']:g}"


_PHRASES: dict[str, Callable[[ErrorDetails, FieldInfo], str]] = {
    "sentence": lambda error, _: error["msg"],
    "greater_than_equal": _bounds,
    "less_than_equal": _bounds,
    "string_type": lambda *_: "must be a string",
    "string_unicode": lambda *_: "must be valid Unicode text",
    "too_short": lambda *_: "is required",
    "string_too_long": lambda error, _: f"must be at most {error['ctx']['max_length']} characters",
}
