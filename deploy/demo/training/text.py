"""The text encoder, taught by words alone: from a caption's last token, linear heads must tell what it says.

A thousand captions take seconds where their pictures would take minutes, so it meets far more wordings than
the UNet could. The heads are thrown away; the UNet then learns from an encoder that stays as it is.
"""

import logging
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from deploy.demo.captions import Caption, Said, caption, noise
from deploy.demo.drawing import COLOURS, PLACES, RADII, SHAPES, random_scene
from deploy.demo.training.pace import Average, cosine, set_learning_rate, steps_for
from deploy.demo.training.tokenizer import MAX_TOKENS

logger = logging.getLogger(__name__)

WIDTH, LAYERS = 128, 4
BATCH, LONG_BATCH = 192, 64
LONG_SHARE = 0.2
LEARNING_RATE = 1e-3
NOISE_SHARE = 0.1
ANSWERS: tuple[tuple[str | None, ...], ...] = (
    (None, *SHAPES),
    (None, *COLOURS),
    (None, *COLOURS),
    (None, *RADII),
    (None, *PLACES),
    (None, "1", "2", "3", "several"),
)
"""What each field of `Said` can be, in its order."""


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def token_ids(tokenizer: CLIPTokenizer, texts: list[str], *, length: int) -> Tensor:
    encoded = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids


def batch_length(rng: Random) -> int:
    """The full length, as pipelines pad, or (three times cheaper, and enough for most captions) less."""
    return MAX_TOKENS if rng.random() < LONG_SHARE else rng.randint(18, 26)


def fitting(tokenizer: CLIPTokenizer, make: Callable[[], Caption], *, length: int) -> Caption:
    """A caption that is not cut off at this length: one that was would claim what it no longer says."""
    while True:
        made = make()
        if len(tokenizer(made.text).input_ids) <= length:
            return made


def layer_outputs(encoder: CLIPTextModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """What the last and the last but one layer say, both normalised: clip_skip chooses either."""
    output = encoder(ids, output_hidden_states=True)
    return output.last_hidden_state, encoder.final_layer_norm(output.hidden_states[-2])


def targets(said: list[Said]) -> Tensor:
    return torch.tensor(
        [[answers.index(word) for answers, word in zip(ANSWERS, astuple(s), strict=True)] for s in said]
    )


def train_text_encoder(folder: Path, *, tokenizer: CLIPTokenizer, minutes: float, seed: int) -> None:
    torch.manual_seed(seed)
    rng = Random(seed)
    encoder = new_text_encoder(tokenizer)
    heads = nn.Linear(WIDTH, sum(len(answers) for answers in ANSWERS))
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=LEARNING_RATE, weight_decay=1e-2, betas=(0.9, 0.99), fused=True
    )
    average = Average(parameters, decay=0.995)
    for step, progress in steps_for(minutes):
        set_learning_rate(optimizer, LEARNING_RATE * cosine(step, progress, warmup=100))
        length = batch_length(rng)
        captions = _captions(
            tokenizer, rng, count=LONG_BATCH if length == MAX_TOKENS else BATCH, length=length
        )
        loss, right = _loss(encoder, heads, tokenizer, captions, length=length)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        average.update()
        if step % 50 == 0:
            logger.info("text encoder", extra={"step": step, "loss": round(loss.item(), 4), "right": right})
    average.swap()
    encoder.save_pretrained(folder)


def _captions(tokenizer: CLIPTokenizer, rng: Random, *, count: int, length: int) -> list[Caption]:
    def make() -> Caption:
        return noise(rng) if rng.random() < NOISE_SHARE else caption(random_scene(rng), rng)

    return [fitting(tokenizer, make, length=length) for _ in range(count)]


def _loss(
    encoder: CLIPTextModel,
    heads: nn.Linear,
    tokenizer: CLIPTokenizer,
    captions: list[Caption],
    *,
    length: int,
) -> tuple[Tensor, float]:
    """Mean error of all heads at the caption's end, at the last position, and somewhere between."""
    ids = token_ids(tokenizer, [caption.text for caption in captions], length=length)
    wanted = targets([caption.said for caption in captions])
    end = (ids == tokenizer.eos_token_id).int().argmax(1)
    last = torch.full_like(end, ids.shape[1] - 1)
    between = end + ((last - end + 1) * torch.rand(len(end))).long()
    rows = torch.arange(len(ids))
    loss, right = torch.zeros(()), 0.0
    for layer in layer_outputs(encoder, ids):
        for position in (end, between, last):
            answers = heads(layer[rows, position]).split([len(answers) for answers in ANSWERS], dim=1)
            errors = [functional.cross_entropy(guess, wanted[:, i]) for i, guess in enumerate(answers)]
            loss = loss + torch.stack(errors).sum() / 6
            guesses = torch.stack([guess.argmax(1) for guess in answers], dim=1)
            right += float((guesses == wanted).all(1).float().mean()) / 6
    return loss, round(right, 4)
