"""Trains the demo model's extras on pictures that it draws itself: two LoRAs and an embedding.

    python -m deploy.demo.train_extras --out DIR [--minutes 15]

The model is frozen; DIR gets loras/ and embeddings/, as they lie beside this file. Not for the model itself
(train.py). Stages end by the clock, so a faster machine trains further in the same time; drawing the
lessons comes on top.
"""

import argparse
from pathlib import Path

import torch

from deploy.demo.measure import MODEL
from deploy.demo.train import log_to_terminal
from deploy.demo.training.embedding import save_embedding, train_sunset
from deploy.demo.training.lora import Company, Studio, save_as_kohya, save_as_peft, train_lora

SHARES = {"frame": 5.0, "floor": 7.0, "sunset": 3.0}
"""How the training time is divided: minutes of the bundled ones."""

SUNSET = "<demo-sunset>"


def train_loras(folder: Path, *, minute: float) -> None:
    """The floor is taught after the frame, partly on framed pictures, so that the two go together."""
    folder.mkdir(parents=True, exist_ok=True)
    studio = Studio.at(MODEL)
    frame = train_lora(studio, "frame", minutes=minute * SHARES["frame"], seed=11)
    save_as_kohya(frame, folder / "frame.safetensors")
    beside = Company(style="frame", adapter=frame)
    floor = train_lora(studio, "floor", minutes=minute * SHARES["floor"], seed=12, beside=beside)
    save_as_peft(floor, folder / "floor.safetensors")


def train_embedding(folder: Path, *, minute: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    vectors = train_sunset(Studio.at(MODEL), minutes=minute * SHARES["sunset"], seed=13)
    save_embedding(vectors, folder / "sunset.safetensors", word=SUNSET)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo model's LoRAs and embedding.")
    parser.add_argument("--out", type=Path, required=True, help="folder for loras/ and embeddings/")
    parser.add_argument("--minutes", type=float, default=sum(SHARES.values()), help="time for all together")
    parser.add_argument("--only", choices=("loras", "embeddings"))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    log_to_terminal()
    torch.set_num_threads(arguments.threads)
    minute = arguments.minutes / sum(SHARES.values())
    if arguments.only != "embeddings":
        train_loras(arguments.out / "loras", minute=minute)
    if arguments.only != "loras":
        train_embedding(arguments.out / "embeddings", minute=minute)


if __name__ == "__main__":
    main()
