"""Trains the demo model's motion adapter on clips that it draws itself, so that it can make short films.

    python -m deploy.demo.train_motion --out DIR [--minutes 18]

The model is frozen; DIR gets what lies in motion/ beside this file. Training ends by the clock, so a faster
machine trains further in the same time; drawing the clips comes on top.
"""

import argparse
import logging
from pathlib import Path

import torch

from deploy.demo.measure import MODEL
from deploy.demo.train import WithFields
from deploy.demo.training.lora import Studio
from deploy.demo.training.motion import train_motion

MINUTES, SEED = 18.0, 31


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model's motion adapter.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    handler = logging.StreamHandler()
    handler.setFormatter(WithFields("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    torch.set_num_threads(arguments.threads)
    train_motion(Studio.at(MODEL), arguments.out, minutes=arguments.minutes, seed=SEED)


if __name__ == "__main__":
    main()
