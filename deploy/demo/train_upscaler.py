"""Trains the demo upscaler from nothing, on drawings made small, and saves it in transformers' layout.

    python -m deploy.demo.train_upscaler --out DIR [--minutes 20]

Seeds are fixed, but it ends by the clock, so a faster machine trains further in the same time. Drawing the
lessons comes on top: about a minute. It runs on one CPU thread unless told otherwise.
"""

import argparse
import logging
import shutil
from pathlib import Path

import torch
from transformers import Swin2SRForImageSuperResolution

from deploy.demo.training.upscaler import UpscalerPlan, new_upscaler, train_upscaler


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo upscaler.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the result")
    parser.add_argument("--minutes", type=float, default=20.0, help="time for the training")
    parser.add_argument("--drawings", type=int, default=4000, help="how many drawings to learn from")
    parser.add_argument("--start", type=Path, help="go on from this result instead of from nothing")
    parser.add_argument("--seed", type=int, default=21, help="another one draws other lessons")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="the highest one")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    start: Path | None = arguments.start
    model = (
        Swin2SRForImageSuperResolution.from_pretrained(start, dtype=torch.float32)
        if start
        else new_upscaler()
    )
    plan = UpscalerPlan(
        minutes=arguments.minutes,
        drawings=arguments.drawings,
        seed=arguments.seed,
        learning_rate=arguments.learning_rate,
    )
    unfinished = arguments.out.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    train_upscaler(model, unfinished, plan)
    shutil.rmtree(arguments.out, ignore_errors=True)
    unfinished.rename(arguments.out)


if __name__ == "__main__":
    main()
