"""LoRAs: attached to a model once, switched on with their strengths for each forward.

diffusers reads its own format, PEFT's and kohya's; peft runs them. Forwards of jobs with other LoRAs are
other lanes, so what is switched on belongs to all rows of a forward.
"""

import contextlib
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from shared.errors import GenerationFailed
from shared.jobs import LoraUse

logger = logging.getLogger(__name__)

MOST_ATTACHED = 8
"""LoRAs kept on one model besides those in use; each takes memory, and a little time in every switch."""


@dataclass(frozen=True)
class Lora:
    """A LoRA's weights as they are in its file."""

    lora_id: str
    weights: dict[str, Tensor]
    version: str = ""

    @property
    def key(self) -> str:
        """Tells it from all others, those that had its id before too."""
        return f"{self.lora_id} {self.version}" if self.version else self.lora_id


def keyed(uses: Sequence[LoraUse], loras: Sequence[Lora]) -> tuple[LoraUse, ...]:
    """The same uses, each by its LoRA's key: what engine and model know LoRAs by."""
    keys = {lora.lora_id: lora.key for lora in loras}
    return tuple(use.model_copy(update={"lora_id": keys[use.lora_id]}) for use in uses)


def read_lora(lora_id: str, file: Path, version: str = "") -> Lora:
    """Raises `GenerationFailed` if the file is no safetensors file."""
    try:
        return Lora(lora_id, load_file(file), version)
    except (OSError, SafetensorError) as exc:
        raise GenerationFailed(f"LoRA {lora_id} can't be read on the server.") from exc


class Adapters:
    """The LoRAs of one model; owned by the engine's thread."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self._pipeline = pipeline
        self._attached: OrderedDict[str, str] = OrderedDict()  # key -> peft's name, least recently used first
        self._users: Counter[str] = Counter()
        self._layers: list[LoraLayer] = []
        self._active: tuple[LoraUse, ...] | None = ()
        """What is switched on; None while that is not sure."""

    @contextmanager
    def held(self, loras: Sequence[Lora]) -> Iterator[None]:
        """Attaches `loras`, and keeps them attached for as long as the block runs.

        Raises `GenerationFailed` for one that does not fit the model.
        """
        for lora in loras:
            if lora.key not in self._attached:
                self._attach(lora)
            self._attached.move_to_end(lora.key)
        self._users.update(lora.key for lora in loras)
        try:
            yield
        finally:
            self._users.subtract(lora.key for lora in loras)
            self._forget_oldest()

    def switch(self, uses: tuple[LoraUse, ...]) -> None:
        """From now on the model computes with exactly these."""
        if uses == self._active:
            return
        self._active = None
        names = [self._attached[use.lora_id] for use in uses]
        with torch.inference_mode(mode=False):
            for layer in self._layers:  # what diffusers' set_adapters does, without its search for the layers
                layer.enable_adapters(enabled=bool(uses))
                if uses:
                    layer.set_adapter(names)
                for name, use in zip(names, uses, strict=True):
                    layer.set_scale(name, use.strength)
        self._active = uses

    def _attach(self, lora: Lora) -> None:
        """Whatever comes of it, the model computes afterwards as it did before."""
        name = "lora_" + hashlib.sha256(lora.key.encode()).hexdigest()[:16]
        was_active, self._active = self._active or (), None
        try:
            with torch.inference_mode(mode=False):
                self._load(lora.weights, name)
            self._layers = self._find_layers()
            if not any(name in layer.lora_A for layer in self._layers):
                raise ValueError("none of its layers is here")
        except Exception as exc:
            logger.warning("LoRA refused", extra={"lora_id": lora.lora_id}, exc_info=True)
            self._delete(name)
            raise GenerationFailed(f"LoRA {lora.lora_id} does not fit this model.") from exc
        else:
            self._attached[lora.key] = name
        finally:
            self.switch(was_active)

    def _load(self, weights: Mapping[str, Tensor], name: str) -> None:
        """Without its shortcut for memory, which makes every module of the process that is built meanwhile an
        empty one: a slot may be loading a model just now."""
        self._pipeline.load_lora_weights(dict(weights), adapter_name=name, low_cpu_mem_usage=False)

    def _delete(self, name: str) -> None:
        """Also what was loaded of a LoRA that failed half-way."""
        with contextlib.suppress(Exception), torch.inference_mode(mode=False):
            self._pipeline.delete_adapters(name)
        self._layers = self._find_layers()

    def _find_layers(self) -> list[LoraLayer]:
        parts = [part for part in self._pipeline.components.values() if isinstance(part, nn.Module)]
        return [module for part in parts for module in part.modules() if isinstance(module, LoraLayer)]

    def _forget_oldest(self) -> None:
        unused = [key for key in self._attached if self._users[key] == 0]
        for key in unused[: max(0, len(unused) - MOST_ATTACHED)]:
            self.switch(())
            self._delete(self._attached.pop(key))
