"""Trains the demo model's motion adapter on clips that it draws itself, so that it can make short films.

    python -m deploy.demo.train_motion --out DIR [--minutes 20]

The model is frozen; DIR gets what lies in motion/ beside this file. Training ends by the clock, so a faster
machine trains further in the same time; drawing the clips comes on top.
"""

import argparse
from pathlib import Path

import torch

from deploy.demo.measure import MODEL
from deploy.demo.train import log_to_terminal
from deploy.demo.training.lora import Studio
from deploy.demo.training.motion import train_motion


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model's motion adapter.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--minutes", type=float, default=20.0, help="time for the training")
    parser.add_argument("--start", type=Path, help="go on from this adapter instead of from nothing")
    parser.add_argument("--seed", type=int, default=31, help="another one draws other clips")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    log_to_terminal()
    torch.set_num_threads(arguments.threads)
    train_motion(
        Studio.at(MODEL),
        arguments.out,
        minutes=arguments.minutes,
        seed=arguments.seed,
        start=arguments.start,
    )


if __name__ == "__main__":
    main()
