"""Pictures to start from: drawn scenes, and holes in them."""

from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from deploy.demo.drawing import draw, random_scene
from tests.support.painting import request
from worker.gpu.engine import Pixels
from worker.gpu.fitting import fitted
from worker.gpu.painting import PictureRequest, Start


def scenery(width: int = 64, height: int = 64, seed: int = 0) -> Pixels:
    random = Random(seed)
    return np.array(fitted(draw(random_scene(random), random, side=128), width, height))


def hole(width: int = 64, height: int = 64) -> NDArray[np.uint8]:
    """An ellipse a little beside the middle: most of the picture, but no border."""
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).ellipse((5, 3, width - 2, height - 9), fill=255)
    return np.array(mask)


def started(*, masked: bool = False, strength: float = 0.7, **changes: Any) -> PictureRequest:
    """A request that starts from a picture, and paints only in a hole if it is `masked`."""
    plain = request(**changes)
    size = (plain.width, plain.height)
    start = Start(scenery(*size, seed=plain.seed), strength, hole(*size) if masked else None)
    return request(**changes, start=start)
