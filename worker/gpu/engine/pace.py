"""Keeps the engine's thread from running far ahead of a device that works asynchronously."""

from collections import deque

import torch

AHEAD = 2
"""Forwards that may be queued: enough that the device never waits, few enough that a new job joins soon."""


class Pace:
    """On the CPU, where every forward is done when it returns, this does nothing."""

    def __init__(self, device: torch.device) -> None:
        self._is_asynchronous = device.type == "cuda"
        self._queued: deque[torch.cuda.Event] = deque()

    def keep(self) -> None:
        """Call after each forward; waits for the one before the last."""
        if not self._is_asynchronous:
            return
        event = torch.cuda.Event()
        event.record()
        self._queued.append(event)
        if len(self._queued) > AHEAD:
            self._queued.popleft().synchronize()
