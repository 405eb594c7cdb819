"""No name leads out of the folder that it is looked up in: over HTTP, in every path, field and header."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.hostile.conftest import ADMIN, ROOT, Door
from tests.support.clients import a_png, in_base64
from tests.support.climbs import CLIMBS, as_target, leaks, placed, tree
from tests.support.raw import RawAnswer, exchange

PAINTING = {"model_id": "demo", "prompt": "x", "width": 64, "height": 64}
LOADING = {"url": "owner/name", "model_id": "m", "model_type": "lora"}
BUCKET = {
    "endpoint_url": "https://93.184.215.14/pictures",
    "region_name": "us-east-1",
    "aws_access_key_id": "id",
    "aws_secret_access_key": "secret",
}
AN_ENTRY = "6acf249e-7aa7-4281-9640-a7f5a3086a04"
Place = Callable[[Door, str], RawAnswer]


def in_path(method: str, path: str, door: Door, climb: str) -> RawAnswer:
    target = path.replace("{}", as_target(climb))
    return exchange(door.url, target, method=method, headers=(("key", ADMIN.encode()),))


def in_field(path: str, field: str, known: dict[str, Any], door: Door, climb: str) -> RawAnswer:
    return door.post(path, **(known | {field: climb}))


def in_form(door: Door, climb: str) -> RawAnswer:
    """As the name of an uploaded file."""
    named = climb.replace("\n", " ").replace("\0", " ").encode()
    parts = {b'name="key"': ADMIN.encode(), b'name="image_type"': b"png"}
    parts |= {b'name="base64_image"; filename="%s"' % named: a_png()}
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head, content)
        for head, content in parts.items()
    )
    kind = ("Content-Type", b"multipart/form-data; boundary=b")
    return exchange(door.url, f"{ROOT}/upload_image", body + b"--b--\r\n", headers=(kind,))


def in_header(door: Door, climb: str) -> RawAnswer:
    named = climb.replace("\n", " ").replace("\0", " ").encode()[:250]
    headers = (("Idempotency-Key", named), ("key", ADMIN.encode()))
    return exchange(door.url, f"{ROOT}/text2img", b'{"model_id": "demo", "prompt": "x"}', headers=headers)


def in_own_link(door: Door, climb: str) -> RawAnswer:
    return door.post("img2img", **PAINTING, init_image=f"{door.url}/generations/{climb}")


REFUSING: dict[str, Place] = {
    "a file": partial(in_path, "GET", "/generations/{}"),
    "a temporary file": partial(in_path, "GET", "/generations/temp/{}"),
    "a file of a bucket": partial(in_path, "GET", f"/stored/{AN_ENTRY}/{{}}"),
    "a bucket": partial(in_path, "GET", "/stored/{}/x.png"),
    "a job in the path": partial(in_path, "POST", f"{ROOT}/fetch/{{}}"),
    "a job to look at": partial(in_path, "GET", f"{ROOT}/fetch/{{}}"),
    "a job to cancel": partial(in_path, "POST", f"{ROOT}/cancel/{{}}"),
    "a job in the body": partial(in_field, "fetch", "request_id", {}),
    "an entry": partial(in_path, "GET", f"{ROOT}/models/{{}}"),
    "an entry's file": partial(in_path, "GET", f"{ROOT}/models/{AN_ENTRY}/files/{{}}"),
    "a model": partial(in_field, "text2img", "model_id", PAINTING),
    "a model to check": partial(in_field, "verify_model", "model_id", {}),
    "a model to delete": partial(in_field, "delete_model", "model_id", {}),
    "a model to read anew": partial(in_field, "model_reload", "model_id", {}),
    "a LoRA": partial(in_field, "text2img", "lora_model", PAINTING),
    "an embedding": partial(in_field, "text2img", "embeddings_model", PAINTING),
    "an autoencoder": partial(in_field, "text2img", "vae", PAINTING),
    "a sampler": partial(in_field, "text2img", "scheduler", PAINTING),
    "a ControlNet": partial(
        in_field, "controlnet", "controlnet_model", PAINTING | {"init_image": in_base64(a_png())}
    ),
    "a picture": partial(in_field, "img2img", "init_image", PAINTING),
    "a picture of ours": in_own_link,
    "a new model's id": partial(in_field, "load_model", "model_id", LOADING),
    "a new model's type": partial(in_field, "load_model", "model_type", LOADING),
    "a new autoencoder's id": partial(in_field, "load_vae", "vae_id", {"vae_url": "owner/name"}),
    "a deploy type": partial(in_field, "update_s3", "deploy_type", BUCKET),
    "a deploy type to forget": partial(in_field, "reset_s3", "deploy_type", {}),
    "a bucket's name": partial(in_field, "update_s3", "bucket", BUCKET),
    "a bucket's folder": partial(in_field, "update_s3", "image_directory", BUCKET),
    "a region": partial(in_field, "update_s3", "region_name", BUCKET),
    "a kind of picture": partial(
        in_field, "upload_image", "image_type", {"base64_image": in_base64(a_png())}
    ),
    "another server's key": partial(in_field, "sync_models", "sync_key", {}),
}
TAKING: dict[str, Place] = {
    "an uploaded file's name": in_form,
    "an Idempotency-Key": in_header,
    "a track_id": partial(in_field, "text2img", "track_id", PAINTING),
    "a prompt": partial(in_field, "text2img", "prompt", PAINTING),
    "a new model's place": partial(in_field, "load_model", "url", LOADING),
    "a new model's config": partial(in_field, "load_model", "config", LOADING),
}
"""Where any words may stand: what is done with a model's place, its worker decides."""


@pytest.fixture
def untouched(door: Door) -> Iterator[None]:
    """Nothing is written but where files belong."""

    def seen() -> dict[str, tuple[int, int]]:
        files = tree(door.folder)
        ours = ("redis/", "gateway.log", "data/generations/", "data/inputs/")
        return {name: what for name, what in files.items() if not name.startswith(ours)}

    before = seen()
    assert "secret.txt" in before
    yield
    assert seen() == before


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("place", REFUSING.values(), ids=REFUSING)
def test_a_name_that_leads_elsewhere_is_refused_like_any_other_that_is_not_there(
    door: Door, place: Place
) -> None:
    for name, climb in CLIMBS.items():
        answer = place(door, placed(climb, door.secret))

        assert answer.status < 500, name
        assert answer.said.get("status") in ("error", "failed"), (name, answer)
        assert len(answer.said["message"]) > 10, (name, answer)
        assert not leaks(answer.body), name


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("place", TAKING.values(), ids=TAKING)
def test_words_that_look_like_paths_lead_nowhere(door: Door, place: Place) -> None:
    for name, climb in CLIMBS.items():
        answer = place(door, placed(climb, door.secret))

        assert answer.status < 500, (name, answer)
        assert answer.said.get("status") in ("success", "processing", "error"), (name, answer)
        assert not leaks(answer.body), name
    names = [path.name for path in (door.settings.data_dir / "generations").rglob("*")]
    assert not [name for name in names if "secret" in name or "passwd" in name]
