"""Makes what a job asks for, from its spec and its input pictures. Knows no ledger and no storage."""

from worker.gpu.studio.studio import Studio
from worker.gpu.studio.tools import Inputs, Made

__all__ = ["Inputs", "Made", "Studio"]
