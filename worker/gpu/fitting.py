"""Brings a client's picture to the size of the picture to make; in slots, never on the engine's thread."""

from PIL import Image, ImageOps


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scaled to cover `width` x `height` and cropped around the centre, so that nothing is squashed.

    Masks and control pictures go the same way as the picture they belong to, and so stay aligned with it.
    """
    return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
