"""Paths that clients name: below the models folder, and nowhere else."""

from pathlib import Path, PurePosixPath

from shared.errors import GenerationFailed

RECORD = "entry.json"
"""In the folder of each entry that was installed."""
OUTSIDE = "it leads out of the models folder: send a path below it, relative to it"


def below(models_folder: Path, path: str) -> Path:
    """The place itself, links followed. Raises `GenerationFailed` if it is elsewhere, or another entry's."""
    root = models_folder.resolve()
    try:
        place = (root / path).resolve()
        inner = place.relative_to(root)
    except (ValueError, OSError, RuntimeError):
        raise GenerationFailed(OUTSIDE) from None
    if place == root or any(part.startswith(".") for part in inner.parts):
        raise GenerationFailed(OUTSIDE)
    if (root / inner.parts[0] / RECORD).exists():
        raise GenerationFailed("it belongs to a model that was loaded before: send a path of its own")
    return place


def require_closed(place: Path, models_folder: Path) -> None:
    """Raises `GenerationFailed` if something in the folder is a link that leads out of the models folder."""
    root = models_folder.resolve()
    for file in place.rglob("*"):
        if file.is_symlink() and not file.resolve().is_relative_to(root):
            raise GenerationFailed(
                "there is a link in it that leads out of the models folder: put files there"
            )


def is_inside(path: str) -> bool:
    """Whether a path that a server names stays in the folder that it is put into."""
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and "\\" not in path and "\0" not in path
