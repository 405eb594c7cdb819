"""Restores the faces of a picture with a network made for them: found in a slot's thread, restored by the
engine, put back in a slot's thread."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import torch
from torch import Tensor

from shared.errors import GenerationFailed
from worker.gpu.engine import Ask, Pixels, Steps
from worker.gpu.enlarging.alignment import Matrix, put_back, take_out, to_face
from worker.gpu.enlarging.detector import FaceDetector
from worker.gpu.enlarging.spandrel_files import read_descriptor, unreadable
from worker.gpu.enlarging.upscaler import to_input, to_pixels

DETECTOR, RESTORER = "detector.onnx", "restorer.safetensors"


class FaceRestorer:
    """A network that makes a damaged face whole: GFPGAN or RestoreFormer, as spandrel reads them."""

    def __init__(self, model: Any) -> None:
        """`model` is spandrel's descriptor."""
        self._model = model
        self._forward: Callable[[Tensor], Tensor] = model
        if model.architecture.id == "GFPGAN":
            self._forward = self._gfpgan

    @torch.inference_mode()
    def restore(self, faces: Sequence[Pixels]) -> list[Pixels]:
        """All in one forward."""
        return to_pixels(self._forward(to_input(faces, self._model.device, self._model.dtype)))

    def _gfpgan(self, faces: Tensor) -> Tensor:
        """As its authors call it and the descriptor does not: with numbers from -1 to 1. The noise is that in
        its file, in place of new noise, so that the same face comes out the same."""
        restored, _ = self._model.model(faces * 2 - 1, return_rgb=False, randomize_noise=False)
        return (restored + 1) / 2  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Face:
    """A face that was found in a picture, and who is to restore it."""

    pixels: Pixels
    matrix: Matrix
    """From the picture to the face."""
    restorer: FaceRestorer


class FaceEnhancer:
    """Finds faces, for a restorer to restore."""

    def __init__(self, detector: FaceDetector, restorer: FaceRestorer) -> None:
        self._detector = detector
        self._restorer = restorer

    def find(self, picture: Pixels) -> tuple[Face, ...]:
        """For an `EnlargeRequest` of this picture. Takes its time, so it is for a slot's thread."""
        matrices = [to_face(landmarks) for landmarks in self._detector.find(picture)]
        return tuple(Face(take_out(picture, matrix), matrix, self._restorer) for matrix in matrices)


@dataclass(frozen=True, eq=False)
class Restore(Ask[Pixels]):
    """One face."""

    work: ClassVar[str] = "restore_face"

    face: Face
    alone_for: object = None

    @property
    def shape(self) -> Hashable:
        return "restore"

    @property
    def uses(self) -> tuple[object, ...]:
        return (self.face.restorer,)

    def answer(self, asks: Sequence["Restore"]) -> list[Pixels]:
        return self.face.restorer.restore([ask.face.pixels for ask in asks])


def restored(faces: Sequence[Face], alone: object) -> Steps[list[Pixels]]:
    """The pixels of all faces, restored."""
    if not faces:
        return []
    answers: list[Pixels] = yield [Restore(face, alone) for face in faces]
    return answers


def with_faces(
    picture: Pixels, faces: Sequence[Face], restored: Sequence[Pixels], scale: tuple[float, float]
) -> Pixels:
    """The picture, `scale` times as wide and high as the one that the faces were found in, with what became
    of them."""
    if not faces:
        return picture
    finished = picture.copy()
    for face, pixels in zip(faces, restored, strict=True):
        put_back(finished, pixels, face.matrix, scale)
    return finished


def load_face_enhancer(folder: Path, device: torch.device, dtype: torch.dtype) -> FaceEnhancer:
    """A folder with YuNet's file, `detector.onnx`, and the network's, `restorer.safetensors`.

    Raises `GenerationFailed` if one is missing or can't be read.
    """
    for name in (DETECTOR, RESTORER):
        if not (folder / name).is_file():
            raise GenerationFailed(
                f"face_enhance needs a file that the server lacks, {name}: put YuNet's ONNX file and the "
                f"weights of GFPGAN or RestoreFormer into one folder, as {DETECTOR} and {RESTORER}."
            )
    try:
        detector = FaceDetector(folder / DETECTOR)
    except cv2.error as exc:
        raise unreadable("The detector of faces") from exc
    model = read_descriptor("The restorer of faces", folder / RESTORER, device, dtype)
    if model.purpose != "FaceSR":
        raise GenerationFailed(
            "The restorer of faces is no network that restores faces: use GFPGAN or RestoreFormer."
        )
    return FaceEnhancer(detector, FaceRestorer(model))
