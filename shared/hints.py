"""Names of the ControlNet types, and what a worker must have to make each one's hint from a picture.

How hints are made, worker/gpu/hints/ knows.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from shared.settings import Settings


class Tool(StrEnum):
    """A network that makes hints, by its name."""

    DEPTH_ESTIMATOR = "depth_estimator"
    SEGMENTER = "segmenter"
    HED = "hed"
    PIDINET = "pidinet"
    MLSD = "mlsd"
    LINEART = "lineart"
    OPENPOSE = "openpose"


SETTINGS: Mapping[Tool, str] = MappingProxyType(
    {
        Tool.DEPTH_ESTIMATOR: "PRINTWORKS_DEPTH_ESTIMATOR",
        Tool.SEGMENTER: "PRINTWORKS_SEGMENTER",
    }
    | dict.fromkeys(
        (Tool.HED, Tool.PIDINET, Tool.MLSD, Tool.LINEART, Tool.OPENPOSE), "PRINTWORKS_ANNOTATORS_FOLDER"
    )
)
"""Where an operator says what to load."""

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


def source_of(tool: Tool, settings: Settings) -> str | Path | None:
    """What the tool's setting says: a hub id or a folder; None if it says nothing."""
    sources = {Tool.DEPTH_ESTIMATOR: settings.depth_estimator, Tool.SEGMENTER: settings.segmenter}
    return sources.get(tool, settings.annotators_folder)


def can_make(kind: str, settings: Settings) -> bool:
    """Whether this installation makes hints of this type from pictures."""
    tool = HINT_TYPES[kind]
    return kind not in READY_MADE_ONLY and (tool is None or source_of(tool, settings) is not None)


def no_tool(kind: str) -> str:
    """For a type whose hint this installation can't make."""
    instead = f"send the hint itself as control_image with auto_hint no for controlnet_type {kind}"
    tool = HINT_TYPES[kind]
    if tool is None:
        return f"This server makes no {kind} hints from pictures: {instead}."
    lack = f"This server lacks the network for {kind} hints"
    return f"{lack}: {instead}, or ask the operator to set {SETTINGS[tool]}."
