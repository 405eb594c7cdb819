"""How well the demo model's ControlNet holds on to edges, in figures: paints along those of drawings.

`python -m deploy.demo.measure_controlnet` prints the table of README.md; the tests paint in the same way.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image

from deploy.demo.drawing import COLOURS, SHAPES, UNSEEN_PAIRS, Spot, draw_placed
from deploy.demo.judge import judge, overlap
from deploy.demo.measure import MODEL, SCHEDULERS, USUAL_GUIDANCE
from worker.gpu.hints.classic import canny

CONTROLNET = Path(__file__).parent / "controlnet"
WORDINGS = (
    "a {colour} shape on a {background} background",
    "{colour} object, {background} background",
    "a {colour} thing in front of a {background} wall",
)
"""They tell colours alone: shape and place are for the edges to tell."""

IN_PLACE = 0.7
"""Overlap with the drawing, from which on a picture counts as in place."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A drawing whose edges are given, and the colours that are asked for instead of its own."""

    drawing: Image.Image
    shape: str
    colour: str
    background: str
    prompt: str

    @property
    def edges(self) -> Image.Image:
        return Image.fromarray(canny(np.asarray(self.drawing)))


def tasks(count: int, *, side: int = 128, seed: int = 7, objects: int = 1) -> list[Task]:
    """Every shape in turn, anywhere, in pairs of colour and shape that the model was trained on."""
    rng = Random(f"{seed}/{side}")
    return [
        _task(SHAPES[index % len(SHAPES)], index, rng, side=side, objects=objects) for index in range(count)
    ]


def _task(shape: str, index: int, rng: Random, *, side: int, objects: int) -> Task:
    while True:
        colour, background = rng.sample(list(COLOURS), 2)
        if (colour, shape) not in UNSEEN_PAIRS:
            break
    own, ground = rng.sample(list(COLOURS), 2)
    if objects == 1:
        radius = rng.uniform(0.15, 0.32)
        x, y = (rng.uniform(radius + 0.03, 0.97 - radius) for _ in range(2))
        placed = [(shape, Spot(x=x, y=y, radius=radius))]
    else:
        other = rng.choice(SHAPES)
        placed = [(shape, Spot(x=0.28, y=0.7, radius=0.18)), (other, Spot(x=0.7, y=0.32, radius=0.2))]
    return Task(
        drawing=draw_placed(placed, rng, colour=own, background=ground, side=side),
        shape=shape,
        colour=colour,
        background=background,
        prompt=WORDINGS[index % len(WORDINGS)].format(colour=colour, background=background),
    )


class Tracer:
    """The stock pipeline with the ControlNet, several pictures in a call."""

    def __init__(self, controlnet: Path = CONTROLNET) -> None:
        self.pipeline = StableDiffusionControlNetPipeline.from_pretrained(
            MODEL,
            controlnet=ControlNetModel.from_pretrained(controlnet, dtype=torch.float32),
            dtype=torch.float32,
            safety_checker=None,
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.noise_schedule = dict(self.pipeline.scheduler.config)

    def paint(
        self,
        asked: Sequence[Task],
        *,
        scale: float = 1.0,
        steps: int = 20,
        guidance: float = USUAL_GUIDANCE,
        scheduler: str = "DPM++ multistep",
    ) -> list[Image.Image]:
        kind, options = SCHEDULERS[scheduler]
        self.pipeline.scheduler = kind.from_config(self.noise_schedule, **options)
        pictures: list[Image.Image] = []
        for start in range(0, len(asked), 8):
            part = asked[start : start + 8]
            pictures += self.pipeline(
                [task.prompt for task in part],
                image=[task.edges for task in part],
                num_inference_steps=steps,
                guidance_scale=guidance,
                controlnet_conditioning_scale=scale,
                generator=[torch.Generator().manual_seed(start + index) for index in range(len(part))],
            ).images
        return pictures


def overlaps(pictures: Sequence[Image.Image], asked: Sequence[Task]) -> list[float]:
    return [overlap(picture, task.drawing) for picture, task in zip(pictures, asked, strict=True)]


def share_in_place(pictures: Sequence[Image.Image], asked: Sequence[Task]) -> float:
    return sum(each >= IN_PLACE for each in overlaps(pictures, asked)) / len(asked)


def share_right(field: str, pictures: Sequence[Image.Image], asked: Sequence[Task]) -> float:
    """The share of pictures in which the judge sees this property as the task has it."""
    right: list[bool] = [
        getattr(judge(picture), field) == getattr(task, field)
        for picture, task in zip(pictures, asked, strict=True)
    ]
    return sum(right) / len(right)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    count: int = 24
    side: int = 128
    objects: int = 1
    scale: float = 1.0
    guidance: float = USUAL_GUIDANCE
    scheduler: str = "DPM++ multistep"


ROWS = [
    Row(name="scale 1", count=40),
    Row(name="scale 0.5", scale=0.5),
    Row(name="scale 0", scale=0.0),
    Row(name="scale 1, two objects", objects=2, count=16),
    Row(name="scale 1, 64 px", side=64),
    Row(name="scale 1, 256 px", side=256, count=8),
    Row(name="scale 1, Euler", scheduler="Euler", count=16),
    Row(name="scale 1, guidance 3", guidance=3.0, count=16),
]


def line(tracer: Tracer, row: Row) -> str:
    """The row as a line of Markdown."""
    asked = tasks(row.count, side=row.side, objects=row.objects)
    pictures = tracer.paint(asked, scale=row.scale, guidance=row.guidance, scheduler=row.scheduler)
    found = overlaps(pictures, asked)
    fields = ["colour", "background", *(["shape"] if row.objects == 1 else [])]
    right = ", ".join(f"{field} {share_right(field, pictures, asked):.2f}" for field in fields)
    in_place = sum(each >= IN_PLACE for each in found) / len(found)
    return f"| {row.name} | {len(asked)} | {in_place:.2f} | {sum(found) / len(found):.2f} | {right} |"


def samples(tracer: Tracer) -> Image.Image:
    """Rows of eight: edges, and what is painted along them at scales 1 and 0."""
    asked = tasks(len(SHAPES))
    rows = [[task.edges for task in asked], *(tracer.paint(asked, scale=scale) for scale in (1.0, 0.0))]
    side = asked[0].drawing.width
    sheet = Image.new("RGB", (len(asked) * side, len(rows) * side))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * side, y * side))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo model's ControlNet.")
    parser.add_argument("--controlnet", type=Path, default=CONTROLNET)
    parser.add_argument("--only", default="", help="measure the rows with this in their name")
    parser.add_argument("--samples", type=Path, help="save a sheet of pictures there, and measure nothing")
    arguments = parser.parse_args()
    tracer = Tracer(arguments.controlnet)
    if arguments.samples:
        samples(tracer).save(arguments.samples)
        return
    print("| how | pictures | in place | mean overlap | what is right |\n|---|---|---|---|---|")
    for row in ROWS:
        if arguments.only in row.name:
            print(line(tracer, row), flush=True)


if __name__ == "__main__":
    main()
