"""Installs models: fetches their files, checks what they are, and keeps them in layouts that are read here.

Registers nothing: what it made is an `Entry` and, below the models folder, the entry's files.
"""

from worker.gpu.installing.effort import Effort
from worker.gpu.installing.installer import Installer

__all__ = ["Effort", "Installer"]
