"""A ControlNet that teaches the frozen demo model to draw along edges.

Not for making the edges: a worker does that in the same way for a client's picture (worker/gpu/hints).
"""

import copy
import logging
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from PIL import Image
from torch import Tensor, nn

from deploy.demo.captions import Caption, Said, caption_saying
from deploy.demo.drawing import COLOURS, SHAPES, UNSEEN_PAIRS, Scene, Spot, draw_placed
from deploy.demo.training.finish import NEUTRAL_GUIDANCE
from deploy.demo.training.latents import Lessons
from deploy.demo.training.lora import Studio, encoded
from deploy.demo.training.pace import Average, cosine, set_learning_rate, steps_for
from deploy.demo.training.unet import Diet, HalfPrecision, NoiseLevels
from deploy.demo.training.vae import to_pixels
from worker.gpu.hints.classic import canny

logger = logging.getLogger(__name__)

WARMUP = 50
"""Steps."""
HINT_CHANNELS = (8, 16, 24, 32)
"""How wide the layers are that bring the edges down to the size of latents: far less than usual, for edges
are plain, and these layers are the only ones that see every pixel."""

LESSON_COUNTS = {64: 800, 128: 7000, 256: 250}
DIETS = {
    64: Diet(batch=20, share=0.10),
    128: Diet(batch=10, share=0.86),
    256: Diet(batch=3, share=0.04),
}
EDGE_GAIN = 10.0
"""Makes what thin edges leave in the latents' size nearly as large as what noise leaves there."""

SAVED_EVERY = 200
"""Steps."""

SEVERAL_SHARE = 0.2
"""How often a drawing has two or three objects, of any shapes."""


@dataclass(frozen=True, kw_only=True)
class EdgeLessons(Lessons):
    """Scenes, latents and edges, row by row; edges are uint8 (rows, 3, side, side)."""

    edges: Tensor


def new_controlnet(folder: Path) -> ControlNetModel:
    """A copy of the encoder of the UNet in the folder, whose outputs are zero at first."""
    unet = UNet2DConditionModel.from_pretrained(folder).float()
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT_CHANNELS)
    _open_eyes(controlnet.controlnet_cond_embedding)
    return controlnet


def _open_eyes(embedding: nn.Module) -> None:
    """Lets thin edges through at once. As the library begins, they get lost in rounding, and are learnt late.

    That outputs are zero is enough for the picture to stay as it is.
    """
    layers = [layer for layer in embedding.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        layer.bias = nn.Parameter(torch.zeros(layer.out_channels))
    with torch.no_grad():
        layers[-1].weight *= EDGE_GAIN


def placed_scene(rng: Random) -> tuple[Scene, list[tuple[str, Spot]]]:
    """Objects anywhere and of any size, in one colour; the scene names what they have in common."""
    count = rng.choice([2, 3]) if rng.random() < SEVERAL_SHARE else 1
    shapes = [rng.choice(SHAPES) for _ in range(count)]
    while True:
        colour, background = rng.sample(list(COLOURS), 2)
        if not any((colour, shape) in UNSEEN_PAIRS for shape in shapes):
            break
    spots = [_anywhere(rng, most=0.42 if count == 1 else 0.22) for _ in shapes]
    scene = Scene(shape=shapes[0], colour=colour, background=background, count=count)
    return scene, list(zip(shapes, spots, strict=True))


def _anywhere(rng: Random, *, most: float) -> Spot:
    radius = rng.uniform(0.12, most)
    x, y = (rng.uniform(radius + 0.02, 0.98 - radius) for _ in range(2))
    return Spot(x=x, y=y, radius=radius)


def say_colours(scene: Scene, rng: Random) -> Caption:
    """A caption of colours, now and then of the shape too, never of the place: edges shall say that."""
    shape = scene.shape if scene.count == 1 and rng.random() < 0.2 else None
    said = Said(
        shape=shape,
        colour=scene.colour if rng.random() < 0.92 else None,
        background=scene.background if rng.random() < 0.92 else None,
        count="1" if scene.count == 1 else "several",
    )
    return caption_saying(said, rng)


def edge_lessons(studio: Studio, *, seed: int) -> dict[int, EdgeLessons]:
    """Drawings at every size, encoded, with their edges."""
    lessons: dict[int, EdgeLessons] = {}
    for side, count in LESSON_COUNTS.items():
        rng = Random(f"{seed}/{side}")
        scenes, pictures, edges = [], [], []
        for _ in range(count):
            scene, objects = placed_scene(rng)
            picture = draw_placed(objects, rng, colour=scene.colour, background=scene.background, side=side)
            scenes.append(scene)
            pictures.append(picture)
            edges.append(Image.fromarray(canny(np.asarray(picture))))
        latents = encoded(studio.vae, pictures, side=side)
        lessons[side] = EdgeLessons(latents=latents, scenes=scenes, edges=to_pixels(edges))
    return lessons


class Apprentice:
    """The frozen model and a ControlNet that computes in half precision beside the weights that learn."""

    def __init__(self, studio: Studio, controlnet: ControlNetModel) -> None:
        self.unet = studio.unet
        self.rough = HalfPrecision(controlnet)
        self.levels = NoiseLevels()

    def loss(self, latents: Tensor, edges: Tensor, words: tuple[Tensor, Tensor]) -> Tensor:
        """The error at the guidance that the model takes for none, and the error without words.

        `words` are those of the empty caption and those of the captions. The edges have to be obeyed in both
        predictions: what only one of them had, guidance would blow up.
        """
        noise, timesteps = torch.randn_like(latents), self.levels.draw(len(latents))
        noisy = self.levels.noised(latents, noise, timesteps)
        plain, conditional = self._predict(noisy, timesteps, edges, torch.cat(words)).chunk(2)
        guided = plain.detach() + NEUTRAL_GUIDANCE * (conditional - plain.detach())
        errors = (guided - noise).square().mean((1, 2, 3)) + 0.5 * (plain - noise).square().mean((1, 2, 3))
        loss: Tensor = (self.levels.weight[timesteps] * errors).mean()
        return loss

    def _predict(self, noisy: Tensor, timesteps: Tensor, edges: Tensor, words: Tensor) -> Tensor:
        seen = noisy.repeat(2, 1, 1, 1).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
        hint = (edges.repeat(2, 1, 1, 1) / 255.0).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
        at, heard = timesteps.repeat(2), words.to(torch.bfloat16)
        down, middle = self.rough.model(
            seen, at, encoder_hidden_states=heard, controlnet_cond=hint, return_dict=False
        )
        predicted: Tensor = self.unet(
            seen,
            at,
            heard,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return predicted.float()


@dataclass(frozen=True, kw_only=True)
class ControlNetPlan:
    """One round of training."""

    minutes: float
    seed: int
    learning_rate: float


def train_controlnet(controlnet: ControlNetModel, folder: Path, studio: Studio, plan: ControlNetPlan) -> None:
    """Trains in place; leaves the averaged weights in the folder, now and then on the way and at the end."""
    rng = Random(plan.seed)
    lessons = edge_lessons(studio, seed=plan.seed)
    logger.info("drawn", extra={"lessons": sum(LESSON_COUNTS.values())})
    apprentice, listener = Apprentice(studio, controlnet), studio.listener(rng, say=say_colours)
    parameters = list(controlnet.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=plan.learning_rate, weight_decay=1e-3, betas=(0.9, 0.99), fused=True
    )
    average, recent = Average(parameters, decay=0.995), []
    for step, progress in steps_for(plan.minutes):
        set_learning_rate(optimizer, plan.learning_rate * cosine(step, progress, warmup=WARMUP))
        side = rng.choices(list(DIETS), [diet.share for diet in DIETS.values()])[0]
        rows = torch.randint(len(lessons[side].scenes), (DIETS[side].batch,))
        words = listener.hear(lessons[side], rows.tolist())
        silent = listener.silence(len(rows), length=words.shape[1])
        loss = apprentice.loss(lessons[side].latents[rows], lessons[side].edges[rows], (silent, words))
        loss.backward()
        apprentice.rough.hand_over_gradients()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        apprentice.rough.refresh()
        average.update()
        recent.append(float(loss.detach()))
        if step % 100 == 0:
            facts = {"step": step, "progress": round(progress, 3)}
            logger.info("controlnet", extra=facts | {"loss": round(sum(recent) / len(recent), 4)})
            recent.clear()
        if step % SAVED_EVERY == SAVED_EVERY - 1:
            _save(controlnet, average, folder)
    _save(controlnet, average, folder)


def _save(controlnet: ControlNetModel, average: Average, folder: Path) -> None:
    average.swap()
    copy.deepcopy(controlnet).half().save_pretrained(folder)
    average.swap()
