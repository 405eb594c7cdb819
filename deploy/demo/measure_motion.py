"""What the demo model's motion adapter does, in figures: makes films and measures how they hang together.

`python -m deploy.demo.measure_motion` prints the table of README.md; the tests film in the same way. Not for
single pictures (measure.py).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AnimateDiffPipeline, MotionAdapter
from numpy.typing import NDArray
from PIL import Image

from deploy.demo import prompts
from deploy.demo.drawing import Scene
from deploy.demo.judge import judge
from deploy.demo.measure import COLOURS_AND_SHAPE, SCHEDULERS, USUAL_GUIDANCE, Painter, share_right
from deploy.demo.prompts import Prompt

MOTION = Path(__file__).parent / "motion"
CIRCLE = Prompt(
    text="a red circle on a blue background",
    scene=Scene(shape="circle", colour="red", background="blue"),
)
ASKED = (CIRCLE, *prompts.MAIN[1::6])

Frames = NDArray[np.uint8]
"""frames x height x width x 3."""


class Filmer:
    """The stock AnimateDiff pipeline on the demo model."""

    def __init__(self, motion: Path = MOTION) -> None:
        self.painter = Painter()
        still = self.painter.pipeline
        self.pipeline = AnimateDiffPipeline(
            vae=still.vae,
            text_encoder=still.text_encoder,
            tokenizer=still.tokenizer,
            unet=still.unet,
            motion_adapter=MotionAdapter.from_pretrained(motion, dtype=torch.float32),
            scheduler=still.scheduler,
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.painted: dict[tuple[str, int, int, int], Frames] = {}

    def film(
        self,
        text: str,
        *,
        seed: int,
        frames: int = 8,
        steps: int = 20,
        side: int = 128,
        scheduler: str = "DPM++ multistep",
    ) -> Frames:
        kind, options = SCHEDULERS[scheduler]
        self.pipeline.scheduler = kind.from_config(self.painter.noise_schedule, **options)
        film = self.pipeline(
            text,
            num_frames=frames,
            width=side,
            height=side,
            num_inference_steps=steps,
            guidance_scale=USUAL_GUIDANCE,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
        ).frames[0]
        levels: Frames = (film * 255).round().astype(np.uint8)
        return levels

    def stills(self, text: str, *, count: int = 8, steps: int = 20, side: int = 128) -> Frames:
        """As many pictures of the same prompt, each of its own seed; painted once."""
        key = (text, count, steps, side)
        if key not in self.painted:
            pictures = self.painter.paint([text] * count, seeds=range(count), steps=steps, side=side)
            self.painted[key] = np.stack([np.asarray(picture) for picture in pictures])
        return self.painted[key]


def restlessness(frames: Frames) -> float:
    """How far pixels are from those of the next frame, in levels of 255, on average."""
    return float(np.abs(np.diff(frames.astype(float), axis=0)).mean())


def drift(frames: Frames) -> float:
    """How far the object's middle is at the end from where it was at first, in pixels."""
    first, last = _middle(frames[0]), _middle(frames[-1])
    return float(np.hypot(*(first - last)))


def _middle(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    pixels = frame.astype(float)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    apart = np.sqrt(((pixels - np.median(rim, axis=0)) ** 2).sum(2))
    ys, xs = np.where(apart > apart.max() / 2)
    return np.array([ys.mean(), xs.mean()])


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    frames: int = 8
    side: int = 128
    scheduler: str = "DPM++ multistep"


ROWS = [
    Row(name="8 frames"),
    Row(name="16 frames", frames=16),
    Row(name="8 frames, DDIM", scheduler="DDIM"),
    Row(name="8 frames, 64 px", side=64),
]


def line(filmer: Filmer, row: Row, asked: Sequence[Prompt]) -> str:
    """What films of the prompts are like, as a line of Markdown."""
    films = [
        filmer.film(
            prompt.text,
            seed=seed,
            frames=row.frames,
            side=row.side,
            scheduler=row.scheduler,
        )
        for seed, prompt in enumerate(asked)
    ]
    stills = [filmer.stills(prompt.text, side=row.side) for prompt in asked]
    verdicts = [judge(Image.fromarray(frame)) for film in films for frame in film]
    right = ", ".join(f"{field} {share_right(field, verdicts, asked):.2f}" for field in COLOURS_AND_SHAPE)
    restless, apart = (np.mean([restlessness(each) for each in some]) for some in (films, stills))
    moved = np.mean([drift(film) for film in films])
    return f"| {row.name} | {len(films)} | {right} | {restless:.1f} | {apart:.1f} | {moved:.1f} px |"


def sheet(films: Sequence[Frames]) -> Image.Image:
    """A film in every row."""
    return Image.fromarray(np.concatenate([np.concatenate(list(film), axis=1) for film in films]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo model's motion adapter.")
    parser.add_argument("--motion", type=Path, default=MOTION, help="folder of the adapter")
    parser.add_argument("--samples", type=Path, help="save a sheet of films there, and measure nothing")
    arguments = parser.parse_args()
    filmer = Filmer(arguments.motion)
    if arguments.samples:
        some = [CIRCLE, *prompts.MAIN[:4]]
        sheet([filmer.film(prompt.text, seed=seed) for seed, prompt in enumerate(some)]).save(
            arguments.samples
        )
        return
    print("| films | count | what is right, of all frames | from frame to frame | of stills | drift |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        print(line(filmer, row, ASKED), flush=True)


if __name__ == "__main__":
    main()
