"""Describes request bodies in OpenAPI. Bodies are read by hand: their loose types are the protocol's."""

from typing import Any

from pydantic import BaseModel


def json_body(model: type[BaseModel] | None = None, **extra: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route whose JSON body is `model` plus the API key."""
    schema: dict[str, Any] = model.model_json_schema() if model else {"type": "object", "properties": {}}
    schema["properties"] = {
        "key": {"type": "string", "description": "Your API key"},
        **schema["properties"],
        **extra,
    }
    schema["required"] = ["key", *schema.get("required", [])]
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
