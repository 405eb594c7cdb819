"""Names of stored files. Those of finished ones are unguessable (the job's file prefix), so a URL is the
permission to read it."""

import re

from shared.jobs import TEMP_FOLDER, Role

CONTENT_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".mp4": "video/mp4",
    ".base64": "text/plain; charset=us-ascii",
}
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
FINISHED = re.compile(
    rf"(?:{TEMP_FOLDER})?(?:{_UUID}-\d+|\d+-{_UUID})(?:{'|'.join(map(re.escape, CONTENT_TYPES))})"
)
INPUT = re.compile(rf"{_UUID}-(?:{'|'.join(Role)})")


def input_name(file_prefix: str, role: Role) -> str:
    """Name of the input that a job uses in this role."""
    return f"{file_prefix}-{role}"


def checked(name: str, pattern: re.Pattern[str]) -> str:
    """The name, if it is one of ours: nothing else may become a path or a key."""
    if not pattern.fullmatch(name):
        raise ValueError(f"not a name of ours: {name!r}")
    return name
