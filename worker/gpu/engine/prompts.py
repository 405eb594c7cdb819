"""Turns prompts into the embeddings that condition the denoiser, many prompts in one forward."""

from collections.abc import Sequence

import torch

from worker.gpu.models import LoadedModel


@torch.inference_mode()
def encode_prompts(model: LoadedModel, prompts: Sequence[str]) -> list[torch.Tensor]:
    """One (1, tokens, width) tensor per prompt. Words past the encoder's length are cut off."""
    tokens = model.tokenizer(
        list(prompts),
        padding="max_length",
        max_length=model.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    hidden = model.text_encoder(tokens.input_ids.to(model.device))[0]
    return list(hidden.to(model.dtype).split(1))
