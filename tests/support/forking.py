"""Forks processes from one that has done their imports: they are back in a second instead of seven.

What runs in a fork is what `python -m` runs: nothing of ours was imported that reads settings. An order is a
line of JSON on stdin, and so is its answer on stdout. See nursery.py for who gives the orders.
"""

import gc
import importlib
import json
import os
import random
import runpy
import signal
import sys
from types import FrameType
from typing import Any

IMPORTED = (
    *("api.app", "api.connection", "uvicorn", "uvicorn.lifespan.on", "uvicorn.loops.uvloop"),
    *("celery.apps.worker", "celery.bin.celery", "celery.concurrency.thread", "celery.worker.worker"),
    *(
        "celery.app.amqp",
        "celery.app.control",
        "celery.app.events",
        "celery.app.log",
        "celery.worker.consumer",
    ),
    *("kombu.transport.redis", "redis.asyncio", "worker.dispatcher.sender", "worker.process"),
    *("worker.gpu.installing", "worker.gpu.loader", "worker.gpu.slot", "worker.gpu.studio"),
    *("worker.gpu.attending", "worker.gpu.making", "worker.gpu.orders", "worker.gpu.watchdog"),
)
"""What our processes import, and with it torch, diffusers and transformers: all but their entry points."""

_ended: dict[int, int] = {}
"""Exit codes by process ids."""


def main() -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    gc.freeze()  # else the first collection of each fork would copy all that they share
    signal.signal(signal.SIGCHLD, _reap)
    _say("ready")
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        if pid := order.get("ended"):
            _say(_ended.get(pid))
        elif not os.fork():
            _become(order)
            runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
            return


def _reap(_number: int, _frame: FrameType | None) -> None:
    """At once, so that who looks for a process that has ended finds none."""
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            _ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    except ChildProcessError:
        return


def _become(order: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _say(os.getpid())  # now it can be signalled, and its log be read
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = [order["module"], *order["words"]]
    random.seed()


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
