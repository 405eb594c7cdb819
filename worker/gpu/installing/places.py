"""Paths that clients name: below the models folder, and nowhere else."""

from pathlib import Path, PurePosixPath

from shared.errors import GenerationFailed

RECORD = "entry.json"
"""In the folder of each entry that was installed."""
NOTHING_THERE = "there is no such file or folder below the models folder"
OUTSIDE = "it leads out of the models folder: send a path below it, relative to it"


def below(models_folder: Path, path: str) -> Path:
    """The place itself, links followed. Raises `GenerationFailed` if it is elsewhere, or another entry's."""
    root = models_folder.resolve()
    try:
        place = (root / path).resolve()
        inner = place.relative_to(root)
        place.exists()  # raises for what no file can be called
    except OSError:
        raise GenerationFailed(NOTHING_THERE) from None
    except (ValueError, RuntimeError):
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
    named = PurePosixPath(path)
    is_relative = bool(named.parts) and not named.is_absolute()  # `//etc` is absolute too
    return is_relative and ".." not in named.parts and "\\" not in path and "\0" not in path
