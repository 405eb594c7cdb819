"""What every answer must be, whatever was sent."""

import json
from collections.abc import Mapping
from typing import Any

INTERNALS = ("Traceback", "Value error", "Errno", "pydantic", "Exceeds the limit", "object at 0x", "Error:")
HEADERS = (
    *(
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "content-security-policy",
        "cache-control",
    ),
)


def complaint(status: int, headers: Mapping[str, str], content: bytes, *, is_api: bool = True) -> str:
    """What is wrong with an answer; empty if nothing is. `is_api`: it must be JSON."""
    lacking = [name for name in HEADERS if name not in headers]
    if status >= 500 or lacking:
        return f"HTTP {status}, without {lacking}: {content[:300]!r}"
    if headers.get("content-type") != "application/json":
        return f"no JSON: {headers.get('content-type')}" if is_api or status >= 400 else ""
    if not content:
        return "no body"
    body = json.loads(content)
    is_outcome = body.get("status") == "failed" and isinstance(
        body.get("id"), int
    )  # of a job that was fetched
    is_refusal = status >= 400 or (body.get("status") in ("error", "failed") and not is_outcome)
    return _wrong_in(body) if is_refusal else ""


def _wrong_in(body: dict[str, Any]) -> str:
    sentence = str(body.get("message"))
    is_sentence = len(sentence) >= 10 and " " in sentence
    if body.get("status") not in ("error", "failed") or body.get("messege") != sentence or not is_sentence:
        return f"not the wire's shape: {json.dumps(body)[:300]}"
    if not isinstance(body.get("code"), str):
        return f"no code: {json.dumps(body)[:300]}"
    return f"tells internals: {sentence[:300]}" if any(word in sentence for word in INTERNALS) else ""
