"""Which pictures meet which fault of a device (see faulty.py)."""

from collections.abc import Mapping

SIDE = 64
"""Width of them all, and height of those that are made without any fault."""
SHAPES: Mapping[str, int] = {
    "segfault": 72,
    "hang": 80,
    "device lost": 88,
    "out of memory": 96,
    "poison": 104,
}
"""Fault → height."""
