"""Runs a step again and again, each time in a process that is killed one line of code later than the last."""

import os
import signal
import sys
from collections.abc import Callable, Collection
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import TraceFunction

MOST_LINES = 500


def killed_at_every_line(
    modules: Collection[str], step: Callable[[], None], before: Callable[[], None] = lambda: None
) -> int:
    """`before` is called here before each run; only lines of these modules count. How many runs were killed.

    Forks, so it must be called where no threads are.
    """
    for run in range(MOST_LINES):
        before()
        child = os.fork()
        if child == 0:
            _kill_after(run, modules)
            step()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return run
    raise AssertionError(f"not done after {MOST_LINES} lines")


def _kill_after(lines: int, modules: Collection[str]) -> None:
    left = lines

    def on_line(frame: FrameType, event: str, _: object) -> "TraceFunction | None":
        nonlocal left
        if frame.f_globals.get("__name__") not in modules:
            return None
        if event == "line":
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return on_line

    sys.settrace(on_line)
