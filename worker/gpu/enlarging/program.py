"""The program that enlarges one picture, tile by tile, so that other pictures' steps come between."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.gpu.engine import Note, Picture, Pixels, Steps
from worker.gpu.enlarging.faces import Face, restored, with_faces
from worker.gpu.enlarging.resizing import resize_to
from worker.gpu.enlarging.tiling import Mosaic, cut
from worker.gpu.enlarging.upscaler import Upscaler, part_of

AT_ONCE = 8
"""Tiles whose answers are held at a time."""


@dataclass(frozen=True, eq=False)
class EnlargeRequest:
    """Everything that determines the enlarged picture, besides the upscaler."""

    pixels: Pixels
    scale: float
    """1 to 4; 1 is for cleaning: enlarged and shrunk again."""
    faces: tuple[Face, ...] = ()
    """What a `FaceEnhancer` found in the pixels, to be restored."""
    deterministic: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the result."""
        height, width, _ = self.pixels.shape
        return round(width * self.scale), round(height * self.scale)


def enlarge_picture(upscaler: Upscaler, request: EnlargeRequest, note: Note) -> Steps[Picture]:
    """A picture of `request.size`.

    Besides the given one it holds the picture at two stages at a time, and the answers of `AT_ONCE` tiles.
    """
    alone = object() if request.deterministic else None
    height, width, _ = request.pixels.shape
    scale = request.size[0] / width, request.size[1] / height
    faces = yield from restored(request.faces, alone)
    develop = yield from enlarge_to(upscaler, request.pixels, request.size, alone, note)
    return Picture(lambda: with_faces(develop(), request.faces, faces, scale))


def enlarge_to(
    upscaler: Upscaler | None, picture: Pixels, size: tuple[int, int], alone: object, note: Note
) -> Steps[Callable[[], Pixels]]:
    """Runs the network as often as the size needs, at least once; returns what is left to do for a thread
    that is not the engine's. Without an upscaler that is all."""
    enlarged = picture
    if upscaler is not None:
        passes = _passes(upscaler.scale, max(size[0] / picture.shape[1], size[1] / picture.shape[0]))
        areas = [upscaler.scale ** (2 * index) for index in range(passes)]
        for index, area in enumerate(areas):
            begin = sum(areas[:index]) / sum(areas)
            part = part_of(note, begin, area / sum(areas))
            enlarged = yield from _in_tiles(upscaler, enlarged, alone, part)
    return lambda: enlarged if enlarged.shape[1::-1] == size else resize_to(enlarged, size)


def largest_pixels(upscaler: Upscaler, pixels: int, scale: float) -> int:
    """Of the largest picture on the way, which may be far larger than the result."""
    return int(pixels * upscaler.scale ** (2 * _passes(upscaler.scale, scale)))


def _in_tiles(upscaler: Upscaler, picture: Pixels, alone: object, note: Note) -> Steps[Pixels]:
    """`upscaler.scale` times as large."""
    tiles = cut(picture, upscaler.side, upscaler.overlap)
    mosaic = Mosaic(tiles, upscaler.scale)
    count = len(tiles.pieces)
    for begin in range(0, count, AT_ONCE):
        some = tiles.pieces[begin : begin + AT_ONCE]
        places = tiles.places[begin : begin + AT_ONCE]
        part = part_of(note, begin / count, len(some) / count)
        enlarged = yield from upscaler.steps(some, places, alone, part)
        for tile in enlarged:
            mosaic.add(tile)
    return mosaic.pixels


def _passes(factor: int, scale: float) -> int:
    passes = 1
    while factor**passes < scale:
        passes += 1
    return passes
