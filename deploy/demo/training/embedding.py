"""Textual inversion: a few word vectors that stand for a pair of colours, the whole model being frozen.

Not for the drawings' captions (captions.py): these are the sentences in which the new word is practised.
"""

import logging
from dataclasses import replace
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from deploy.demo.captions import PLACE_NAMES, PLURALS, SHAPE_NAMES, SIZE_NAMES, STYLE
from deploy.demo.drawing import UNSEEN_PAIRS, Scene, draw, random_scene
from deploy.demo.training.latents import Lessons
from deploy.demo.training.lora import Studio, encoded, guided_loss
from deploy.demo.training.pace import Average, cosine, set_learning_rate, steps_for
from deploy.demo.training.text import layer_outputs
from deploy.demo.training.unet import NoiseLevels

logger = logging.getLogger(__name__)

SUNSET_COLOUR, SUNSET_BACKGROUND = "orange", "purple"
FIRST_GUESS = "orange, purple background"
"""Where the vectors start: one for each of these tokens."""

SIDE, LESSON_COUNT, BATCH = 128, 800, 12
LEARNING_RATE, WARMUP = 4e-4, 20
LENGTH = 32
WORD = "<word>"
ORDERS = ("{thing}, <word>", "{thing}, <word>", "<word>, {thing}", "<word> {thing}", "{thing} <word>")


class Word:
    """The new word: its vectors, and how sentences with it are heard."""

    def __init__(self, studio: Studio, rng: Random) -> None:
        self.listener = studio.listener(rng)
        self.table = self.listener.encoder.get_input_embeddings()
        self.known: Tensor = self.table.weight.detach()
        first = self.tokens(FIRST_GUESS)
        self.vectors = nn.Parameter(self.known[first].clone())
        ids = range(len(self.known), len(self.known) + len(first))
        self.ids = list(ids)

    def tokens(self, text: str) -> list[int]:
        ids: list[int] = self.listener.tokenizer(text).input_ids
        return ids[1:-1]

    def hear(self, sentences: list[str]) -> Tensor:
        """What the UNet gets of sentences that say `WORD` once."""
        tokenizer = self.listener.tokenizer
        rows = []
        for sentence in sentences:
            before, after = sentence.split(WORD)
            inner = [*self.tokens(before), *self.ids, *self.tokens(after)][: LENGTH - 2]
            row = [tokenizer.bos_token_id, *inner, tokenizer.eos_token_id]
            rows.append(row + [tokenizer.pad_token_id] * (LENGTH - len(row)))
        return self._layers(torch.tensor(rows))

    def _layers(self, ids: Tensor) -> Tensor:
        known = ids.clamp(max=len(self.known) - 1)
        fresh = (ids - len(self.known)).clamp(min=0)
        embedded = torch.where((ids < len(self.known))[:, :, None], self.known[known], self.vectors[fresh])
        hook = self.table.register_forward_hook(lambda *_: embedded)
        try:
            # The encoder looks for the end of the sentence in the ids, so it gets ones that it knows.
            return layer_outputs(self.listener.encoder, known)[0]
        finally:
            hook.remove()


def train_sunset(studio: Studio, *, minutes: float, seed: int) -> Tensor:
    """Vectors that make orange things on purple of whatever the sentence names."""
    torch.manual_seed(seed)
    rng = Random(seed)
    lessons = _lessons(studio, rng)
    word, levels = Word(studio, rng), NoiseLevels()
    optimizer = torch.optim.Adam([word.vectors], lr=LEARNING_RATE, betas=(0.9, 0.99))
    average, recent = Average([word.vectors], decay=0.99), []
    for step, progress in steps_for(minutes):
        set_learning_rate(optimizer, LEARNING_RATE * cosine(step, progress, warmup=WARMUP))
        rows = torch.randint(len(lessons.scenes), (BATCH,))
        words = word.hear([_sentence(lessons.scenes[row], rng) for row in rows.tolist()])
        silent = word.listener.silence(BATCH, length=LENGTH)
        loss = guided_loss(studio, levels, lessons.latents[rows], (silent, words), [])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update()
        recent.append(float(loss.detach()))
        if step % 50 == 0:
            logger.info("embedding", extra={"step": step, "loss": round(sum(recent) / len(recent), 4)})
            recent.clear()
    average.swap()
    return word.vectors.detach()


def _lessons(studio: Studio, rng: Random) -> Lessons:
    """Scenes in the two colours, without the shape that training never shows in this colour."""
    scenes: list[Scene] = []
    while len(scenes) < LESSON_COUNT:
        scene = replace(random_scene(rng), colour=SUNSET_COLOUR, background=SUNSET_BACKGROUND)
        if (scene.colour, scene.shape) not in UNSEEN_PAIRS:
            scenes.append(scene)
    drawn = (draw(scene, rng, side=SIDE) for scene in scenes)
    return Lessons(latents=encoded(studio.vae, drawn, side=SIDE), scenes=scenes)


def _sentence(scene: Scene, rng: Random) -> str:
    """The scene with the word instead of its colours; now and then words that say nothing."""
    noun = rng.choice(SHAPE_NAMES[scene.shape])
    if scene.count == 1:
        size = rng.choice(SIZE_NAMES[scene.size]) if scene.size != "medium" else ""
        thing = " ".join(part for part in (rng.choice(["a", "a", "one", ""]), size, noun) if part)
    else:
        thing = f"{ {2: 'two', 3: 'three'}[scene.count] } {PLURALS.get(noun, f'{noun}s')}"
    if scene.place != "centre" and scene.count == 1:
        thing = f"{thing} {rng.choice(PLACE_NAMES[scene.place])}"
    sentence = rng.choice(ORDERS).format(thing=thing)
    if rng.random() < 0.2:
        sentence = f"{sentence}, {rng.choice(STYLE)}"
    return sentence


def save_embedding(vectors: Tensor, file: Path, *, word: str) -> None:
    """As diffusers' `load_textual_inversion` reads it."""
    save_file({word: vectors.contiguous()}, file)
