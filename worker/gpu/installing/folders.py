"""Tells by its configs what a folder holds, in diffusers' or transformers' layout."""

from pathlib import Path
from typing import Any

from shared.errors import GenerationFailed
from shared.ip_adapters import installed
from shared.registry import ModelKind
from worker.gpu.enlarging.diffusion import FAMILIES as ENLARGING
from worker.gpu.filming.loading import ANIMATED, PICTURES
from worker.gpu.filming.loading import WAN as WAN_PIPELINE
from worker.gpu.flux.loading import FAMILY as FLUX_PIPELINE
from worker.gpu.installing.choosing import NETWORK, PIPELINE, SETS
from worker.gpu.installing.found import BY_WORDS_WIDTH, FLUX, SD1, SD2, SDXL, WAN, Found
from worker.gpu.installing.json_files import read_json
from worker.gpu.models.loading import FAMILIES as DRAWING

_OF_CLASS = {
    "AutoencoderKL": ModelKind.VAE,
    "ControlNetModel": ModelKind.CONTROLNET,
    "MotionAdapter": ModelKind.MOTION,
    "StableDiffusionSafetyChecker": ModelKind.SAFETY,
}
_OF_TYPE = {"mbart": ModelKind.TRANSLATOR, "swin2sr": ModelKind.UPSCALER}
"""By transformers' `model_type`."""
_OF_TASK = {
    "ForCausalLM": ModelKind.ENHANCER,
    "LMHeadModel": ModelKind.ENHANCER,
    "ForDepthEstimation": ModelKind.DEPTH,
    "ForSemanticSegmentation": ModelKind.SEGMENTER,
}
"""By the end of the name of transformers' class."""
_XL_FACTOR = 0.13025
"""SDXL's autoencoders have it, and no others."""
NO_MODEL = "the folder holds no model that is known here: send one in diffusers' or transformers' layout"


def recognise_folder(folder: Path, wanted: ModelKind) -> Found:
    """By its configs alone. Raises `GenerationFailed` for what can't be used."""
    if (folder / PIPELINE).is_file():
        return _pipeline(folder, read_json(folder / PIPELINE), wanted)
    if (folder / NETWORK).is_file():
        return _network(read_json(folder / NETWORK))
    if installed(folder):
        return Found((ModelKind.IP_ADAPTER,))
    for kind, names in SETS.items():
        if any((folder / name).is_file() for name in names):
            return Found((kind,))
    raise GenerationFailed(NO_MODEL)


def _pipeline(folder: Path, index: dict[str, Any], wanted: ModelKind) -> Found:
    name = str(index.get("_class_name"))
    family = _family(folder, name)
    whole = _kinds_of_pipeline(name, family)
    kinds = whole + _kinds_of_parts(index)
    if wanted not in kinds and not whole:
        raise GenerationFailed(
            f"it is a {name[:100]}, which this server can't run: send one of Stable Diffusion 1.x, 2.x, SDXL "
            "or Flux; of video models, Wan and AnimateDiff"
        )
    return Found(kinds, family)


def _kinds_of_pipeline(name: str, family: str) -> tuple[ModelKind, ...]:
    if name == PICTURES and family == SD1:  # a motion adapter makes it a video model
        return (ModelKind.CHECKPOINT, ModelKind.VIDEO)
    if name in DRAWING or name == FLUX_PIPELINE:
        return (ModelKind.CHECKPOINT,)
    if name in (ANIMATED, WAN_PIPELINE):
        return (ModelKind.VIDEO,)
    return (ModelKind.UPSCALER,) if name in ENLARGING else ()


def _kinds_of_parts(index: dict[str, Any]) -> tuple[ModelKind, ...]:
    """A part of a pipeline can be used alone."""
    classes = [value[1] for value in index.values() if isinstance(value, list) and len(value) == 2]
    return tuple(
        kind
        for name, kind in _OF_CLASS.items()
        if kind in (ModelKind.VAE, ModelKind.SAFETY) and name in classes
    )


def _family(folder: Path, name: str) -> str:
    if name == FLUX_PIPELINE:
        return FLUX
    if name == WAN_PIPELINE:
        return WAN
    if "XL" in name:
        return SDXL
    if name not in (*DRAWING, ANIMATED) or not (folder / "unet" / NETWORK).is_file():
        return ""
    config = read_json(folder / "unet" / NETWORK)
    is_later = config.get("use_linear_projection") or config.get("cross_attention_dim") == 1024
    return SD2 if is_later else SD1


def _network(config: dict[str, Any]) -> Found:
    names = [config.get("_class_name"), *(config.get("architectures") or ())]
    kind = next(
        (_OF_CLASS[name] for name in names if name in _OF_CLASS), _OF_TYPE.get(str(config.get("model_type")))
    )
    kind = kind or next(
        (kind for name in names for end, kind in _OF_TASK.items() if str(name).endswith(end)), None
    )
    if kind is None:
        what = next((str(name)[:100] for name in names if name), "model")
        raise GenerationFailed(f"it is a {what}, which can't be used here: send another model")
    return Found((kind,), _network_family(kind, config))


def _network_family(kind: ModelKind, config: dict[str, Any]) -> str:
    if kind is ModelKind.CONTROLNET:
        if config.get("addition_embed_type"):
            return SDXL
        width = config.get("cross_attention_dim")
        return BY_WORDS_WIDTH.get(width, "") if isinstance(width, int) else ""
    if kind is ModelKind.VAE and config.get("latent_channels") == 16:
        return FLUX
    return SDXL if kind is ModelKind.VAE and config.get("scaling_factor") == _XL_FACTOR else ""
