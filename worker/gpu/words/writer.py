"""A language model that goes on where a prompt ends, such as Gustavosta/MagicPrompt-Stable-Diffusion.

How the seed works: Gumbel noise is added to the scores and the highest is taken, which is to sample from
their softmax, and the noise is from a generator of the call's own. `generate(do_sample=True)` would draw from
the global generator of torch, which all threads share: to seed it, or to fork it and put it back, changes the
numbers that the others get meanwhile, and theirs change ours.
"""

import re
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
)

from worker.gpu.words.language_model import LanguageModel

NOT_LOADED = "The prompt writer can't be loaded on the server."

TEMPERATURE = 0.8
TOP_K = 40
REPETITION_PENALTY = 1.2
"""Prompt generators of GPT-2's size repeat themselves without it."""

ODD = re.compile(r"[^\w\s,.'/&+-]|_")
"""In what is added: no brackets, weights or tags, as they would work on the user's words too."""
LETTERS = re.compile(r"^\w+")


class GumbelNoise(LogitsProcessor):  # type: ignore[misc]
    """Makes the highest score a sample. From the CPU's generator, so every device draws the same noise."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        uniform = torch.rand(scores.shape, generator=self._generator, dtype=torch.float64)
        noise = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))
        return scores + noise.to(scores)


class PromptWriter(LanguageModel):
    """Goes on where a prompt ends."""

    @classmethod
    def load(cls, source: str, device: torch.device) -> "PromptWriter":
        """Raises `GenerationFailed` if there is no causal language model at `source`, a folder or hub id.

        In float32: a half-precision load changes torch's default type for every thread of the process.
        """
        return cls._read(source, device, _causal, NOT_LOADED)

    def write(self, prompt: str, seed: int, most_new_tokens: int = 60) -> str:
        """The prompt to the letter, then what the model adds: the same for the same seed."""
        added, ended = self._continue(prompt.rstrip(), seed, most_new_tokens)
        return prompt + tidy(added, prompt, ended=ended)

    @torch.inference_mode()
    def _continue(self, prompt: str, seed: int, most_new_tokens: int) -> tuple[str, bool]:
        """The new text, and whether the model ended it by itself."""
        with self._lock:
            end = self._tokenizer.eos_token_id
            start = self._tokens(prompt, most_new_tokens)
            tokens = self._model.generate(
                input_ids=start,
                attention_mask=torch.ones_like(start),
                do_sample=False,
                num_beams=1,
                max_new_tokens=most_new_tokens,
                pad_token_id=end,
                logits_processor=LogitsProcessorList(
                    [
                        RepetitionPenaltyLogitsProcessor(REPETITION_PENALTY),
                        TemperatureLogitsWarper(TEMPERATURE),
                        TopKLogitsWarper(TOP_K),
                        GumbelNoise(seed),
                    ]
                ),
            )[0, start.shape[1] :].tolist()
            return self._tokenizer.decode(tokens, skip_special_tokens=True), end in tokens

    def _tokens(self, prompt: str, most_new_tokens: int) -> torch.Tensor:
        """The end of the prompt, as much as the model can see beside what it is to write."""
        tokens = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
        seen = getattr(self._model.config, "max_position_embeddings", 1024) - most_new_tokens
        first = self._tokenizer.bos_token_id
        start = tokens[-max(seen, 1) :] or [first if first is not None else self._tokenizer.eos_token_id]
        return torch.tensor([start], device=self._device)


def _causal(source: str) -> tuple[Any, Any]:
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    return model, tokenizer


def tidy(added: str, prompt: str, *, ended: bool) -> str:
    """One line of plain words, to be put after the prompt.

    A word that runs on from the prompt's last one is dropped, or `car` became `cartoon`; so is a last phrase
    that the limit cut off.
    """
    line = added.lstrip("\n").partition("\n")[0]
    if prompt and prompt[-1].isalnum():
        line = LETTERS.sub("", line)
    if not ended and "," in line:
        line = line.rpartition(",")[0]
    line = re.sub(r"\s+", " ", ODD.sub("", line))
    line = re.sub(r"(\s*,)+", ",", line).rstrip(" ,-")
    return line.lstrip(" ,") if not prompt or prompt[-1].isspace() else _apart(line)


def _apart(line: str) -> str:
    return line if not line or line[0] in " ,." else f" {line}"
