"""The GPUs of this machine, and whose they are."""

import os
import shutil
import subprocess
from collections.abc import Sequence


def gpus() -> list[str]:
    """Those that this launcher may use, by the ids that CUDA_VISIBLE_DEVICES takes."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    return listed.stdout.split() if listed.returncode == 0 else []


def workers_of(found: Sequence[str], servers: int) -> list[tuple[str | None, ...]]:
    """For each server the CUDA_VISIBLE_DEVICES of each of its workers: the GPUs go round.

    A GPU is never shared, because each worker takes its memory for its own: a server that gets none has one
    worker on the CPU. Where no GPU is found, workers look for themselves (None).
    """
    if not found:
        return [(None,)] * servers
    return [tuple(found[number::servers]) or ("",) for number in range(servers)]
