"""Ties processes to the one that started them, so that kill -9 of the launcher leaves none behind.

`python -m deploy.tether PARENT_PID COMMAND...` becomes COMMAND, which the kernel kills when PARENT_PID ends.
Linux only; elsewhere the command just runs.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int, ending: signal.Signals) -> None:
    """Have the kernel send `ending` to this process when its parent ends, or now if it has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(ending))
        if os.getppid() != parent_pid:
            os.kill(os.getpid(), ending)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]), signal.SIGKILL)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the launcher's own words, no shell
