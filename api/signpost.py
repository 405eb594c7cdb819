"""Tells a client that asked for an endpoint that is not here which ones are."""

from collections.abc import Iterable

WIRE = "/api/"
LONGEST_PATH = 200


def no_endpoint(path: str, all_paths: Iterable[str]) -> str:
    """Names the nearest family's endpoints, or the families. `all_paths`: as OpenAPI lists them."""
    known, parent = _endpoints(all_paths), path
    while parent := parent.rpartition("/")[0]:
        if parent in known:
            return f"{_nothing_at(path)} Under {parent} it has: {', '.join(known[parent])}."
    return f"{_nothing_at(path)} It has endpoints under {', '.join(known)}; /docs describes them."


def wrong_method(method: str, path: str, allowed: str) -> str:
    return f"{path[:LONGEST_PATH]} takes {allowed}, not {method}: send the fields as JSON in the body."


def _nothing_at(path: str) -> str:
    return f"This server has no endpoint {path[:LONGEST_PATH]}."


def _endpoints(all_paths: Iterable[str]) -> dict[str, dict[str, None]]:
    """By prefix: the names right below it, in their order."""
    found: dict[str, dict[str, None]] = {}
    for path in all_paths:
        if path.startswith(WIRE):
            prefix, _, name = path.partition("/{")[0].rpartition("/")
            found.setdefault(prefix, {})[name] = None
    return found
