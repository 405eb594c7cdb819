"""Models are fetched before workers need them, and found by those that load them later."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from deploy.commands import Command
from shared.seeding import listed_loads
from tests.support.hub import FakeHub, running_hub
from tests.support.installing import Workshop
from tests.support.processes import forked
from worker.gpu.preload import EXIT_MISCONFIGURED, EXIT_MISSING, preload

PRELOAD = Command("preload", (sys.executable, "-m", "worker.gpu.preload"))
STYLE = {"kind": "lora", "id": "style", "hub": "studio/style"}
GONE = {"kind": "lora", "id": "gone", "hub": "studio/gone"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    repo = tmp_path / "repo"
    repo.mkdir()
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    weights = {f"{layer}.lora_A.weight": torch.randn(4, 768), f"{layer}.lora_B.weight": torch.randn(768, 4)}
    save_file(weights, repo / "style.safetensors")
    with running_hub({"studio/style": repo}) as hub:
        yield hub


def workshop(folder: Path, hub: FakeHub, *models: dict[str, Any]) -> Workshop:
    file = folder / "models.yaml"
    file.write_text(yaml.safe_dump({"models": list(models)}))
    return Workshop(folder, hub_url=hub.url, models_file=file)


def test_a_preload_leaves_files_that_a_worker_loads_without_the_hub(tmp_path: Path, hub: FakeHub) -> None:
    shop, log = workshop(tmp_path, hub, STYLE), tmp_path / "preload.log"

    with forked(PRELOAD, shop.settings, log) as process:
        assert process.wait(30) == 0
    asked = len(hub.requests)
    (spec,) = listed_loads(shop.settings)
    entry = shop.install(spec)

    assert (hub.fetched("studio/style"), len(hub.requests)) == (["style.safetensors"], asked)
    assert shop.installer.place_of(entry).is_file()
    assert (entry.entry_id, entry.model_id) == (spec.file_prefix, "style")


def test_a_model_that_cannot_be_had_fails_the_preload_and_keeps_no_other(
    tmp_path: Path, hub: FakeHub
) -> None:
    shop, log = workshop(tmp_path, hub, GONE, STYLE), tmp_path / "preload.log"

    with forked(PRELOAD, shop.settings, log) as process:
        assert process.wait(30) == EXIT_MISSING

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["event"], line["model_id"]) for line in lines if "model_id" in line] == [
        ("model not fetched", "gone"),
        ("model there", "style"),
    ]
    assert "the hub shows no repository studio/gone" in lines[0]["reason"]


def test_a_models_file_that_cannot_be_used_is_a_sentence(tmp_path: Path, hub: FakeHub) -> None:
    shop, log = workshop(tmp_path, hub, {"kind": "lora", "id": "style"}), tmp_path / "preload.log"

    with forked(PRELOAD, shop.settings, log) as process:
        assert process.wait(30) == EXIT_MISCONFIGURED

    assert "needs exactly one of path, hub and url" in log.read_text()


def test_a_preload_that_is_repeated_fetches_nothing(tmp_path: Path, hub: FakeHub) -> None:
    shop = workshop(tmp_path, hub, STYLE)

    first, before = preload(shop.settings), len(hub.requests)
    second = preload(shop.settings)

    assert (first, second) == (True, True)
    assert len(hub.requests) == before


def test_a_pool_s_machine_gets_what_its_pool_serves_and_what_all_use(tmp_path: Path, hub: FakeHub) -> None:
    big = {"kind": "checkpoint", "id": "big", "hub": "studio/gone"}
    shop = workshop(tmp_path, hub, big, STYLE)
    served, others = ({"serves": (model,)} for model in ("big", "small"))

    whole = [preload(shop.settings.model_copy(update=pool)) for pool in (others, served)]

    assert whole == [True, False]  # only the second asked for what the hub does not have
    assert hub.fetched("studio/style") == ["style.safetensors"]
