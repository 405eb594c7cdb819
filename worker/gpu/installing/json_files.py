"""Reads and writes the configs that lie beside weights."""

import json
from pathlib import Path
from typing import Any

from shared.errors import GenerationFailed


def read_json(file: Path) -> dict[str, Any]:
    """Raises `GenerationFailed` if the file holds no JSON object."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise GenerationFailed(f"its {file.name} is broken")
    return content


def change_json(file: Path, **changes: Any) -> None:
    """Replace some of an object's fields."""
    file.write_text(json.dumps(read_json(file) | changes, indent=2) + "\n")
