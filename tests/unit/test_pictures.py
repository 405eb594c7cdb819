"""Clients' pictures become upright 8-bit pixels, or one sentence that says what to send instead."""

import io
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from shared.errors import BadPicture
from shared.pictures import read_mask, read_picture, written_as
from shared.settings import Settings

LIMITS = Settings()
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
CORNERS = {(4, 4): RED, (27, 4): GREEN, (4, 19): BLUE, (27, 19): YELLOW}
"""Where a test looks, and what it sees: 32 x 24 pixels in four quarters."""
WEBP_ANIMATION = {"save_all": True, "lossless": True}


def quarters(mode: str = "RGB") -> Image.Image:
    picture = Image.new("RGB", (32, 24))
    for (x, y), colour in CORNERS.items():
        picture.paste(colour, (x // 16 * 16, y // 12 * 12, x // 16 * 16 + 16, y // 12 * 12 + 12))
    return picture.convert(mode)


def file(picture: Image.Image, kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of kinds that Pillow can't write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def assert_close(seen: Any, expected: tuple[int, ...], tolerance: int) -> None:
    assert max(abs(a - b) for a, b in zip(seen, expected, strict=True)) <= tolerance, (seen, expected)


FORMATS = {
    "png": (lambda: file(quarters(), "PNG"), 0),
    "interlaced palette": (lambda: file(quarters("P"), "PNG"), 0),
    "jpeg": (lambda: file(quarters(), "JPEG", quality=95), 12),
    "progressive jpeg": (lambda: file(quarters(), "JPEG", quality=95, progressive=True), 12),
    "cmyk jpeg": (lambda: file(quarters("CMYK"), "JPEG", quality=95), 12),
    "jpeg of two pictures": (
        lambda: file(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (32, 24))]),
        12,
    ),
    "webp": (lambda: file(quarters(), "WEBP", quality=95), 40),
    "lossless webp": (lambda: file(quarters(), "WEBP", lossless=True), 0),
    "animated webp": (
        lambda: file(quarters(), "WEBP", append_images=[Image.new("RGB", (32, 24))], **WEBP_ANIMATION),
        0,
    ),
    "gif": (lambda: file(quarters(), "GIF"), 0),
    "animated gif": (
        lambda: file(quarters(), "GIF", save_all=True, append_images=[Image.new("RGB", (32, 24))]),
        0,
    ),
    "animated png": (
        lambda: file(quarters(), "PNG", save_all=True, append_images=[Image.new("RGB", (32, 24))]),
        0,
    ),
    "bmp": (lambda: file(quarters(), "BMP"), 0),
}


@pytest.mark.parametrize(("make", "tolerance"), FORMATS.values(), ids=FORMATS)
def test_every_usual_format_is_read_with_its_colours(make: Callable[[], bytes], tolerance: int) -> None:
    picture = read_picture(make(), LIMITS)

    assert (picture.mode, picture.size) == ("RGB", (32, 24))
    for place, colour in CORNERS.items():
        assert_close(picture.getpixel(place), colour, tolerance)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "I;16"])
def test_every_kind_of_grey_keeps_its_levels(mode: str) -> None:
    grey = Image.new("L", (32, 24), 255)
    grey.paste(0, (16, 0, 32, 24))
    if mode == "I;16":
        grey = grey.convert("I").point(lambda level: level * 257)
    content = file(grey.convert(mode), "PNG")

    assert [read_picture(content, LIMITS).getpixel((x, 4)) for x in (4, 27)] == [WHITE, BLACK]
    assert [read_mask(content, LIMITS).getpixel((x, 4)) for x in (4, 27)] == [255, 0]


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    levels = (0, 300, 0x4080, 0x80FF, 0xFFFF)
    row = b"\0" + b"".join(struct.pack(">H", level) * 8 for level in levels)
    rgb_row = b"\0" + b"".join(struct.pack(">HHH", level, 0, level) * 8 for level in levels)

    grey = read_mask(png(40, 8, 16, 0, row * 8), LIMITS)
    colour = read_picture(png(40, 8, 16, 2, rgb_row * 8), LIMITS)

    assert [grey.getpixel((x, 4)) for x in range(4, 40, 8)] == [0, 1, 0x40, 0x80, 255]
    assert [colour.getpixel((x, 4)) for x in range(4, 40, 8)] == [(n, 0, n) for n in (0, 1, 0x40, 0x80, 255)]


UPRIGHT = {
    1: (RED, GREEN, BLUE, YELLOW),
    2: (GREEN, RED, YELLOW, BLUE),
    3: (YELLOW, BLUE, GREEN, RED),
    4: (BLUE, YELLOW, RED, GREEN),
    5: (RED, BLUE, GREEN, YELLOW),
    6: (BLUE, RED, YELLOW, GREEN),
    7: (YELLOW, GREEN, BLUE, RED),
    8: (GREEN, YELLOW, RED, BLUE),
}
"""Orientation → the four quarters of a viewer's picture (top left, top right, bottom left, bottom right)."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_turned_picture_is_turned_upright(orientation: int, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    content = file(quarters(), kind, exif=exif(orientation), **options)

    picture = read_picture(content, LIMITS)

    right, bottom = picture.width - 5, picture.height - 5
    assert picture.size == ((32, 24) if orientation < 5 else (24, 32))
    for place, colour in zip(
        ((4, 4), (right, 4), (4, bottom), (right, bottom)), UPRIGHT[orientation], strict=True
    ):
        assert_close(picture.getpixel(place), colour, 12)


def half_clear(mode: str) -> Image.Image:
    """Opaque red on the left, nothing on the right."""
    picture = Image.new("RGBA", (32, 24), (*RED, 255))
    picture.paste((*BLACK, 0), (16, 0, 32, 24))
    return picture.convert(mode)


def clear_palette() -> bytes:
    picture = Image.new("P", (32, 24), 0)
    picture.putpalette([*RED, *GREEN])
    picture.paste(1, (16, 0, 32, 24))
    return file(picture, "PNG", transparency=b"\xff\x00")


CLEAR = {
    "rgba png": lambda: file(half_clear("RGBA"), "PNG"),
    "rgba webp": lambda: file(half_clear("RGBA"), "WEBP", lossless=True),
    "palette with levels": clear_palette,
    "gif": lambda: file(half_clear("RGBA"), "GIF"),
    "one clear colour": lambda: file(quarters_of_two(), "PNG", transparency=GREEN),
    "16-bit": lambda: png(
        32, 8, 16, 6, (b"\0" + b"\xff\xff\0\0\0\0\xff\xff" * 16 + b"\xff\xff" + b"\0" * 6 + b"\0" * 120) * 8
    ),
}


def quarters_of_two() -> Image.Image:
    picture = Image.new("RGB", (32, 24), RED)
    picture.paste(GREEN, (16, 0, 32, 24))
    return picture


@pytest.mark.parametrize("make", CLEAR.values(), ids=CLEAR)
def test_what_is_transparent_is_white_in_pictures_and_black_in_masks(make: Callable[[], bytes]) -> None:
    picture, mask = read_picture(make(), LIMITS), read_mask(make(), LIMITS)

    assert (picture.mode, mask.mode) == ("RGB", "L")
    assert [picture.getpixel((4, 4)), picture.getpixel((27, 4))] == [RED, WHITE]
    assert [mask.getpixel((4, 4)), mask.getpixel((27, 4))] == [76, 0]


def test_white_strokes_on_a_transparent_sheet_are_a_mask() -> None:
    sheet = Image.new("RGBA", (32, 24), (0, 0, 0, 0))
    sheet.paste((255, 255, 255, 255), (0, 0, 16, 24))

    mask = read_mask(file(sheet, "PNG"), LIMITS)

    assert [mask.getpixel((x, 4)) for x in (4, 27)] == [255, 0]


WHOLE = file(quarters(), "PNG")
SVG = b'<?xml version="1.0"?><!-- drawn --><svg xmlns="http://www.w3.org/2000/svg"></svg>'
BAD = {
    "empty": (b"", "the file is empty"),
    "html": (b"\n <!DOCTYPE html><html><svg></svg></html>", "the file is an HTML page"),
    "html without doctype": (b"\xef\xbb\xbf<HTML lang=en>", "the file is an HTML page"),
    "svg": (SVG, "the file is an SVG drawing, which has no pixels"),
    "json": (b' {"error": "expired"}', "the file is JSON"),
    "text": ("No such picture, déjà vu".encode() * 60, "the file is text"),
    "unsupported": (file(quarters(), "TIFF"), "the file's format can't be read"),
    "noise": (random.Random(1).randbytes(4000), "the file's format can't be read"),
    "small": (file(Image.new("RGB", (7, 90)), "PNG"), "the picture has only 7 x 90 pixels"),
    "large": (png(10_000, 10_000, 1, 0, b""), "the picture has 10000 x 10000 pixels"),
    "bomb": (png(2**31 - 1, 2**31 - 1, 8, 2, b""), "the picture is too large"),
    "gif with a frame far beyond its screen": (
        file(quarters(), "GIF").replace(b",\0\0\0\0 \0\x18\0", b",\0\0\0\0\xff\x7f\xff\x0f"),
        "the picture has 32767 x 4095 pixels",
    ),
    "damaged": (WHOLE[:40] + b"?" + WHOLE[41:], "the PNG file is damaged or cut short"),
}


@pytest.mark.parametrize(("content", "sentence"), BAD.values(), ids=BAD)
def test_what_cant_be_used_gets_its_own_sentence(content: bytes, sentence: str) -> None:
    for read in (read_picture, read_mask):
        with pytest.raises(BadPicture) as caught:
            read(content, LIMITS)

        assert caught.value.detail.startswith(f"{sentence}; send ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_file_that_is_cut_short_is_refused(kind: str, share: float) -> None:
    noise = Image.frombytes("RGB", (64, 64), random.Random(2).randbytes(64 * 64 * 3))
    content = file(noise, kind)

    with pytest.raises(BadPicture, match=f"the {kind} file is damaged or cut short; send it whole"):
        read_picture(content[: max(16, int(len(content) * share))], LIMITS)


def test_the_limit_of_pixels_is_the_operators() -> None:
    fewer = Settings(input_max_pixels=32 * 24 - 1)

    with pytest.raises(BadPicture, match=r"32 x 24 pixels; send one of at most 767 pixels in all"):
        read_picture(WHOLE, fewer)
    assert read_picture(WHOLE, Settings(input_max_pixels=32 * 24)).size == (32, 24)


DAMAGED_EXIF = exif(6)[:-7]


def broken_files(kind: str, copies: int) -> Iterator[bytes]:
    """The same file with a few bytes changed, differently each time."""
    options = {"exif": exif(6)} if kind != "GIF" else {}
    whole, dice = file(quarters(), kind, **options), random.Random(kind)
    for _ in range(copies):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        yield bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_whatever_is_broken_in_a_file_it_is_read_or_refused(kind: str) -> None:
    outcomes = set()
    for content in broken_files(kind, 1500):
        try:
            outcomes.add(read_picture(content, LIMITS).mode)
        except BadPicture:
            outcomes.add("refused")

    assert outcomes == {"RGB", "refused"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(file(quarters(), "JPEG", exif=DAMAGED_EXIF), id="damaged exif"),
        pytest.param(file(quarters(), "JPEG", exif=b"Exif\0\0no such thing"), id="no exif"),
        pytest.param(png(32, 8, 8, 0, b"\0" * 33 * 8, (b"acTL", b"\0" * 8)), id="animation without frames"),
        pytest.param(png(10_000, 10_000, 1, 0, b""), id="between Pillow's limit and ours"),
    ],
)
def test_pillows_warnings_stay_inside(content: bytes) -> None:
    """In a process of its own: pytest has its own filters."""
    program = (
        "import sys; from shared.errors import BadPicture; from shared.settings import Settings\n"
        "from shared.pictures import read_picture\n"
        "try: print(read_picture(sys.stdin.buffer.read(), Settings()).size)\n"
        "except BadPicture as exc: print(exc.detail)"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], input=content, capture_output=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


def test_a_file_of_the_wanted_format_is_kept_as_it_is() -> None:
    jpeg = file(quarters(), "JPEG", exif=exif(6))

    assert written_as("JPEG", jpeg, LIMITS) == jpeg
    assert written_as("PNG", WHOLE, LIMITS) == WHOLE


def test_a_file_of_another_format_is_converted_upright_and_keeps_what_the_new_one_can_hold() -> None:
    turned = file(half_clear("RGBA"), "WEBP", lossless=True, exif=exif(6))

    with (
        Image.open(io.BytesIO(written_as("PNG", turned, LIMITS))) as as_png,
        Image.open(io.BytesIO(written_as("JPEG", turned, LIMITS))) as as_jpeg,
    ):
        assert (as_png.format, as_png.mode, as_png.size) == ("PNG", "RGBA", (24, 32))
        assert [as_png.getpixel((4, y)) for y in (4, 27)] == [(*RED, 255), (*BLACK, 0)]
        assert (as_jpeg.format, as_jpeg.mode) == ("JPEG", "RGB")
        assert_close(as_jpeg.getpixel((4, 27)), WHITE, 3)
        assert as_jpeg.getexif().get(0x0112, 1) == 1


def test_what_is_no_picture_is_not_converted_either() -> None:
    with pytest.raises(BadPicture, match="the file is JSON"):
        written_as("PNG", b"{}", LIMITS)
