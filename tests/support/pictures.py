"""Reads pictures from files and URLs, closed again at once."""

import io
from pathlib import Path

import httpx
from PIL import Image


def read_picture(source: Path | bytes) -> Image.Image:
    """The decoded picture, whatever its source."""
    with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as picture:
        picture.load()
        return picture.copy()


def download_picture(link: str) -> Image.Image:
    return read_picture(httpx.get(link).raise_for_status().content)
