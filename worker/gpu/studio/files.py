"""Encodes what was made into the files that clients fetch; in slots, never on the engine's thread."""

import base64
import io

from PIL import Image

from shared.jobs import AnySpec, PictureSpec
from worker.gpu.engine.rendering import Pixels
from worker.gpu.filming import encode_mp4
from worker.gpu.studio.tools import Made

PNG_COMPRESSION = 3
"""zlib level: 3 costs a third of the default's time for a few per cent more bytes."""


def files_of(spec: AnySpec, made: Made) -> list[bytes]:
    """The files' contents, in the order of `spec.file_names`: MP4, PNG, or its base64 text."""
    if made.film is not None:
        return [encode_mp4(made.film)]
    as_base64 = isinstance(spec, PictureSpec) and spec.base64
    pngs = (encode_png(picture) for picture in made.pictures)
    return [base64.b64encode(png) if as_base64 else png for png in pngs]


def encode_png(picture: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=PNG_COMPRESSION)
    return buffer.getvalue()
