"""What the tests of real clients share: servers to call, pictures to send, calls found by introspection."""

import base64
import contextlib
import importlib
import inspect
import io
import pkgutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import httpx
from PIL import Image

from deploy.ports import free_port
from shared.settings import Settings
from tests.support.outcomes import SIDE, Said
from tests.support.processes import running_gateway, running_redis
from tests.support.s3 import REGION, S3Server, running_s3
from tests.support.waiting import wait_until
from tests.support.whole import running_whole_cluster

KEY = "demo"
ROOT = "/api/v1/enterprise"
A_REQUEST: dict[str, str | int] = {
    **{"key": KEY, "model_id": "demo", "prompt": "a red circle", "width": SIDE, "height": SIDE},
    **{"num_inference_steps": 2},
}
MANAGING = (
    *("restart", "restart_server", "update", "update_server", "clear_cache", "clear_queue"),
    *("model_reload", "reload_model", "load_model", "load_model_v2", "load_vae", "verify_model"),
    *("get_all_models", "delete_model", "sync_models", "update_s3", "reset_s3"),
)
"""Calls that change a server, or show what others changed: they go to one that has no work."""


@dataclass(frozen=True)
class Servers:
    """The same gateway twice."""

    busy: str
    """URL of a whole cluster, which paints."""
    idle: str
    """URL of one without workers: managing it disturbs nobody, and what it accepts costs nothing."""
    done: int
    """A job of the busy one that has succeeded."""
    bucket: Mapping[str, str]
    """What `update_s3` is sent, so that the idle one stores its videos there: it has none."""

    def for_call(self, name: str) -> str:
        return self.idle if name.removeprefix("async_") in MANAGING else self.busy


@contextlib.contextmanager
def running_servers(folder: Path) -> Iterator[Servers]:
    with (
        running_whole_cluster(folder) as cluster,
        running_s3() as s3,
        running_redis(folder) as redis_url,
        running_gateway(_idle(redis_url, folder / "idle"), folder / "idle.log") as idle,
    ):
        said = httpx.post(f"{cluster.url}{ROOT}/text2img", json=A_REQUEST, timeout=60).json()
        done = finished(said, cluster.url)
        yield Servers(cluster.url, idle, done["id"], _bucket_of(s3))


def _idle(redis_url: str, data_dir: Path) -> Settings:
    return Settings(
        redis_url=redis_url,
        data_dir=data_dir,
        port=free_port(),
        api_key=KEY,
        secret_key="a secret of the tests",
        sync_wait_s=0.0,
        allow_private_hosts=("127.0.0.1",),
    )


def _bucket_of(s3: S3Server) -> dict[str, str]:
    return {
        "deploy_type": "video",
        "public_url": f"{s3.endpoint}/{s3.bucket}/generations/",
        "region_name": REGION,
        "endpoint_url": f"{s3.endpoint}/{s3.bucket}",
        "aws_access_key_id": s3.access_key_id,
        "aws_secret_access_key": s3.secret_access_key,
        "image_directory": "generations",
    }


def fetched(url: str, job_id: int) -> Said:
    said: Said = httpx.post(f"{url}{ROOT}/fetch/{job_id}", json={"key": KEY}).json()
    return said


def finished(said: Said, url: str) -> Said:
    """`said`, or what fetching from this gateway says at last if it was "processing"."""
    if said.get("status") != "processing":
        return said

    def ended() -> Said | None:
        answer = fetched(url, said["id"])
        return answer if answer["status"] != "processing" else None

    return wait_until(ended, within_s=60, every_s=0.2)


def a_png(colour: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), colour).save(file, "PNG")
    return file.getvalue()


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def imported(name: str) -> ModuleType:
    """A library that can't be imported where warnings are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def submodules(package: ModuleType) -> list[ModuleType]:
    """All of them, except those that Python can't compile."""
    found = []
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        with contextlib.suppress(SyntaxError):
            found.append(imported(module.name))
    return found


def public_calls(kind: type) -> list[str]:
    """Names of what a program may call of an object of this class, inherited ones too."""
    methods = inspect.getmembers(kind, inspect.isfunction)
    return [
        name
        for name, _ in methods
        if not name.startswith("_") and not isinstance(inspect.getattr_static(kind, name), staticmethod)
    ]
