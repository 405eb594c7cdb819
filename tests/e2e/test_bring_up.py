"""A new server with no models at all is brought to serving by its API alone, through two clients of the
protocol as they are published, and without a restart."""

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import httpx
import pytest
import torch
from safetensors.torch import save_file

from deploy.demo.judge import judge
from shared.settings import DEMO
from tests.support.clients import imported
from tests.support.hub import FakeHub, running_hub
from tests.support.model_files import prefixed, save_checkpoint, vae_original
from tests.support.pictures import read_picture
from tests.support.processes import LocalCluster, require_that_nothing_outlives_make, running_cluster
from tests.support.receiver import Receiver, running_receiver
from tests.support.s3 import REGION, S3Server, running_s3
from tests.support.site import Site, answer, running_site
from tests.support.waiting import wait_until

KEY = "demo"
DESCRIBED_BY = "stable-diffusion-v1-5/stable-diffusion-v1-5"
"""Where the configs of Stable Diffusion 1.x are looked up: here they are the demo model's."""


@dataclass(frozen=True)
class World:
    """The new server, and what its clients name."""

    cluster: LocalCluster
    site: Site
    s3: S3Server
    receiver: Receiver

    @property
    def root(self) -> str:
        return f"{self.cluster.url}/api/v1/enterprise"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("bring-up")
    models_file = folder / "models.yaml"
    models_file.write_text("models: []\n")
    with (
        running_site(published(folder)) as site,
        hub_of_configs(folder) as hub,
        running_s3() as s3,
        running_receiver() as receiver,
        running_cluster(
            folder / "data",
            by_make=True,
            PRINTWORKS_MODELS_FILE=str(models_file),
            PRINTWORKS_HUB_URL=hub.url,
        ) as cluster,
    ):
        yield World(cluster, site, s3, receiver)


def published(folder: Path) -> dict[str, Any]:
    """Files on a site: the demo model in one file with the original names, a LoRA, a VAE that makes all
    pictures grey."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        DEMO / "model", dtype=torch.float32, safety_checker=None
    )
    save_checkpoint(pipeline, folder / "checkpoint.safetensors")
    save_file(prefixed("first_stage_model.", vae_original(a_grey_vae())), folder / "grey.safetensors")
    shutil.copy(DEMO / "loras" / "frame.safetensors", folder / "frame.safetensors")
    names = ("checkpoint.safetensors", "grey.safetensors", "frame.safetensors")
    return {f"/{name}": answer((folder / name).read_bytes()) for name in names}


def a_grey_vae() -> diffusers.AutoencoderKL:
    """For latents of the demo model's kind."""
    config = diffusers.AutoencoderKL.load_config(DEMO / "model" / "vae")
    blocks = len(config["block_out_channels"])
    vae = diffusers.AutoencoderKL.from_config(
        config | {"block_out_channels": (32,) * blocks, "norm_num_groups": 32}
    )
    with torch.no_grad():
        vae.decoder.conv_out.weight.zero_()
        vae.decoder.conv_out.bias.zero_()
    return vae


def hub_of_configs(folder: Path) -> AbstractContextManager[FakeHub]:
    configs = folder / "configs"
    shutil.copytree(DEMO / "model", configs, ignore=shutil.ignore_patterns("*.safetensors"))
    return running_hub({DESCRIBED_BY: configs})


def told(world: World, track_id: str | None) -> dict[str, Any]:
    """What the webhook of a load said; the older client sends no track_id."""

    def found() -> dict[str, Any] | None:
        bodies = [json.loads(request.body) for request in world.receiver.requests]
        return next((body for body in bodies if body["track_id"] == track_id), None)

    return wait_until(found, within_s=60)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the clients' own
def test_a_new_server_is_brought_to_serving_by_its_api_alone(world: World) -> None:
    client = imported("modelslab_py.core.client").Client(api_key=KEY, fetch_retry=60, fetch_timeout=1)
    client.base_url = f"{world.cluster.url}/api/"
    newer = imported("modelslab_py.core.apis.community").Community(client=client, enterprise=True)
    older = imported("modelslab").EPTxt2Img()
    older.base_url = world.root
    general = imported("modelslab").EPGeneral()
    general.base_url = world.root
    worker = world.cluster.process("worker.gpu.app").pid
    assert json.loads(older.get_all_models(KEY)) == {"models": [], "status": "success"}
    assert older.verify_model(KEY, "mine").count("Model does not exist on server")

    checkpoint = {
        "url": f"{world.site.url}/checkpoint.safetensors",
        "model_id": "mine",
        "model_type": "custom_ckpt",
        "from_safetensors": "yes",
        "webhook": world.receiver.url,
        "track_id": "mine",
    }
    assert client.post(f"{world.root}/load_model", checkpoint)["message"] == "model load started"
    lora = {
        "url": f"{world.site.url}/frame.safetensors",
        "model_id": "frame",
        "model_category": "lora",
        "model_format": "safetensors",
        "webhook": world.receiver.url,
        "track_id": "frame",
    }
    assert client.post(f"{world.root}/load_model_v2", lora)["status"] == "success"
    vae = f"{world.site.url}/grey.safetensors"
    assert "VAE load started" in older.load_vae(KEY, world.receiver.url, "grey", vae, "safetensors")
    for track_id in ("mine", "frame", None):
        loaded = told(world, track_id)
        assert (loaded["status"], loaded["message"]) == ("success", "model loaded"), loaded
    s3 = world.s3
    target = (f"{s3.endpoint}/{s3.bucket}/generations/", REGION, f"{s3.endpoint}/{s3.bucket}")
    stored = general.update_s3(
        KEY, "text_to_image", *target, s3.access_key_id, s3.secret_access_key, "generations"
    )
    assert json.loads(stored)["message"] == "S3 details updated successfully"

    plain, grey, framed = (
        finished(newer, newer.text_to_image(wanted(**fields)))
        for fields in ({}, {"vae": "grey"}, {"lora_model": "frame", "lora_strength": 1.0})
    )

    assert "Model exists on server" in older.verify_model(KEY, "mine")
    listed = json.loads(older.get_all_models(KEY))["models"]
    assert {model["model_id"] for model in listed} == {"mine", "grey", "frame"}
    pictures = [read_picture(httpx.get(made["output"][0]).content) for made in (plain, grey, framed)]
    seen = judge(pictures[0])
    assert (seen.colour, seen.background, seen.shape) == ("red", "blue", "circle")
    assert set(pictures[1].convert("RGB").getdata()) == {(128, 128, 128)}
    assert pictures[2].tobytes() != pictures[0].tobytes()
    assert set(s3.contents()) == {
        f"generations/{made['output'][0].rpartition('/')[2]}" for made in (plain, grey, framed)
    }
    assert world.cluster.process("worker.gpu.app").pid == worker


def wanted(**fields: Any) -> Any:
    return imported("modelslab_py.schemas.community").Text2Image(
        model_id="mine",
        prompt="a red circle on a blue background",
        width=128,
        height=128,
        seed=3,
        enhance_prompt="no",
        **fields,
    )


def finished(client: Any, said: dict[str, Any]) -> dict[str, Any]:
    made = said if said["status"] != "processing" else client.fetch(str(said["id"]))
    assert made["status"] == "success", made
    return made


def test_nothing_outlives_make_run(world: World) -> None:
    """The last one here: it ends the server."""
    require_that_nothing_outlives_make(world.cluster, signal.SIGTERM)
