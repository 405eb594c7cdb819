"""What the demo model can do, in figures: paints prompts and counts what the judge finds right.

`python -m deploy.demo.measure` prints the table of README.md; the tests paint in the same way.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image
from torch import Tensor

from deploy.demo import prompts
from deploy.demo.judge import Verdict, judge
from deploy.demo.prompts import Prompt
from deploy.demo.training.text import layer_outputs, token_ids

MODEL = Path(__file__).parent / "model"
USUAL_GUIDANCE = 7.5
COLOURS_AND_SHAPE = ("colour", "background", "shape")
SCHEDULERS: dict[str, tuple[type[SchedulerMixin], dict[str, bool]]] = {
    "DDPM": (DDPMScheduler, {"clip_sample": False}),
    "DDIM": (DDIMScheduler, {"clip_sample": False}),
    "PNDM": (PNDMScheduler, {"skip_prk_steps": True}),
    "LMS": (LMSDiscreteScheduler, {}),
    "Euler": (EulerDiscreteScheduler, {}),
    "Euler ancestral": (EulerAncestralDiscreteScheduler, {}),
    "DPM++ multistep": (DPMSolverMultistepScheduler, {}),
    "DPM++ singlestep": (DPMSolverSinglestepScheduler, {}),
    "Heun": (HeunDiscreteScheduler, {}),
    "KDPM2": (KDPM2DiscreteScheduler, {}),
    "KDPM2 ancestral": (KDPM2AncestralDiscreteScheduler, {}),
    "UniPC": (UniPCMultistepScheduler, {}),
    "DEIS": (DEISMultistepScheduler, {}),
    "LCM": (LCMScheduler, {"clip_sample": False}),
}
AT_ONCE = 16 * 128 * 128
"""Pixels in one call."""


class Painter:
    """The stock pipeline on the demo model, several pictures in a call."""

    def __init__(self, model: Path = MODEL) -> None:
        self.pipeline = StableDiffusionPipeline.from_pretrained(
            model, dtype=torch.float32, safety_checker=None
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.noise_schedule = dict(self.pipeline.scheduler.config)

    def paint(
        self,
        texts: Sequence[str],
        *,
        seeds: Sequence[int],
        side: int = 128,
        steps: int = 20,
        guidance: float = USUAL_GUIDANCE,
        scheduler: str = "DPM++ multistep",
        negative: str | None = None,
    ) -> list[Image.Image]:
        kind, options = SCHEDULERS[scheduler]
        self.pipeline.scheduler = kind.from_config(self.noise_schedule, **options)
        pictures: list[Image.Image] = []
        at_once = max(1, AT_ONCE // side**2)
        for start in range(0, len(texts), at_once):
            part = slice(start, start + at_once)
            pictures += self.pipeline(
                list(texts[part]),
                negative_prompt=[negative] * len(texts[part]) if negative else None,
                width=side,
                height=side,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
            ).images
        return pictures

    @torch.no_grad()
    def paint_without_last_layer(self, texts: Sequence[str], *, seeds: Sequence[int]) -> list[Image.Image]:
        """As `paint`, with what the text encoder's last layer but one says: what `clip_skip` 2 means."""
        encoder, tokenizer = self.pipeline.text_encoder, self.pipeline.tokenizer

        def penultimate(words: Sequence[str]) -> Tensor:
            ids = token_ids(tokenizer, list(words), length=tokenizer.model_max_length)
            return layer_outputs(encoder, ids)[1]

        kind, options = SCHEDULERS["DPM++ multistep"]
        self.pipeline.scheduler = kind.from_config(self.noise_schedule, **options)
        pictures: list[Image.Image] = self.pipeline(
            prompt_embeds=penultimate(texts),
            negative_prompt_embeds=penultimate([""] * len(texts)),
            width=128,
            height=128,
            num_inference_steps=20,
            guidance_scale=USUAL_GUIDANCE,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        ).images
        return pictures

    def verdicts(self, asked: Sequence[Prompt], *, seeds: range = range(1), **how: object) -> list[Verdict]:
        """What every prompt gives with every seed, prompt by prompt."""
        texts = [prompt.text for prompt in asked for _ in seeds]
        every_seed = [97 * index + seed for index in range(len(asked)) for seed in seeds]
        return [judge(picture) for picture in self.paint(texts, seeds=every_seed, **how)]  # type: ignore[arg-type]


def share_right(field: str, verdicts: Sequence[Verdict], asked: Sequence[Prompt]) -> float:
    """The share of pictures in which this property is as the prompt says."""
    each = len(verdicts) // len(asked)
    wanted = [getattr(prompt.scene, field) for prompt in asked for _ in range(each)]
    right: list[bool] = [getattr(seen, field) == want for seen, want in zip(verdicts, wanted, strict=True)]
    return sum(right) / len(right)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: which prompts, painted how, and which properties count."""

    name: str
    asked: Sequence[Prompt]
    fields: tuple[str, ...] = COLOURS_AND_SHAPE
    seeds: int = 1
    side: int = 128
    guidance: float = USUAL_GUIDANCE
    scheduler: str = "DPM++ multistep"
    steps: int = 20


ROWS = [
    Row(name="128 px", asked=prompts.MAIN, seeds=4),
    Row(name="128 px, pairs of colour and shape never trained", asked=prompts.PAIRS, seeds=4),
    Row(name="128 px, other wordings and unknown words", asked=prompts.OTHER_WORDS, seeds=2),
    Row(name="128 px, sizes", asked=prompts.SIZED, fields=("size", *COLOURS_AND_SHAPE), seeds=2),
    Row(
        name="128 px, places",
        asked=prompts.PLACED,
        fields=("place", "colour", "background", "shape"),
        seeds=2,
    ),
    Row(
        name="128 px, counts",
        asked=prompts.COUNTED,
        fields=("count", "colour", "background", "shape"),
        seeds=2,
    ),
    Row(name="128 px, guidance 1", asked=prompts.MAIN, guidance=1.0),
    Row(name="128 px, guidance 3", asked=prompts.MAIN, guidance=3.0),
    Row(name="128 px, guidance 12", asked=prompts.MAIN, guidance=12.0),
    Row(name="64 px", asked=prompts.MAIN, side=64),
    Row(name="256 px", asked=prompts.MAIN[:16], side=256),
    Row(name="512 px", asked=prompts.MAIN[:8], side=512),
    *(Row(name=f"128 px, {name}", asked=prompts.MAIN[::2], scheduler=name) for name in SCHEDULERS),
]


def line(painter: Painter, row: Row) -> str:
    """The row as a line of Markdown."""
    verdicts = painter.verdicts(
        row.asked,
        seeds=range(row.seeds),
        side=row.side,
        guidance=row.guidance,
        scheduler=row.scheduler,
        steps=row.steps,
    )
    figures = (f"{field} {share_right(field, verdicts, row.asked):.3f}" for field in row.fields)
    return f"| {row.name} | {len(verdicts)} | {', '.join(figures)} |"


def samples(painter: Painter, *, columns: int = 8) -> Image.Image:
    """One picture of each main prompt, side by side."""
    pictures = painter.paint([prompt.text for prompt in prompts.MAIN], seeds=range(len(prompts.MAIN)))
    side = pictures[0].width
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * side, index // columns * side))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo model.")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--only", default="", help="measure the rows with this in their name")
    parser.add_argument("--samples", type=Path, help="save a sheet of pictures there, and measure nothing")
    arguments = parser.parse_args()
    painter = Painter(arguments.model)
    if arguments.samples:
        samples(painter).save(arguments.samples)
        return
    print("| what | pictures | share that is right |\n|---|---|---|")
    for row in ROWS:
        if arguments.only in row.name:
            print(line(painter, row), flush=True)


if __name__ == "__main__":
    main()
