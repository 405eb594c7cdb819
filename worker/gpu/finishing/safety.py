"""Says which pictures show what the safety checker was trained to find. What then is done: effects.py."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion import safety_checker
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from safetensors import SafetensorError

# The one that works on PIL pictures: `CLIPImageProcessor` wants torchvision, and warns where it is missing.
from transformers import CLIPImageProcessorPil

from shared.errors import GenerationFailed
from worker.gpu.engine.rendering import Pixels
from worker.gpu.fitting import seen_by

# Of each flagged picture it says that "a black image will be returned", which here is not so.
logging.getLogger(safety_checker.__name__).setLevel(logging.ERROR)

UNREADABLE = "The safety checker can't be loaded on the server."
PREPROCESSOR_FILE = "preprocessor_config.json"
CHECKER_FOLDER, EXTRACTOR_FOLDER = "safety_checker", "feature_extractor"


class SafetyChecker:
    """diffusers' checker with the image processor that belongs to it."""

    def __init__(self, model: StableDiffusionSafetyChecker, processor: CLIPImageProcessorPil) -> None:
        self._model = model.eval()
        self._processor = processor

    @classmethod
    def load(cls, source: str, device: torch.device, dtype: torch.dtype) -> "SafetyChecker":
        """`source` is a hub id or a folder: a checker, with `feature_extractor/` inside or beside it, or a
        whole pipeline that has both. Without a processor's file it prepares pictures as CLIP does.

        Raises `GenerationFailed` if it can't be read, or is not whole: random weights would flag at random.
        """
        folder = _checker_folder(source)
        try:
            model, report = StableDiffusionSafetyChecker.from_pretrained(
                folder,
                dtype=torch.float32,  # another format would become the whole process's default meanwhile
                use_safetensors=True,
                output_loading_info=True,
            )
            processor = _load_processor(folder, model.config.vision_config.image_size)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as exc:
            raise GenerationFailed(UNREADABLE) from exc
        if report["missing_keys"]:
            raise GenerationFailed(f"{UNREADABLE} Weights are missing in it.")
        return cls(model.to(device, dtype), processor)

    def cropped(self, picture: Pixels) -> Pixels:
        """What the model sees of a picture, (side, side, 3), and sees again in that: large pictures take long
        to prepare, which is for a slot's thread."""
        return seen_by(self._processor, picture)

    @torch.inference_mode()
    def check(self, pictures: Sequence[Pixels]) -> list[bool]:
        """For each picture whether it is flagged; the pixels stay as they are."""
        if not pictures:
            return []
        images = [Image.fromarray(picture) for picture in pictures]
        prepared = self._processor(images, return_tensors="pt").pixel_values
        # The checker paints flagged arrays black in place: it gets some that nobody needs.
        expendable = [np.zeros((1, 1, 3), dtype=np.float32) for _ in pictures]
        seen = prepared.to(self._model.device, self._model.dtype)
        _, flags = self._model(clip_input=seen, images=expendable)
        return [bool(flag) for flag in flags]


def _checker_folder(source: str) -> str:
    inside = Path(source) / CHECKER_FOLDER
    return str(inside) if inside.is_dir() else source


def _load_processor(source: str, side: int) -> CLIPImageProcessorPil:
    folder = Path(source)
    if not folder.is_dir():
        return CLIPImageProcessorPil.from_pretrained(source)
    places = (folder, folder / EXTRACTOR_FOLDER, folder.parent / EXTRACTOR_FOLDER)
    for place in places:
        if (place / PREPROCESSOR_FILE).is_file():
            return CLIPImageProcessorPil.from_pretrained(place)
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
