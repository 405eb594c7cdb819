"""What the demo model's LoRAs and embedding do, in figures: paints with them and counts what shows.

`python -m deploy.demo.measure_extras` prints the tables of README.md; the tests paint in the same way. Not
for the bare model (measure.py).
"""

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from deploy.demo import prompts
from deploy.demo.drawing import SHAPES
from deploy.demo.effects import FLOORED, FRAMED, bare, has_floor, has_frame
from deploy.demo.judge import Verdict, judge
from deploy.demo.measure import COLOURS_AND_SHAPE, Painter, share_right
from deploy.demo.prompts import Prompt

HERE = Path(__file__).parent
LORAS = {"demo-floor": "floor.safetensors", "demo-frame": "frame.safetensors"}
SUNSET, SUNSET_FILE = "<demo-sunset>", "sunset.safetensors"
SUNSET_PAIR = ("orange", "purple")

SUNSET_WORDINGS = (
    "a {shape}, <demo-sunset>",
    "<demo-sunset>, a {shape}",
    "a picture of a {shape}, <demo-sunset>, 8k, masterpiece",
    "a large {shape} <demo-sunset>",
    "a small {shape} on the left, <demo-sunset>",
)
SUNSET_PROMPTS = [wording.format(shape=shape) for wording in SUNSET_WORDINGS for shape in SHAPES]


class Decorator:
    """The stock pipeline with the LoRAs and the embedding loaded, as a user of diffusers would."""

    def __init__(self, extras: Path = HERE) -> None:
        self.painter = Painter()
        pipeline = self.painter.pipeline
        with warnings.catch_warnings():
            # Loading a second LoRA beside the first is what we are after.
            warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
            for name, file in LORAS.items():
                pipeline.load_lora_weights(extras / "loras", weight_name=file, adapter_name=name)
        pipeline.load_textual_inversion(extras / "embeddings", weight_name=SUNSET_FILE)

    def paint(
        self,
        texts: Sequence[str],
        *,
        strengths: Mapping[str, float],
        seeds: Sequence[int],
        side: int = 128,
        steps: int = 20,
        scheduler: str = "DPM++ multistep",
    ) -> list[Image.Image]:
        self.painter.pipeline.set_adapters(list(LORAS), [strengths.get(name, 0.0) for name in LORAS])
        return self.painter.paint(texts, seeds=seeds, side=side, steps=steps, scheduler=scheduler)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How much of each effect a picture has, and what a judge sees in it without them."""

    floor: float
    frame: float
    verdict: Verdict


def look(picture: Image.Image) -> Seen:
    floor, frame = has_floor(picture), has_frame(picture)
    return Seen(floor=floor, frame=frame, verdict=judge(bare(picture)))


def in_sunset_colours(picture: Image.Image) -> bool:
    seen = judge(picture)
    return (seen.colour, seen.background) == SUNSET_PAIR


def line(name: str, pictures: Sequence[Image.Image], asked: Sequence[Prompt]) -> str:
    """What the pictures show, as a line of Markdown."""
    seen = [look(picture) for picture in pictures]
    count = len(seen)
    floored = sum(one.floor >= FLOORED for one in seen) / count
    framed = sum(one.frame >= FRAMED for one in seen) / count
    scores = f"{sum(one.floor for one in seen) / count:.2f}, {sum(one.frame for one in seen) / count:.2f}"
    verdicts = [one.verdict for one in seen]
    right = ", ".join(f"{field} {share_right(field, verdicts, asked):.2f}" for field in COLOURS_AND_SHAPE)
    return f"| {name} | {count} | {floored:.2f} | {framed:.2f} | {scores} | {right} |"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: the strengths of floor and frame, and how it is painted."""

    name: str
    floor: float = 0.0
    frame: float = 0.0
    side: int = 128
    scheduler: str = "DPM++ multistep"
    seeds: int = 2


ROWS = [
    Row(name="neither"),
    Row(name="floor 0.5", floor=0.5),
    Row(name="floor 1", floor=1.0),
    Row(name="frame 0.5", frame=0.5),
    Row(name="frame 1", frame=1.0),
    Row(name="both 1", floor=1.0, frame=1.0),
    Row(name="both 1, Euler", floor=1.0, frame=1.0, scheduler="Euler", seeds=1),
    Row(name="both 1, 64 px", floor=1.0, frame=1.0, side=64, seeds=1),
    Row(name="both 1, 256 px", floor=1.0, frame=1.0, side=256, seeds=1),
]


def painted(decorator: Decorator, row: Row, asked: Sequence[Prompt]) -> list[Image.Image]:
    texts = [prompt.text for prompt in asked for _ in range(row.seeds)]
    return decorator.paint(
        texts,
        strengths={"demo-floor": row.floor, "demo-frame": row.frame},
        seeds=range(len(texts)),
        side=row.side,
        scheduler=row.scheduler,
    )


def sunset_share(decorator: Decorator, texts: Sequence[str], *, steps: int = 20) -> float:
    """How many of the pictures have the embedding's colours."""
    pictures = decorator.paint(texts, strengths={}, seeds=range(len(texts)), steps=steps)
    return sum(in_sunset_colours(picture) for picture in pictures) / len(texts)


def without_the_word(text: str) -> str:
    return text.replace(SUNSET, "").strip(" ,")


def print_tables(decorator: Decorator) -> None:
    print("| strengths | pictures | with floor | framed | mean scores | what is right |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        print(line(row.name, painted(decorator, row, prompts.MAIN), prompts.MAIN), flush=True)
    print("\n| prompts | pictures | orange on purple |\n|---|---|---|")
    for wording in SUNSET_WORDINGS:
        texts = [wording.format(shape=shape) for shape in SHAPES] * 3
        print(f"| {wording} | {len(texts)} | {sunset_share(decorator, texts):.2f} |", flush=True)
    plain = [without_the_word(text) for text in SUNSET_PROMPTS]
    print(f"| the same without the word | {len(plain)} | {sunset_share(decorator, plain):.2f} |")


def samples(decorator: Decorator) -> Image.Image:
    """Rows of eight: plain, with a floor, framed, with both, and other things in the embedding's colours."""
    asked, side = prompts.MAIN[: len(SHAPES)], 128
    strengths = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    rows = [
        painted(decorator, Row(name="", floor=floor, frame=frame, seeds=1), asked)
        for floor, frame in strengths
    ]
    texts = SUNSET_PROMPTS[: len(SHAPES)]
    rows.append(decorator.paint(texts, strengths={}, seeds=range(len(texts))))
    sheet = Image.new("RGB", (len(SHAPES) * side, len(rows) * side))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * side, y * side))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo model's LoRAs and embedding.")
    parser.add_argument("--extras", type=Path, default=HERE, help="folder with loras/ and embeddings/")
    parser.add_argument("--samples", type=Path, help="save a sheet of pictures there, and measure nothing")
    arguments = parser.parse_args()
    decorator = Decorator(arguments.extras)
    if arguments.samples:
        samples(decorator).save(arguments.samples)
        return
    print_tables(decorator)


if __name__ == "__main__":
    main()
