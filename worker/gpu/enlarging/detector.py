"""Finds faces with YuNet, the detector of OpenCV's own model zoo; for slots' threads.

Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector" (2023).
"""

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.gpu.engine import Pixels

SIDE = 640
"""Of the square that the published files are exported for; pictures are put into it."""
LONGEST = (640, 240)
"""A picture's longer side in the square: faces that fill the picture are too large for the detector there,
and are found by a second look from further away."""
CONFIDENCE, MOST_SHARED, MOST_FACES = 0.8, 0.3, 32

Landmarks = NDArray[np.float64]
"""Both eyes, the tip of the nose and both corners of the mouth, from the picture's left to its right: 5 x 2,
in pixels of the picture, across and down."""


class FaceDetector:
    """One file of weights; threads take turns."""

    def __init__(self, file: Path) -> None:
        """Raises `cv2.error` if it holds no such detector."""
        self._lock = threading.Lock()
        self._detector = cv2.FaceDetectorYN.create(
            str(file), "", (SIDE, SIDE), CONFIDENCE, MOST_SHARED, MOST_FACES
        )
        self.find(np.zeros((SIDE, SIDE, 3), dtype=np.uint8))

    def find(self, picture: Pixels) -> list[Landmarks]:
        """Of every face, the surest first."""
        for longest in LONGEST:
            if found := self._look(picture, longest):
                return found
        return []

    def _look(self, picture: Pixels, longest: int) -> list[Landmarks]:
        height, width, _ = picture.shape
        factor = longest / max(height, width)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        canvas = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        finest = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        canvas[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=finest)[..., ::-1]
        with self._lock:
            _, faces = self._detector.detect(canvas)
        if faces is None:
            return []
        to_picture = np.array([width / size[0], height / size[1]])
        return [face[4:14].reshape(5, 2).astype(np.float64) * to_picture for face in faces]
