"""The step-batching engine beside plain diffusers: same model, same jobs, same threads, in one process.

    python -m tests.bench.engine [mixed kinds arrivals overhead tick] [--model demo|sd15|sdxl]
        [--device cpu|cuda]

Prints ratios. The two sides take turns, so that whatever else the machine does hits both. sd15 and sdxl have
random weights of the real sizes; on a GPU everything runs in fp16.
"""

import argparse

import diffusers
import torch

from shared.settings import Settings
from tests.bench.arrivals import arrivals
from tests.bench.contest import Size, contest
from tests.bench.mixed import kinds, mixed
from tests.bench.models import MODELS, subject
from tests.bench.overhead import overhead
from tests.bench.tick import tick

BENCHES = {"mixed": mixed, "kinds": kinds, "arrivals": arrivals, "overhead": overhead, "tick": tick}
FULL = Size(jobs=64, rounds=3, repeats=15, steps=(21, 31, 41), lone_steps=20)
QUICK = Size(jobs=3, rounds=1, repeats=1, steps=(4, 5, 6), lone_steps=6)
QUICK_SIDE = 64


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(Settings().cpu_threads)
    usual = QUICK if arguments.quick else FULL
    size = Size(
        jobs=arguments.jobs or usual.jobs,
        rounds=arguments.rounds or usual.rounds,
        repeats=arguments.repeats or usual.repeats,
        steps=usual.steps,
        lone_steps=usual.lone_steps,
    )
    side = arguments.side or (QUICK_SIDE if arguments.quick else None)
    with contest(subject(arguments.model, arguments.device, side), size) as both:
        model = both.subject.model
        print(f"torch {torch.__version__}, diffusers {diffusers.__version__}")
        device = f"{_name(model.device)}, {torch.get_num_threads()} CPU threads"
        print(f"{model.model_id} in {model.revision} on {device}")
        print("Expectations are for the demo model on two CPU cores.", flush=True)
        for name in arguments.benches or BENCHES:
            BENCHES[name](both)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the engine beside plain diffusers.")
    # argparse would check the empty list against `choices`
    parser.add_argument("benches", nargs="*", metavar="bench", help=f"{', '.join(BENCHES)}; all by default")
    parser.add_argument("--model", choices=MODELS, default="demo")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--side", type=int, help="pixels; by default the model's own, for the demo model 128")
    parser.add_argument("--jobs", type=int, help=f"of mixed, kinds and arrivals; {FULL.jobs} by default")
    parser.add_argument("--rounds", type=int, help=f"of mixed, kinds and tick; {FULL.rounds} by default")
    parser.add_argument("--repeats", type=int, help=f"of overhead; {FULL.repeats} by default")
    parser.add_argument(
        "--quick", action="store_true", help="a few small jobs: whether it runs, not how fast"
    )
    arguments = parser.parse_args()
    unknown = set(arguments.benches) - set(BENCHES)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return arguments


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


if __name__ == "__main__":
    main()
