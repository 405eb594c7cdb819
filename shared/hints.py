"""Names of the ControlNet types, and what a worker must have to make each one's hint from a picture.

How hints are made, worker/gpu/hints/ knows.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from shared.registry import ModelKind, Snapshot


class Tool(StrEnum):
    """A network that makes hints, by its name."""

    DEPTH_ESTIMATOR = "depth_estimator"
    SEGMENTER = "segmenter"
    HED = "hed"
    PIDINET = "pidinet"
    MLSD = "mlsd"
    LINEART = "lineart"
    OPENPOSE = "openpose"


TOOL_KINDS: Mapping[Tool, ModelKind] = MappingProxyType(
    {Tool.DEPTH_ESTIMATOR: ModelKind.DEPTH, Tool.SEGMENTER: ModelKind.SEGMENTER}
    | dict.fromkeys((Tool.HED, Tool.PIDINET, Tool.MLSD, Tool.LINEART, Tool.OPENPOSE), ModelKind.ANNOTATORS)
)
"""As what kind of model an operator registers each."""

HINT_TYPES: Mapping[str, Tool | None] = MappingProxyType(
    {
        "canny": None,
        "depth": Tool.DEPTH_ESTIMATOR,
        "hed": Tool.HED,
        "mlsd": Tool.MLSD,
        "normal": Tool.DEPTH_ESTIMATOR,
        "normalbae": Tool.DEPTH_ESTIMATOR,
        "openpose": Tool.OPENPOSE,
        "scribble": None,
        "segmentation": Tool.SEGMENTER,
        "inpaint": None,
        "softedge": Tool.PIDINET,
        "lineart": Tool.LINEART,
        "shuffle": None,
        "tile": None,
        "face_detector": None,
        "qrcode": None,
        "blur": None,
        "pose": Tool.OPENPOSE,
        "gray": None,
        "low_quality": None,
        "aesthetic-controlnet": None,
        "ip2p": None,
    }
)
"""Each `controlnet_type` and what its hint needs; None where OpenCV is enough, or no picture will do."""

READY_MADE_ONLY = frozenset({"face_detector"})
"""Types whose hints clients have to bring: no library that installs beside ours finds faces in this way."""


def can_make(kind: str, here: Snapshot) -> bool:
    """Whether this installation makes hints of this type from pictures."""
    tool = HINT_TYPES[kind]
    return kind not in READY_MADE_ONLY and (tool is None or here.default(TOOL_KINDS[tool]) is not None)


def no_tool(kind: str) -> str:
    """For a type whose hint this installation can't make."""
    instead = f"send the hint itself as control_image with auto_hint no for controlnet_type {kind}"
    tool = HINT_TYPES[kind]
    if tool is None:
        return f"This server makes no {kind} hints from pictures: {instead}."
    lack = f"This server lacks the network for {kind} hints"
    return f"{lack}: {instead}, or ask the operator to install a model of the kind {TOOL_KINDS[tool]}."
