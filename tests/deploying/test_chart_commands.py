"""What the chart's pods are told to run becomes the processes of deploy/commands.py, by their settings."""

from collections.abc import Callable

import pytest

from deploy import commands
from deploy.commands import Command
from deploy.process import process
from shared.settings import Settings
from tests.support.chart import ALL, environment_in, joined, main_container, render

BECOMES: dict[str, Callable[[Settings], Command]] = {
    "gateway": lambda _: commands.gateway(),
    "worker-gpu": lambda settings: commands.gpu_worker(0, settings.slots, settings.pool),
    "worker-cpu": lambda settings: commands.gpu_worker(0, settings.slots, settings.pool),
    "dispatcher": lambda settings: commands.dispatcher(settings.deliveries_at_once),
    "flower": lambda _: commands.flower("0.0.0.0", 5555),
}
SAID = {"settings": {"deliveries_at_once": 5}, "poolDefaults": {"settings": {"slots": 11}}}


@pytest.mark.parametrize("name", BECOMES)
def test_a_pod_becomes_its_process(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = render(joined(ALL, SAID))
    container = main_container(rendered, name)
    environment = environment_in(rendered, container)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    command, _ = process(container["args"][3:], environment)

    assert container["args"][:3] == ["python", "-m", "deploy.process"]
    assert command.words == BECOMES[name](Settings.load()).words
    told = {"worker-gpu": "11", "worker-cpu": "11", "dispatcher": "5"}
    if name in told:
        assert f"--concurrency={told[name]}" in command.words
