"""Brings pictures to the size at which they are used; in slots, never on the engine's thread."""

import numpy as np
from PIL import Image, ImageOps
from transformers import CLIPImageProcessorPil

from worker.gpu.engine.rendering import Pixels


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scaled to cover `width` x `height` and cropped around the centre, so that nothing is squashed.

    Masks and control pictures go the same way as the picture they belong to, and so stay aligned with it.
    """
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)


def seen_by(processor: CLIPImageProcessorPil, picture: Pixels) -> Pixels:
    """What a CLIP model sees of a picture: its middle, (side, side, 3). It sees the same in that again."""
    seen = processor(Image.fromarray(picture), do_rescale=False, do_normalize=False)
    return np.ascontiguousarray(np.moveaxis(seen.pixel_values[0], 0, -1))
