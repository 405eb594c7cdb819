"""Forks processes from one that has done their imports: they are back in a second instead of seven.

What runs in a fork is what `python -m` runs: nothing of ours was imported that reads settings. A line of JSON
in is an order, a line out its process id.
"""

import json
import os
import random
import runpy
import signal
import sys
from typing import Any


def main() -> None:

    import worker.dispatcher.sender
    import worker.gpu.installing
    import worker.gpu.loader
    import worker.gpu.slot
    import worker.gpu.studio  # noqa: F401 - torch, diffusers and transformers, read once for all forks

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here: the kernel forgets them
    print("ready", flush=True)
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        if child := os.fork():
            print(child, flush=True)
        else:
            _become(order)
            runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
            return


def _become(order: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = [order["module"], *order["words"]]
    random.seed()


if __name__ == "__main__":
    main()
