"""The engine's thread: starts programs, gives lanes their turns, hands out answers.

It is the only thread that touches the device. It knows nothing of diffusion: what a forward is, the asks say
(worker/gpu/painting). Nothing here waits for a network, a disk or an encoder.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Hashable
from collections.abc import Sequence as Items
from functools import partial
from typing import Any

import torch

from worker.gpu.engine.ask import Ask
from worker.gpu.engine.batching import DeviceLost, run_split
from worker.gpu.engine.lane import Entry, Lane
from worker.gpu.engine.memory import MemoryModel, meter_for
from worker.gpu.engine.observer import Observer
from worker.gpu.engine.pace import Pace
from worker.gpu.engine.rendering import Program, Rendering, T
from worker.gpu.engine.sequence import Sequence

logger = logging.getLogger(__name__)


class Engine:
    """Batches the denoising steps of all renderings on one device.

    Sequences join and leave at any step. `on_fatal` is called, from the engine's thread, when the device or
    the engine itself can't go on; nothing is repaired in place. `make_room` frees what the device holds but
    nobody uses, when a single ask does not fit; it tells whether it could free anything. `observer` hears
    what the engine does.
    """

    def __init__(
        self,
        *,
        lane_width: int,
        device: torch.device,
        on_fatal: Callable[[BaseException], None],
        make_room: Callable[[], bool] = lambda: False,
        memory: MemoryModel | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._lane_width = lane_width
        self._on_fatal = on_fatal
        self._make_room = make_room
        self._memory = memory or MemoryModel(meter_for(device))
        self._pace = Pace(device)
        self._observer = observer or Observer()
        self._told_until = 0.0
        self._inbox: queue.SimpleQueue[Rendering[Any] | None] = queue.SimpleQueue()
        self._lanes: dict[Hashable, Lane] = {}
        self._turn = 0
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End after the renderings that are in the engine."""
        self._inbox.put(None)
        self._thread.join()

    def submit(self, programs: Items[Program[T]]) -> Rendering[T]:
        """Start making pictures or films, one per program; returns at once. They join at the next step."""
        rendering = Rendering(programs)
        self._inbox.put(rendering)
        return rendering

    def stalled_s(self) -> float:
        """For how long the operation that runs now has been running; 0 when idle."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def _run(self) -> None:
        self._told_until = time.monotonic()
        try:
            with torch.inference_mode():
                while self._admit():
                    self._drop_ended()
                    if self._lanes:
                        self._tick()
                    self._tell_that_it_was_busy()
        except BaseException as exc:
            logger.exception("the engine can't go on")
            self._on_fatal(exc)

    def _admit(self) -> bool:
        """Take in what has arrived, waiting only if there is nothing to do. False: the engine is to end."""
        while not self._inbox.empty() or not self._lanes:
            self._busy_since = None
            rendering = self._next()
            if rendering is None:
                if not self._lanes:
                    return False
                self._inbox.put(None)  # finish what is here first
                break
            for index in range(len(rendering.programs)):
                sequence = Sequence(rendering, index)
                self._go_on(sequence, sequence.start)
        return True

    def _next(self) -> Rendering[Any] | None:
        """What has arrived; waits for it."""
        if self._inbox.empty():
            self._tell_that_it_was_busy()
            rendering = self._inbox.get()
            self._told_until = time.monotonic()
            return rendering
        return self._inbox.get()

    def _tell_that_it_was_busy(self) -> None:
        now = time.monotonic()
        self._observer.was_busy(now - self._told_until)
        self._told_until = now

    def _drop_ended(self) -> None:
        for lane in self._lanes.values():
            for entry in lane.drop_ended():
                self._end(entry.sequence)
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane}

    def _tick(self) -> None:
        """One forward for the lane that has waited longest, urgent ones first."""
        lane = min(self._lanes.values(), key=lambda each: (not each.first.urgent, each.last_turn))
        self._turn += 1
        lane.last_turn = self._turn
        batch = lane.take(self._lane_width, self._memory.most_rows(lane.first.shape))
        began = time.monotonic()
        answers = run_split(self._forward, [entry.ask for entry in batch], on_out_of_memory=self._narrow)
        self._pace.keep()
        self._observer.ticked(batch[0].ask.work, len(batch), time.monotonic() - began)
        for entry, answer in zip(batch, answers, strict=True):
            sequence = entry.sequence
            if sequence.rendering.is_over:  # cancelled during this forward: its slot still waits
                self._end(sequence)
            else:
                self._go_on(sequence, partial(sequence.take, entry.position, answer))

    def _forward(self, asks: Items[Ask[Any]]) -> Items[Any]:
        self._busy_since = time.monotonic()
        first, rows = asks[0], sum(ask.rows for ask in asks)
        with self._memory.measured(first.shape, rows):
            return first.answer(asks)

    def _narrow(self, asks: Items[Ask[Any]]) -> bool:
        self._observer.ran_out_of_memory()
        if len(asks) > 1:
            self._memory.narrow(asks[0].shape, sum(ask.rows for ask in asks))
            has_room = True
        else:
            has_room = self._make_room()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return has_room

    def _go_on(self, sequence: Sequence, step: Callable[[], list[Ask[Any]]]) -> None:
        """Let the program run to its next asks, and queue them."""
        self._busy_since = time.monotonic()
        sequence.rendering.context.run(self._take_step, sequence, step)

    def _take_step(self, sequence: Sequence, step: Callable[[], list[Ask[Any]]]) -> None:
        try:
            asks = step()
        except (torch.AcceleratorError, DeviceLost) as exc:  # CUDA reports some errors late, at any call
            raise DeviceLost(str(exc)) from exc
        except Exception as exc:
            logger.exception("a picture failed")
            sequence.rendering.fail(exc)
            return
        for position, ask in enumerate(asks):
            lane = self._lanes.setdefault(ask.lane, Lane(self._turn))
            lane.add(Entry(ask, sequence, position))

    def _end(self, sequence: Sequence) -> None:
        sequence.rendering.context.run(self._put_away, sequence)

    @staticmethod
    def _put_away(sequence: Sequence) -> None:
        try:
            sequence.close()
        except Exception:
            logger.exception("a picture was not put away properly")
        finally:
            sequence.rendering.leave()
