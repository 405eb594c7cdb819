"""Models and buckets that come and go while a whole server runs."""

import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.ports import free_port
from shared.settings import DEMO, Settings
from tests.support.clients import a_png, in_base64
from tests.support.hub import running_hub
from tests.support.pictures import read_picture
from tests.support.processes import LocalCluster, running_cluster, running_gateway, running_redis
from tests.support.receiver import Receiver, running_receiver
from tests.support.s3 import REGION, S3Server, running_s3
from tests.support.site import Page, Site, answer, redirect, running_site
from tests.support.waiting import wait_until

KEY, OTHER_KEY = "demo", "the-first-servers-key"
LORA = (DEMO / "loras" / "frame.safetensors").read_bytes()
SMALL = {"key": KEY, "model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64}


@dataclass(frozen=True)
class World:
    cluster: LocalCluster
    site: Site
    s3: S3Server
    receiver: Receiver
    folder: Path

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        url = f"{self.cluster.url}/api/v1/enterprise/{path}"
        said: dict[str, Any] = httpx.post(url, json={"key": KEY} | fields, timeout=60).json()
        return said

    def paint(self, **fields: Any) -> dict[str, Any]:
        return self.post("text2img", **SMALL, num_inference_steps=4, **fields)

    def load(self, name: str, page: str, **fields: Any) -> dict[str, Any]:
        """What the webhook of a load says at last."""
        url = f"{self.site.url}{page}"
        wanted = {"url": url, "model_id": name, "model_type": "lora", "webhook": self.receiver.url}
        started = self.post("load_model", **(wanted | {"track_id": name} | fields))
        assert (started["status"], started["message"]) == ("success", "model load started"), started
        return wait_until(lambda: self._told(name), within_s=60)

    def use_bucket(self, **changes: str | None) -> dict[str, Any]:
        bucket = f"{self.s3.endpoint}/{self.s3.bucket}"
        details = {
            "deploy_type": "text_to_image",
            "public_url": f"{bucket}/made/",
            "region_name": REGION,
            "endpoint_url": bucket,
            "aws_access_key_id": self.s3.access_key_id,
            "aws_secret_access_key": self.s3.secret_access_key,
            "image_directory": "made",
        }
        return self.post("update_s3", **(details | changes))

    def ids(self) -> set[str]:
        return {model["model_id"] for model in self.post("get_all_models")["models"]}

    def _told(self, name: str) -> dict[str, Any] | None:
        bodies = [json.loads(request.body) for request in self.receiver.requests]
        return next((body for body in bodies if body["track_id"] == name), None)


def held_back(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    """Half of the LoRA, and then nothing, to who asks for all of it; the rest to who asks for that."""
    start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
    handler.send_response(206 if start else 200)
    handler.send_header("ETag", '"the same"')
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(LORA) - 1}/{len(LORA)}")
    handler.send_header("Content-Length", str(len(LORA) - start))
    handler.end_headers()
    if start:
        handler.wfile.write(LORA[start:])
    else:
        handler.wfile.write(LORA[: len(LORA) // 2])
        handler.wfile.flush()
        over.wait(60)


PAGES: dict[str, Page] = {
    "/lora": answer(LORA, headers={"Content-Disposition": 'attachment; filename="frame.safetensors"'}),
    "/cut": answer(LORA[: len(LORA) // 2]),
    "/page": answer(b"<html>please log in</html>", headers={"Content-Type": "text/html"}),
    "/held": held_back,
    "/inner": redirect("http://169.254.169.254/latest"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("models")
    with (
        running_site(PAGES) as site,
        running_hub({}) as hub,
        running_s3() as s3,
        running_receiver() as receiver,
        first_server(folder / "first") as first,
        running_cluster(
            folder / "data",
            PRINTWORKS_HUB_URL=hub.url,
            PRINTWORKS_PEERS=json.dumps({"first": {"url": first, "key": "demo"}}),
            PRINTWORKS_LEASE_S="3",
            PRINTWORKS_BEAT_S="0.5",
        ) as cluster,
    ):
        yield World(cluster, site, s3, receiver, folder)


class first_server:  # noqa: N801 - used like a function
    """A gateway of another server, whose LoRA has a name of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "models.yaml").write_text(
            f"models: [{{kind: lora, id: first-only, path: {DEMO / 'loras' / 'floor.safetensors'}}}]"
        )
        self._redis = running_redis(folder)
        settings = Settings(
            redis_url=self._redis.__enter__(),
            data_dir=folder,
            port=free_port(),
            api_key=OTHER_KEY,
            models_file=folder / "models.yaml",
        )
        self._gateway = running_gateway(settings, folder / "gateway.log")

    def __enter__(self) -> str:
        return self._gateway.__enter__()

    def __exit__(self, *_: object) -> None:
        self._gateway.__exit__(None, None, None)
        self._redis.__exit__(None, None, None)


def test_a_lora_is_loaded_used_and_deleted_while_the_server_runs(world: World) -> None:
    loaded = world.load("style", "/lora")
    assert (loaded["status"], loaded["message"], loaded["model_id"]) == ("success", "model loaded", "style")
    assert world.post("verify_model", model_id="style")["message"] == "Model exists on server"
    plain, styled = world.paint(seed=1), world.paint(seed=1, lora_model="style")
    assert styled["status"] == "success", styled
    pictures = [httpx.get(made["output"][0]).content for made in (plain, styled)]
    assert pictures[0] != pictures[1]

    assert world.post("delete_model", model_id="style")["message"] == "Model deleted on server"

    assert world.post("verify_model", model_id="style")["message"] == "Model does not exist on server"
    assert "LoRA not found: style" in world.paint(lora_model="style")["message"]
    assert world.post("delete_model", model_id="style")["message"] == "Model id not found"
    models = world.cluster.data_dir / "models"
    wait_until(lambda: not [path for path in models.iterdir() if not path.name.startswith(".")])


@pytest.mark.parametrize(
    ("page", "fields", "sentence"),
    [
        ("/cut", {}, "cut off"),
        ("/page", {}, "page"),
        ("/none", {}, "404"),
        ("/lora", {"model_type": "custom_ckpt"}, "LoRA"),
        ("/lora", {"url": "owner/nothing", "model_type": "huggingface"}, "owner/nothing"),
        ("/lora", {"url": "./../../etc/passwd"}, "models folder"),
        ("/inner", {}, "private"),
    ],
    ids=["cut off", "a page", "not there", "wrong kind", "unknown repository", "outside", "private"],
)
def test_a_load_that_fails_says_why_and_leaves_nothing(
    world: World, page: str, fields: dict[str, str], sentence: str
) -> None:
    name = f"bad-{abs(hash((page, str(fields))))}"
    before = world.ids()

    told = world.load(name, page, **fields)

    assert (told["status"], told["model_id"]) == ("failed", name)
    assert sentence.lower() in told["message"].lower()
    assert world.ids() == before


def test_a_download_goes_on_where_a_killed_worker_left_it(world: World) -> None:
    world.post(
        "load_model",
        url=f"{world.site.url}/held",
        model_id="held",
        model_type="lora",
        webhook=world.receiver.url,
        track_id="held",
    )
    models = world.cluster.data_dir / "models"
    wait_until(
        lambda: any(path.stat().st_size for path in models.rglob(".installing-*/**/*") if path.is_file())
    )

    world.cluster.process("worker.gpu.app").send_signal(signal.SIGKILL)

    told = wait_until(lambda: world._told("held"), within_s=60)
    assert told["status"] == "success", told
    asked = [request.headers.get("range") for request in world.site.requests if request.path == "/held"]
    assert asked[0] is None
    assert asked[-1] == f"bytes={len(LORA) // 2}-"
    assert world.paint(lora_model="held")["status"] == "success"


def test_another_servers_models_are_copied(world: World) -> None:
    wrong = world.post("sync_models", sync_key="no-key")
    assert wrong["status"] == "error"
    assert "first" in wrong["message"]

    synced = world.post("sync_models", sync_key=OTHER_KEY)

    assert synced == {
        "status": "success",
        "message": "1 Models synced successfully",
        "model_list": ["first-only"],
    }
    assert world.paint(lora_model="first-only")["status"] == "success"
    assert world.post("sync_models", sync_key=OTHER_KEY)["model_list"] == []


def test_pictures_wait_on_the_disk_while_s3_is_away(world: World) -> None:
    assert world.use_bucket()["message"] == "S3 details updated successfully"
    world.s3.stop()
    made = world.paint()
    assert made["status"] == "success", made
    assert "S3 is away" in made["tip"]

    world.s3.start()

    link = made["output"][0]
    wait_until(lambda: httpx.get(link).status_code == 200, within_s=60)
    assert read_picture(httpx.get(link).content).size == (64, 64)
    assert not list((world.cluster.data_dir / "spool").iterdir())
    assert world.post("reset_s3")["message"] == "S3 details reset successfully"
    assert world.paint()["output"][0].startswith(world.cluster.url)


def test_a_private_buckets_links_lead_through_the_server(world: World) -> None:
    assert world.use_bucket(public_url=None)["message"] == "S3 details updated successfully"

    made = world.paint(seed=5)

    link = made["output"][0]
    assert link.startswith(f"{world.cluster.url}/stored/")
    redirect = httpx.get(link)
    assert redirect.status_code == 307
    assert read_picture(httpx.get(redirect.headers["location"]).content).size == (64, 64)
    again = world.post("img2img", **SMALL, init_image=link, num_inference_steps=4, strength=0.5)
    assert again["status"] == "success", again
    uploaded = world.post("upload_image", base64_image=in_base64(a_png()), image_type="png")
    assert uploaded["status"] == "success", uploaded
    assert httpx.get(uploaded["image_url"], follow_redirects=True).status_code == 200
    assert httpx.get(link.replace("-0.png", "-1.png"), follow_redirects=True).status_code == 404
    world.use_bucket(public_url=None)  # as after the credentials were replaced
    world.use_bucket()
    assert httpx.get(link, follow_redirects=True).status_code == 200
    world.post("reset_s3")
    assert httpx.get(link).status_code == 404


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"aws_secret_access_key": "wrong"}, "aws_secret_access_key"),
        ({"endpoint_url": "http://10.1.2.3/bucket"}, "private"),
        ({"endpoint_url": "https://s3.example.com"}, "bucket"),
        ({"image_directory": "../up"}, "image_directory"),
        ({"deploy_type": "everything"}, "deploy_type"),
    ],
    ids=["credentials", "private", "no bucket", "a way out", "deploy type"],
)
def test_a_bucket_that_cannot_be_used_is_refused_and_nothing_changes(
    world: World, changes: dict[str, str], sentence: str
) -> None:
    refused = world.use_bucket(**changes)

    assert refused["status"] == "error"
    assert sentence in refused["message"]
    assert world.s3.secret_access_key not in json.dumps(refused)
    assert world.paint()["output"][0].startswith(world.cluster.url)


def test_an_update_reads_settings_and_models_anew_and_loses_no_job(world: World) -> None:
    worker = world.cluster.process("worker.gpu.app").pid
    running = [world.paint(instant_response="yes", samples=4, seed=seed)["id"] for seed in range(6)]
    (world.cluster.data_dir / "settings.env").write_text("PRINTWORKS_SYNC_WAIT_S=0\n")

    assert world.post("update_server")["message"] == "server updating"

    wait_until(lambda: world.paint()["status"] == "processing", within_s=20)
    wait_until(lambda: not psutil.pid_exists(worker), within_s=40)
    for job_id in running:
        wait_until(partial(is_done, world, job_id), within_s=60)
    (world.cluster.data_dir / "settings.env").write_text("PRINTWORKS_MAX_SIDE=wide\n")
    refused = world.post("update_server")
    assert refused["status"] == "error"
    assert "PRINTWORKS_MAX_SIDE" in refused["message"]
    (world.cluster.data_dir / "settings.env").unlink()


def is_done(world: World, job_id: int) -> bool:
    said = world.post("fetch", request_id=job_id)
    assert said["status"] in ("processing", "success"), said
    return bool(said["status"] == "success")


def test_another_servers_key_is_nowhere_in_clear(world: World) -> None:
    """After all of the above: logs, the append-only file, everything. All other secrets:
    tests/hostile/test_whole_run.py."""
    for path in world.cluster.data_dir.rglob("*"):
        if path.is_file():
            assert OTHER_KEY.encode() not in path.read_bytes(), path
