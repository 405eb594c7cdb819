"""The engine's thread: admits renderings, gives lanes their turns, decodes what is finished.

It is the only thread that touches the device. Nothing here waits for a network, a disk or an encoder.
"""

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import torch

from worker.gpu.engine.batching import DeviceLost, run_split
from worker.gpu.engine.decoding import decode_latents
from worker.gpu.engine.lane import Lane, LaneKey, predict
from worker.gpu.engine.prompts import encode_prompts
from worker.gpu.engine.rendering import PictureRequest, Rendering
from worker.gpu.engine.sequence import Sequence
from worker.gpu.models import LoadedModel

logger = logging.getLogger(__name__)


class Engine:
    """Batches the denoising steps of all renderings on one device.

    Sequences join and leave at any step. `on_fatal` is called, from the engine's thread, when the device or
    the engine itself can't go on; nothing is repaired in place.
    """

    def __init__(self, *, lane_width: int, on_fatal: Callable[[BaseException], None]) -> None:
        self._lane_width = lane_width
        self._on_fatal = on_fatal
        self._inbox: queue.SimpleQueue[tuple[LoadedModel, Rendering] | None] = queue.SimpleQueue()
        self._lanes: dict[LaneKey, Lane] = {}
        self._turn = 0
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End after the renderings that are in the engine."""
        self._inbox.put(None)
        self._thread.join()

    def submit(self, model: LoadedModel, requests: list[PictureRequest]) -> Rendering:
        """Start making pictures; returns at once. The rendering joins at the next step."""
        rendering = Rendering(requests)
        self._inbox.put((model, rendering))
        return rendering

    def stalled_s(self) -> float:
        """For how long the operation that runs now has been running; 0 when idle."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def _run(self) -> None:
        try:
            while self._admit():
                self._drop_cancelled()
                if self._lanes:
                    self._tick()
        except BaseException as exc:
            logger.exception("the engine can't go on")
            self._on_fatal(exc)

    def _admit(self) -> bool:
        """Take in what has arrived, waiting only if there is nothing to step. False: the engine is to end."""
        self._busy_since = None
        arrived: list[tuple[LoadedModel, Rendering]] = []
        while not self._inbox.empty() or not (arrived or self._lanes):
            item = self._inbox.get()
            if item is None:
                if self._lanes or arrived:
                    self._inbox.put(None)  # finish what is here first
                    break
                return False
            arrived.append(item)
        by_model: dict[str, list[tuple[LoadedModel, Rendering]]] = defaultdict(list)
        for model, rendering in arrived:
            by_model[model.model_id].append((model, rendering))
        for group in by_model.values():
            self._begin(group[0][0], [rendering for _, rendering in group])
        return True

    def _begin(self, model: LoadedModel, renderings: list[Rendering]) -> None:
        """Encode the prompts of `renderings` together and put their sequences into lanes."""
        self._busy_since = time.monotonic()
        requests = [request for rendering in renderings for request in rendering.requests]
        texts = sorted({text for request in requests for text in (request.prompt, request.negative_prompt)})
        encoded = dict(zip(texts, run_split(partial(encode_prompts, model), texts), strict=True))
        for rendering in renderings:
            try:
                sequences = [
                    Sequence(rendering, index, model, _embeddings(request, encoded))
                    for index, request in enumerate(rendering.requests)
                ]
            except torch.AcceleratorError as exc:
                raise DeviceLost(str(exc)) from exc
            except Exception as exc:
                logger.exception("a rendering could not begin")
                rendering.fail(exc)
                continue
            for sequence in sequences:
                self._join(sequence)

    def _join(self, sequence: Sequence) -> None:
        key = LaneKey.of(sequence)
        if key not in self._lanes:
            self._lanes[key] = Lane(sequence.model, key, self._lane_width, self._turn)
        sequence.last_turn = self._turn
        self._lanes[key].sequences.append(sequence)

    def _drop_cancelled(self) -> None:
        for lane in self._lanes.values():
            for sequence in lane.sequences:
                if sequence.rendering.is_over:
                    sequence.rendering.leave()
            lane.sequences = [each for each in lane.sequences if not each.rendering.is_over]
        self._lanes = {key: lane for key, lane in self._lanes.items() if lane.sequences}

    def _tick(self) -> None:
        """One forward for the lane that has waited longest."""
        lane = min(self._lanes.values(), key=lambda each: each.last_turn)
        self._turn += 1
        lane.last_turn = self._turn
        batch = lane.pick()
        self._busy_since = time.monotonic()
        predictions = run_split(partial(predict, lane.model), batch, on_out_of_memory=lane.narrow)
        for sequence, prediction in zip(batch, predictions, strict=True):
            sequence.last_turn = self._turn
            self._advance(sequence, prediction)
        finished = [sequence for sequence in batch if sequence.is_finished]
        if finished:
            lane.sequences = [each for each in lane.sequences if not each.is_finished]
            self._finish(lane.model, finished)

    def _advance(self, sequence: Sequence, prediction: torch.Tensor | Exception) -> None:
        try:
            if isinstance(prediction, Exception):
                raise prediction
            with torch.inference_mode():
                sequence.advance(prediction)
        except torch.AcceleratorError as exc:  # CUDA reports some errors late, at any later call
            raise DeviceLost(str(exc)) from exc
        except Exception as exc:
            logger.exception("a sequence failed", extra={"step_of": sequence.request.scheduler})
            sequence.rendering.fail(exc)

    def _finish(self, model: LoadedModel, finished: list[Sequence]) -> None:
        self._busy_since = time.monotonic()
        wanted = []
        for sequence in finished:
            if sequence.rendering.is_over:
                sequence.rendering.leave()  # cancelled during its last forward: its slot still waits
            else:
                wanted.append(sequence)
        if not wanted:
            return
        pictures = run_split(partial(decode_latents, model), [sequence.latents for sequence in wanted])
        for sequence, picture in zip(wanted, pictures, strict=True):
            if isinstance(picture, Exception):
                sequence.rendering.fail(picture)
            else:
                sequence.rendering.deliver(sequence.index, picture)


def _embeddings(request: PictureRequest, encoded: dict[str, torch.Tensor | Exception]) -> torch.Tensor:
    """Guidance of 1 or less means no negative prompt, and one row instead of two."""
    texts = [request.prompt] if request.guidance_scale <= 1 else [request.negative_prompt, request.prompt]
    rows = []
    for text in texts:
        row = encoded[text]
        if isinstance(row, Exception):
            raise row
        rows.append(row)
    return torch.cat(rows)
