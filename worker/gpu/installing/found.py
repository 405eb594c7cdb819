"""What a model turned out to be, whatever it was said to be."""

from dataclasses import dataclass

from shared.errors import GenerationFailed
from shared.registry import ModelKind

_NAMED = {
    ModelKind.CHECKPOINT: "a checkpoint",
    ModelKind.LORA: "a LoRA",
    ModelKind.EMBEDDING: "a textual inversion",
    ModelKind.VAE: "a VAE",
    ModelKind.CONTROLNET: "a ControlNet",
    ModelKind.IP_ADAPTER: "an IP-Adapter",
    ModelKind.UPSCALER: "an upscaler",
    ModelKind.VIDEO: "a video model",
    ModelKind.SAFETY: "a safety checker",
    ModelKind.TRANSLATOR: "a translator",
    ModelKind.ENHANCER: "a language model",
    ModelKind.MOTION: "a motion adapter",
    ModelKind.DEPTH: "a depth estimator",
    ModelKind.SEGMENTER: "a segmenter",
    ModelKind.ANNOTATORS: "a set of annotators",
    ModelKind.FACE: "a face restorer",
}
_MODEL_TYPES = {ModelKind.CHECKPOINT: "custom_ckpt", ModelKind.EMBEDDING: "embeddings"}
"""The protocol's names where they are not ours."""
SD1, SD2, SDXL, FLUX, WAN = "sd1", "sd2", "sdxl", "flux", "wan"
BY_WORDS_WIDTH = {768: SD1, 1024: SD2, 2048: SDXL}
"""Families by the width of the embeddings that their denoisers see."""


@dataclass(frozen=True)
class Found:
    kinds: tuple[ModelKind, ...]
    """What it can serve as; the first is what it is."""
    family: str = ""


def require_kind(found: Found, wanted: ModelKind) -> None:
    """Raises `GenerationFailed` with what to send instead."""
    if wanted in found.kinds:
        return
    found_kind = found.kinds[0]
    raise GenerationFailed(
        f"this is {_NAMED[found_kind]} and not {_NAMED[wanted]}: "
        f"send model_type {_MODEL_TYPES.get(found_kind, found_kind)}"
    )
