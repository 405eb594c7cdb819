"""Trains the demo model's ControlNet on edges, on pictures that it draws itself.

    python -m deploy.demo.train_controlnet --out DIR [--minutes 24]

The model is frozen; DIR becomes what lies in controlnet/ beside this file. It ends by the clock, so a faster
machine trains further in the same time; drawing the lessons comes on top.
"""

import argparse
import shutil
from pathlib import Path

import torch
from diffusers import ControlNetModel

from deploy.demo.measure import MODEL
from deploy.demo.train import log_to_terminal
from deploy.demo.training.controlnet import ControlNetPlan, new_controlnet, train_controlnet
from deploy.demo.training.lora import Studio


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model's ControlNet.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("--minutes", type=float, default=24.0, help="time for the training")
    parser.add_argument("--start", type=Path, help="go on from this result instead of from the model's UNet")
    parser.add_argument("--seed", type=int, default=31, help="another one draws other lessons")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest one")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    log_to_terminal()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    studio = Studio.at(MODEL)
    start: Path | None = arguments.start
    controlnet = ControlNetModel.from_pretrained(start) if start else new_controlnet(studio.model / "unet")
    unfinished = arguments.out.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    plan = ControlNetPlan(
        minutes=arguments.minutes, seed=arguments.seed, learning_rate=arguments.learning_rate
    )
    train_controlnet(controlnet, unfinished, studio, plan)
    shutil.rmtree(arguments.out, ignore_errors=True)
    unfinished.rename(arguments.out)


if __name__ == "__main__":
    main()
