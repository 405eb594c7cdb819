"""Becomes one process of the cluster: `python -m deploy.process gateway|gpu-worker|dispatcher|flower`.

For containers, which run one process each. The words are those of commands.py, with what the settings say;
the process takes this one's place, so that it gets the signals.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from deploy import commands
from deploy.commands import Command
from deploy.flower import FlowerOptions
from deploy.stopping import explaining, say
from shared.errors import Misconfigured
from shared.settings import Settings

KINDS = ("gateway", "gpu-worker", "dispatcher", "flower")


def main() -> None:
    with explaining(say):
        command, environment = process(sys.argv[1:], os.environ)
    os.execvpe(command.words[0], command.words, environment)  # noqa: S606 - our own words, no shell


def process(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Command, dict[str, str]]:
    """What the word in `arguments` stands for, and its environment. Raises `Misconfigured`."""
    if len(arguments) != 1 or arguments[0] not in KINDS:
        said = " ".join(arguments) or "nothing"
        raise Misconfigured(f"Name one process: {', '.join(KINDS)}; this was {said}.")
    settings = Settings.load()
    match arguments[0]:
        case "gateway":
            return commands.gateway(), dict(environment)
        case "gpu-worker":
            return commands.gpu_worker(0, settings.slots, settings.pool), dict(environment)
        case "dispatcher":
            return commands.dispatcher(settings.deliveries_at_once), dict(environment)
        case _:
            options = FlowerOptions.from_environment(environment)
            return commands.flower(options.address, options.port), options.variables


if __name__ == "__main__":
    main()
