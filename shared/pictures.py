"""Reads the pictures and masks that clients send: any usual format in, upright pixels of 8 bits out.

The only module of `shared` that knows Pillow. It fetches, stores and resizes nothing.
"""

import codecs
import io
import struct
import warnings
from typing import Literal

from PIL import ExifTags, Image

from shared.errors import BadPicture
from shared.settings import Settings

# Pillow warns of damaged metadata and large pictures. Both are dealt with below, and only a filter for the
# whole process is safe among threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

FileFormat = Literal["PNG", "JPEG"]
"""What pictures are written in."""
SMALLEST_SIDE = 8
JPEG_QUALITY = 95
READ = "a PNG, JPEG, WebP, GIF or BMP picture"

_BEGINNINGS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "GIF": b"GIF8", "BMP": b"BM"}
_FORMATS = (*_BEGINNINGS, "WEBP")
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, EOFError, struct.error)
"""What Pillow raises for files that don't keep to their format."""
_HEAD = 1024


def read_picture(content: bytes, limits: Settings) -> Image.Image:
    """The first frame in RGB, upright, with white where it is transparent. Raises `BadPicture`."""
    return _on_ground(_decode(content, limits), "white")


def read_mask(content: bytes, limits: Settings) -> Image.Image:
    """The first frame in L, upright, with black where it is transparent: white strokes on a transparent
    sheet are a mask. Raises `BadPicture`."""
    return _on_ground(_decode(content, limits), "black").convert("L")


def written_as(wanted: FileFormat, content: bytes, limits: Settings) -> bytes:
    """The picture as a file of that format: untouched if it is one. Raises `BadPicture`."""
    picture = _decode(content, limits)
    if _format_of(content) == wanted:
        return content
    if wanted == "JPEG":
        picture = _on_ground(picture, "white")
    file = io.BytesIO()
    picture.convert("RGBA" if picture.has_transparency_data else "RGB").save(
        file, wanted, quality=JPEG_QUALITY
    )
    return file.getvalue()


def _decode(content: bytes, limits: Settings) -> Image.Image:
    """Upright, with 8 bits per channel. The size is checked before any pixel is decoded."""
    kind = _format_of(content)
    if kind is None:
        raise BadPicture(_what_else(content))
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            _check_size(picture.size, limits.input_max_pixels)
            picture.load()
            return _upright(_in_eight_bits(picture))
    except Image.DecompressionBombError:
        raise BadPicture(f"the picture is too large; {_advice(limits.input_max_pixels)}") from None
    except _DAMAGE:
        raise BadPicture(f"the {kind} file is damaged or cut short; send it whole") from None


def _format_of(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    return next((name for name, start in _BEGINNINGS.items() if content.startswith(start)), None)


def _check_size(size: tuple[int, int], most_pixels: int) -> None:
    width, height = size
    if width * height > most_pixels:
        raise BadPicture(f"the picture has {width} x {height} pixels; {_advice(most_pixels)}")
    if min(size) < SMALLEST_SIDE:
        raise BadPicture(
            f"the picture has only {width} x {height} pixels; "
            f"send one of at least {SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )


def _advice(most_pixels: int) -> str:
    return f"send one of at most {most_pixels:,} pixels in all"


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """Pillow's own conversion of 16-bit grey clips: everything above 255 would be white."""
    return picture.point(lambda level: level / 256).convert("L") if picture.mode == "I;16" else picture


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        orientation = 1  # damaged metadata is no reason to refuse good pixels
    method = _TRANSPOSITIONS.get(orientation)
    return picture if method is None else picture.transpose(method)


def _on_ground(picture: Image.Image, ground: str) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    flat = Image.new("RGB", picture.size, ground)
    flat.paste(clear, mask=clear)
    return flat


def _what_else(content: bytes) -> str:
    """What a file that is no picture seems to be, and what to send instead."""
    if not content:
        return f"the file is empty; send {READ}"
    head = content[:_HEAD]
    if not _is_text(head):
        return f"the file's format can't be read; send {READ}"
    start = head.decode(errors="ignore").removeprefix("\ufeff").lstrip().lower()
    if start.startswith(("<!doctype html", "<html")):
        return f"the file is an HTML page; send {READ}, or the address of the picture itself"
    if "<svg" in start:
        return f"the file is an SVG drawing, which has no pixels; send {READ}"
    if start.startswith(("{", "[")):
        return f"the file is JSON; send {READ}"
    return f"the file is text; send {READ}"


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() or character == "\ufeff" for character in text)
