"""The GPUs of this machine, and whose they are."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from shared.errors import Misconfigured


def gpus() -> list[str]:
    """Those that this launcher may use, as CUDA_VISIBLE_DEVICES takes them; of a split one its parts.

    Raises `Misconfigured`.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return _words(chosen)
    return [names[0] for names in listed(_listing())]


def chosen_gpus(asked: str) -> list[str]:
    """Those of this launcher's that `asked` names, separated by commas; all of them if it names none.

    Raises `Misconfigured`.
    """
    wanted = _words(asked)
    if not wanted:
        return gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = listed(_listing()) if visible is None else [(gpu,) for gpu in _words(visible)]
    known = {name: names for names in there for name in names}
    if missing := [gpu for gpu in wanted if gpu not in known]:
        owner = "this machine has" if visible is None else "CUDA_VISIBLE_DEVICES names"
        have = ", ".join(names[0] for names in there) or "none"
        raise Misconfigured(f"GPU {', '.join(missing)} is not there: {owner} {have}.")
    if len({known[gpu] for gpu in wanted}) < len(wanted):
        raise Misconfigured(
            f"A GPU is named twice in {asked}: each worker takes its GPU's memory for its own."
        )
    return wanted


def listed(listing: str) -> list[tuple[str, ...]]:
    """The names of each GPU in what `nvidia-smi -L` says: its number and its UUID, or the UUID of each of the
    parts that it is split into."""
    found: list[tuple[str, ...]] = []
    split: set[tuple[str, ...]] = set()
    whole: tuple[str, ...] = ()
    for line in listing.splitlines():
        if part := re.search(r"\(UUID: (MIG-[^)]+)\)", line):
            split.add(whole)
            found.append((part[1],))
        elif gpu := re.match(r"GPU (\d+): .*\(UUID: ([^)]+)\)", line):
            whole = (gpu[1], gpu[2])
            found.append(whole)
    return [names for names in found if names not in split]


def workers_of(found: Sequence[str], servers: int) -> list[tuple[str | None, ...]]:
    """For each server the CUDA_VISIBLE_DEVICES of each of its workers: the GPUs go round.

    A GPU is never shared, because each worker takes its memory for its own: a server that gets none has one
    worker on the CPU. Where no GPU is found, workers look for themselves (None).
    """
    if not found:
        return [(None,)] * servers
    return [tuple(found[number::servers]) or ("",) for number in range(servers)]


def _words(ids: str) -> list[str]:
    return [gpu.strip() for gpu in ids.split(",") if gpu.strip()]


def _listing() -> str:
    """Empty where there is no NVIDIA driver. Raises `Misconfigured` where there is one that does not work."""
    if not (program := shutil.which("nvidia-smi")):
        return ""
    asked = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    if asked.returncode:
        said = " ".join((asked.stdout + asked.stderr).split()) or f"status {asked.returncode}"
        raise Misconfigured(
            f"nvidia-smi can't list this machine's GPUs: {said}\n"
            'Mend the driver, or set CUDA_VISIBLE_DEVICES="" for workers on the CPU.'
        )
    return asked.stdout
