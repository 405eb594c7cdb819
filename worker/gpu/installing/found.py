"""What a model turned out to be, whatever it was said to be."""

from dataclasses import dataclass

from shared.errors import GenerationFailed
from shared.registry import ModelKind

_NAMED = {
    ModelKind.CHECKPOINT: ("a checkpoint", "custom_ckpt"),
    ModelKind.LORA: ("a LoRA", "lora"),
    ModelKind.EMBEDDING: ("a textual inversion", "embeddings"),
    ModelKind.VAE: ("a VAE", "vae"),
    ModelKind.CONTROLNET: ("a ControlNet", "controlnet"),
    ModelKind.IP_ADAPTER: ("an IP-Adapter", "ip_adapter"),
    ModelKind.UPSCALER: ("an upscaler", "upscaler"),
    ModelKind.VIDEO: ("a video model", "video"),
    ModelKind.SAFETY: ("a safety checker", "safety"),
    ModelKind.TRANSLATOR: ("a translator", "translator"),
    ModelKind.ENHANCER: ("a language model", "enhancer"),
    ModelKind.MOTION: ("a motion adapter", ""),
    ModelKind.DEPTH: ("a depth estimator", ""),
    ModelKind.SEGMENTER: ("a segmenter", ""),
    ModelKind.ANNOTATORS: ("a set of annotators", ""),
    ModelKind.FACE: ("a face restorer", ""),
}
"""What clients call a kind, and the `model_type` that they send for it, if they can load it."""
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
    name, model_type = _NAMED[found.kinds[0]]
    wanted_name, _ = _NAMED[wanted]
    remedy = f"send model_type {model_type}" if model_type else "ask the operator to put it into models.yaml"
    raise GenerationFailed(f"this is {name} and not {wanted_name}: {remedy}")


def require_loadable(kind: ModelKind) -> None:
    """Raises `GenerationFailed` for a kind that only the operator can have."""
    name, model_type = _NAMED[kind]
    if not model_type:
        raise GenerationFailed(f"{name} is nothing to load: ask the operator to put it into models.yaml")
