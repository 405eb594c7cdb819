"""Trains the demo model from nothing, on pictures that it draws itself, and saves it in diffusers' layout.

    python -m deploy.demo.train --out DIR [--minutes 75]

Runs every stage in turn and keeps each one's result under DIR/stages; a stage whose result is there is not
run again, so an interrupted training goes on where it stopped, and deleting a stage's folder runs it anew.
The model is in DIR/model. Seeds are fixed, but stages end by the clock, so a faster machine trains further
in the same time.

The stages are planned to take 75 minutes together on two idle CPU cores (Xeon with AMX), plus about three to
draw; README.md says how the bundled weights came about and what they can. It runs on the CPU only: the models
are so small that a GPU would mostly wait.
"""

import argparse
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from deploy.demo.training.decoder import train_decoder
from deploy.demo.training.finish import learn_to_be_guided
from deploy.demo.training.latents import Lessons, encode_scenes
from deploy.demo.training.text import train_text_encoder
from deploy.demo.training.tokenizer import train_tokenizer
from deploy.demo.training.unet import NOISE_SCHEDULE, Diet, UNetPlan, new_unet, train_unet
from deploy.demo.training.vae import train_vae

logger = logging.getLogger(__name__)

SHARES = {
    "vae": 7.0,
    "text_encoder": 3.0,
    "unet_small": 17.0,
    "unet": 20.0,
    "unet_finished": 14.0,
    "vae_finished": 5.0,
}
"""How the training time is divided. Drawing and encoding the lessons comes on top: about three minutes."""

LESSON_COUNTS = {64: 14000, 96: 7000, 128: 20000, 192: 3000, 256: 2500, 384: 400, 512: 300}
"""How many pictures of each side are drawn."""

SMALL_DIETS = {
    64: Diet(batch=64, share=0.26),
    96: Diet(batch=48, share=0.32),
    128: Diet(batch=32, share=0.36),
    192: Diet(batch=14, share=0.03),
    256: Diet(batch=8, share=0.03),
}
"""First mostly small pictures: what words mean is learnt on them at a third of the price."""

DIETS = {
    64: Diet(batch=64, share=0.13),
    96: Diet(batch=48, share=0.15),
    128: Diet(batch=32, share=0.56),
    192: Diet(batch=14, share=0.08),
    256: Diet(batch=8, share=0.08),
}
FINISH_DIETS = {
    64: Diet(batch=32, share=0.17),
    96: Diet(batch=24, share=0.08),
    128: Diet(batch=16, share=0.45),
    192: Diet(batch=7, share=0.10),
    256: Diet(batch=4, share=0.12),
    384: Diet(batch=2, share=0.04),
    512: Diet(batch=1, share=0.04),
}


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training: where its results lie, and how long it may take."""

    stages: Path
    minutes: float

    def run(self) -> None:
        self._once("tokenizer", lambda folder: train_tokenizer(folder, seed=0))
        self._once("vae", lambda folder: train_vae(folder, minutes=self._minutes("vae"), seed=1))
        self._once("text_encoder", self._train_text_encoder)
        self._once("lessons", self._draw_lessons)
        self._once("unet_small", self._train_unet_on_small)
        self._once("unet", self._train_unet)
        self._once("unet_finished", self._finish_unet)
        self._once("vae_finished", self._finish_vae)

    def _once(self, stage: str, train: Callable[[Path], None]) -> None:
        """Runs a stage unless its result is there; half a result never is, for it gets its name last."""
        if (self.stages / stage).exists():
            logger.info("stage found", extra={"stage": stage})
            return
        unfinished = self.stages / f"{stage}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        train(unfinished)
        unfinished.rename(self.stages / stage)
        logger.info("stage done", extra={"stage": stage})

    def _minutes(self, stage: str) -> float:
        return self.minutes * SHARES[stage] / sum(SHARES.values())

    def _tokenizer(self) -> CLIPTokenizer:
        tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(self.stages / "tokenizer")
        return tokenizer

    def _vae(self, stage: str) -> AutoencoderKL:
        return AutoencoderKL.from_pretrained(self.stages / stage)

    def _unet(self, stage: str) -> UNet2DConditionModel:
        return UNet2DConditionModel.from_pretrained(self.stages / stage)

    def _lessons(self) -> dict[int, Lessons]:
        lessons: dict[int, Lessons] = torch.load(self.stages / "lessons" / "lessons.pt", weights_only=False)
        return lessons

    def _train_text_encoder(self, folder: Path) -> None:
        minutes = self._minutes("text_encoder")
        train_text_encoder(folder, tokenizer=self._tokenizer(), minutes=minutes, seed=2)

    def _draw_lessons(self, folder: Path) -> None:
        vae = self._vae("vae").eval()
        lessons = {
            side: encode_scenes(vae, side=side, count=count, seed=3) for side, count in LESSON_COUNTS.items()
        }
        torch.save(lessons, folder / "lessons.pt")

    def _train_unet_on_small(self, folder: Path) -> None:
        torch.manual_seed(4)
        minutes = self._minutes("unet_small")
        plan = UNetPlan(diets=SMALL_DIETS, minutes=minutes, learning_rate=1e-3, descent=0.02, seed=50)
        train_unet(new_unet(), folder, self._lessons(), self.stages, plan)

    def _train_unet(self, folder: Path) -> None:
        plan = UNetPlan(diets=DIETS, minutes=self._minutes("unet"), learning_rate=1e-3, descent=0.5, seed=150)
        train_unet(self._unet("unet_small"), folder, self._lessons(), self.stages, plan)

    def _finish_unet(self, folder: Path) -> None:
        plan = UNetPlan(
            diets=FINISH_DIETS,
            minutes=self._minutes("unet_finished"),
            learning_rate=3e-4,
            warmup=50,
            descent=1.0,
            average_decay=0.995,
            seed=250,
        )
        train_unet(self._unet("unet"), folder, self._lessons(), self.stages, plan, learn=learn_to_be_guided)

    def _finish_vae(self, folder: Path) -> None:
        train_decoder(self._vae("vae"), folder, minutes=self._minutes("vae_finished"), seed=9)

    def save_model(self, folder: Path) -> None:
        """The whole pipeline in half precision, put in place in one move."""
        scheduler = PNDMScheduler(
            **NOISE_SCHEDULE, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False
        )
        pipeline = StableDiffusionPipeline(
            vae=self._vae("vae_finished"),
            text_encoder=CLIPTextModel.from_pretrained(self.stages / "text_encoder"),
            tokenizer=self._tokenizer(),
            unet=self._unet("unet_finished"),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        pipeline.to(torch.float16).save_pretrained(unfinished)
        for name in ("vocab.json", "merges.txt"):  # which older readers of the format look for
            shutil.copy(self.stages / "tokenizer" / name, unfinished / "tokenizer" / name)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)


class WithFields(logging.Formatter):
    """The message and, behind it, what the event carries."""

    def format(self, record: logging.LogRecord) -> str:
        usual = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}
        fields = [f"{name}={value}" for name, value in vars(record).items() if name not in usual]
        return " ".join([super().format(record), *fields])


def log_to_terminal() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(WithFields("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the stages and the model")
    parser.add_argument(
        "--minutes", type=float, default=sum(SHARES.values()), help="time for all stages together"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    arguments = parser.parse_args()
    log_to_terminal()
    torch.set_num_threads(arguments.threads)
    training = Training(stages=arguments.out / "stages", minutes=arguments.minutes)
    training.run()
    training.save_model(arguments.out / "model")


if __name__ == "__main__":
    main()
