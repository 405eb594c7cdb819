"""Files that clients put in and get out over HTTP: uploads, videos in parts, and what is never served."""

import base64
import io
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from deploy.ports import free_port
from shared import ledger
from shared.jobs import Role
from shared.ledger import Ledger
from shared.settings import Settings
from shared.storage import FolderStorage, input_name
from tests.support.metrics import scraped
from tests.support.pictures import download_picture
from tests.support.processes import running_gateway

KEY = "secret-of-the-tests"
UPLOAD, INPAINT = "/api/v1/enterprise/upload_image", "/api/v1/enterprise/inpaint"


@pytest.fixture(scope="module")
def shared_settings(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Of one gateway for most tests: they leave nothing in its ledger."""
    folder = tmp_path_factory.mktemp("data")
    return Settings(redis_url=module_redis_url, data_dir=folder, port=free_port(), api_key=KEY)


@pytest.fixture(scope="module")
def client(shared_settings: Settings) -> Iterator[httpx.Client]:
    log = shared_settings.data_dir / "gateway.log"
    with running_gateway(shared_settings, log) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def storage(shared_settings: Settings) -> FolderStorage:
    """The folder that the shared gateway serves."""
    return FolderStorage(shared_settings.data_dir, shared_settings.temp_life_s)


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, kind)
    return file.getvalue()


def upload(client: httpx.Client, content: bytes, image_type: str = "png", **changes: Any) -> httpx.Response:
    body = {"key": KEY, "base64_image": base64.b64encode(content).decode(), "image_type": image_type}
    return client.post(UPLOAD, json=body | changes)


@pytest.mark.parametrize(
    ("kind", "image_type", "suffix", "content_type"),
    [
        ("PNG", "png", "png", "image/png"),
        ("JPEG", "jpg", "jpg", "image/jpeg"),
        ("JPEG", "JPEG", "jpg", "image/jpeg"),
    ],
)
def test_an_upload_is_served_as_it_was_sent(
    client: httpx.Client, kind: str, image_type: str, suffix: str, content_type: str
) -> None:
    answer = upload(client, encoded(kind), image_type).json()

    url = answer.pop("image_url")
    assert answer == {"status": "success", "message": "image uploaded"}
    assert re.fullmatch(rf"{client.base_url}/generations/[0-9a-f-]{{36}}-0\.{suffix}", url)
    served = httpx.get(url)
    assert served.content == encoded(kind)
    assert served.headers["content-type"] == content_type


@pytest.mark.parametrize(("image_type", "kind"), [("png", "PNG"), ("jpeg", "JPEG")])
def test_an_upload_in_another_format_is_converted_into_the_claimed_one(
    client: httpx.Client, image_type: str, kind: str
) -> None:
    uri = "data:image/webp;base64," + base64.b64encode(encoded("WEBP")).decode()

    answer = upload(client, b"", image_type, base64_image=uri).json()

    assert httpx.get(answer["image_url"]).content[:3] == encoded(kind)[:3]
    assert download_picture(answer["image_url"]).size == (16, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base64_image": None}, "base64_image is required"),
        ({"base64_image": 7}, "base64_image must be a string"),
        ({"base64_image": "https://example.com/a.png"}, "base64_image must be a picture in base64"),
        (
            {"base64_image": base64.b64encode(b"{}").decode()},
            "base64_image: the file is JSON; send a PNG, JPEG, WebP, GIF or BMP picture",
        ),
        ({"image_type": None}, "image_type is required"),
        ({"image_type": "gif"}, "image_type must be one of png, jpeg, jpg"),
        ({"key": "wrong"}, "Invalid Api Key"),
    ],
    ids=str,
)
def test_a_bad_upload_gets_a_sentence_and_stores_nothing(
    client: httpx.Client, shared_settings: Settings, changes: dict[str, Any], message: str
) -> None:
    before = set(shared_settings.data_dir.rglob("*"))

    answer = upload(client, encoded("PNG"), **changes)

    assert answer.status_code == httpx.codes.OK
    assert (answer.json()["status"], answer.json()["message"]) == ("error", message)
    assert set(shared_settings.data_dir.rglob("*")) == before


def test_a_picture_that_cant_be_read_is_400_where_status_codes_are_strict(
    settings: Settings, tmp_path: Path
) -> None:
    strict = settings.model_copy(update={"strict_http_status": True})
    with running_gateway(strict, tmp_path / "gateway.log") as url, httpx.Client(base_url=url) as client:
        answer = upload(client, b"no picture")

    assert (answer.status_code, answer.json()["code"]) == (httpx.codes.BAD_REQUEST, "bad_picture")


def test_a_storage_that_cant_be_written_is_503(settings: Settings, tmp_path: Path) -> None:
    folder = settings.data_dir / "generations"
    with running_gateway(settings, tmp_path / "gateway.log") as url, httpx.Client(base_url=url) as client:
        (folder / "temp").rmdir()
        folder.rmdir()
        folder.touch()

        answer = upload(client, encoded("PNG"))

    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.headers["retry-after"]
    assert (answer.json()["status"], answer.json()["code"]) == ("error", "upstream_unavailable")


def inpainting(**changes: Any) -> dict[str, Any]:
    picture = base64.b64encode(encoded("PNG")).decode()
    body = {"key": KEY, "model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64}
    return body | {"init_image": picture, "mask_image": picture, "instant_response": "yes"} | changes


def test_a_jobs_pictures_lie_in_storage_when_it_is_accepted(
    settings: Settings, store: Ledger, tmp_path: Path
) -> None:
    closed = settings.model_copy(update={"allow_private_hosts": ()})
    with running_gateway(closed, tmp_path / "gateway.log") as url, httpx.Client(base_url=url) as client:
        uploaded = upload(client, encoded("JPEG"), "jpg").json()["image_url"]
        for _ in range(2):
            answer = client.post(
                INPAINT, json=inpainting(init_image=uploaded), headers={"Idempotency-Key": "order-7"}
            ).json()

    assert answer["status"] == "processing"
    claim = store.run(ledger.claim("worker", "token", settings, ()))
    assert claim is not None
    spec = claim.spec
    stored = FolderStorage(settings.data_dir, settings.temp_life_s)
    assert {role: one.told for role, one in spec.inputs.items()} == {"init": uploaded, "mask": "base64"}
    assert stored.read_input(spec.inputs[Role.INIT].name) == encoded("JPEG")
    assert stored.read_input(spec.inputs[Role.MASK].name) == encoded("PNG")
    assert len(list((settings.data_dir / "inputs").iterdir())) == 2


def test_a_job_whose_pictures_cant_be_used_is_not_accepted(client: httpx.Client) -> None:
    answer = client.post(INPAINT, json=inpainting(mask_image="http://10.0.0.1/mask.png")).json()

    assert answer["status"] == "error"
    assert answer["message"] == "mask_image must be a public address; this one is private"
    assert scraped(str(client.base_url)).total("printworks_jobs") == 0


def test_a_video_is_served_in_the_parts_that_a_player_asks_for(
    client: httpx.Client, storage: FolderStorage
) -> None:
    name, video = f"{uuid.uuid4()}-0.mp4", bytes(range(256)) * 40
    storage.write(name, video)

    whole = client.get(f"/generations/{name}")
    part = client.get(f"/generations/{name}", headers={"Range": "bytes=1000-1999"})
    beyond = client.get(f"/generations/{name}", headers={"Range": "bytes=99999-"})

    assert (whole.headers["content-type"], whole.headers["accept-ranges"]) == ("video/mp4", "bytes")
    assert whole.content == video
    assert (part.status_code, part.content) == (httpx.codes.PARTIAL_CONTENT, video[1000:2000])
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(video)}"
    assert beyond.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE


def test_inputs_are_not_served(client: httpx.Client, storage: FolderStorage) -> None:
    name = input_name(str(uuid.uuid4()), Role.INIT)
    storage.write_input(name, encoded("PNG"))

    for path in (f"/inputs/{name}", f"/generations/{name}", f"/generations/..%2finputs%2f{name}"):
        assert client.get(path).status_code == httpx.codes.NOT_FOUND
