"""What the translator and the prompt writer share: one transformers model, from a folder or the hub."""

import logging
import threading
from collections.abc import Callable
from typing import Any, Self

import torch
from safetensors import SafetensorError

from shared.errors import GenerationFailed

logger = logging.getLogger(__name__)


class LanguageModel:
    """One model on one device; slots take turns."""

    def __init__(self, model: Any, tokenizer: Any, device: torch.device) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._lock = threading.Lock()

    @classmethod
    def _read(
        cls, source: str, device: torch.device, read: Callable[[str], tuple[Any, Any]], not_loaded: str
    ) -> Self:
        """`read` gives the model and its tokenizer; raises `GenerationFailed(not_loaded)` if it can't."""
        try:
            model, tokenizer = read(source)
        except (OSError, ValueError, KeyError, SafetensorError) as exc:
            logger.exception("language model not loaded", extra={"kind": cls.__name__, "source": source})
            raise GenerationFailed(not_loaded) from exc
        model.generation_config.max_length = None  # ours is in new tokens, and both together are a warning
        return cls(model.eval().to(device), tokenizer, device)
