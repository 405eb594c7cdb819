"""Which entries of the registry a job is bound to: what it names, and the server's own choice of tools."""

from collections.abc import Mapping

from api.wire.requests import Here, JobBody
from shared.errors import BadRequest, ModelNotFound
from shared.registry import Entry, ModelKind, name_of

TOOLS = (
    ModelKind.UPSCALER,
    ModelKind.SAFETY,
    ModelKind.TRANSLATOR,
    ModelKind.ENHANCER,
    ModelKind.MOTION,
    ModelKind.DEPTH,
    ModelKind.SEGMENTER,
    ModelKind.ANNOTATORS,
    ModelKind.FACE,
)
"""Of these the server's own choice serves jobs that name none."""


def pins_of(wanted: JobBody, here: Here) -> Mapping[str, str]:
    """By `kind:id`, or by the kind alone. Refuses what no worker could do: raises `ModelNotFound` or
    `BadRequest` with what to send instead."""
    pins = {}
    for needed in wanted.needed(here):
        for model_id in needed.ids:
            entry = _found(here, needed.kinds, model_id)
            if entry is None:
                raise ModelNotFound(f"{needed.what} not found: {model_id}")
            pins[name_of(entry.kind, model_id)] = entry.entry_id
    if missing := wanted.missing(here):
        raise BadRequest(missing)
    return pins | {kind: tool.entry_id for kind in TOOLS if (tool := here.models.default(kind))}


def _found(here: Here, kinds: tuple[ModelKind, ...], model_id: str) -> Entry | None:
    return next((entry for kind in kinds if (entry := here.models.find(kind, model_id))), None)
