"""The table of routes over real HTTP: each endpoint under each prefix accepts, and its job can be fetched."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from api.routes.families import FAMILIES, Family
from shared.settings import DEMO, Settings
from tests.support.models import write_models_file
from tests.support.processes import running_gateway

KEY = "secret-of-the-tests"
ROWS = [(family, name) for family in FAMILIES for name in family.endpoints]


def picture() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


EVERY_FIELD = {
    "key": KEY,
    "model_id": "demo",
    "prompt": "a red circle",
    "width": 64,
    "height": 64,
    "init_image": picture(),
    "mask_image": picture(),
    "controlnet_model": "demo-canny",
    "controlnet_type": "canny",
    "scale": 2,
}
"""Enough for any endpoint; what one does not know it ignores."""


def body(family: Family, name: str) -> dict[str, Any]:
    fields = (
        EVERY_FIELD | {"model_id": "demo-swin2sr"} if name in ("super_resolution", "make") else EVERY_FIELD
    )
    is_named = "flux" not in family.prefix and not family.names_no_model
    return {field: value for field, value in fields.items() if is_named or field != "model_id"}


@pytest.fixture(scope="module")
def client(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a gateway that answers at once, with everything that an endpoint may need; nobody does the jobs."""
    folder = tmp_path_factory.mktemp("families")
    settings = Settings(
        redis_url=module_redis_url,
        data_dir=folder / "data",
        api_key=KEY,
        sync_wait_s=0.0,
        models_file=write_models_file(
            folder / "models.yaml",
            models={"demo": DEMO / "model", "flux": DEMO / "model"},
            safety_checker="somewhere",
        ),
    )
    with running_gateway(settings, folder / "gateway.log") as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize(("family", "name"), ROWS, ids=[f"{family.prefix}/{name}" for family, name in ROWS])
def test_an_endpoint_accepts_a_job_that_can_be_fetched(
    client: httpx.Client, family: Family, name: str
) -> None:
    accepted = client.post(f"{family.prefix}/{name}".rstrip("/"), json=body(family, name)).json()

    assert accepted["status"] == "processing", accepted
    assert accepted["fetch_result"].endswith(f"{family.jobs_prefix}/fetch/{accepted['id']}")
    for fetched in (
        client.post(accepted["fetch_result"], json={"key": KEY}),
        client.get(accepted["fetch_result"], params={"key": KEY}),
        client.post(f"{family.jobs_prefix}/fetch", json={"key": KEY, "request_id": str(accepted["id"])}),
        client.post(f"{FAMILIES[0].jobs_prefix}/fetch/{accepted['id']}", json={"key": KEY}),
    ):
        assert (fetched.json()["status"], fetched.json()["id"]) == ("processing", accepted["id"])


@pytest.mark.parametrize(("family", "name"), ROWS, ids=[f"{family.prefix}/{name}" for family, name in ROWS])
def test_an_endpoint_refuses_in_the_wires_shape(client: httpx.Client, family: Family, name: str) -> None:
    path = f"{family.prefix}/{name}".rstrip("/")

    for refused in (
        client.post(path, json=body(family, name) | {"key": "wrong"}),
        client.post(path, json={"key": KEY, "width": "wide", "scale": "large"}),
        client.post(path, content=b"{"),
    ):
        answer = refused.json()
        assert (refused.status_code, answer["status"]) == (200, "error")
        assert answer["message"] == answer["messege"]


def test_openapi_describes_every_endpoint_with_its_fields(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    for family, name in ROWS:
        operation = paths[f"{family.prefix}/{name}".rstrip("/")]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        for field, described in family.endpoints[name].model_fields.items():
            assert field in schema["properties"]
            assert described.is_required() == (field in schema["required"])
    json.dumps(paths)


def test_a_data_folder_has_no_public_inputs(client: httpx.Client, tmp_path: Path) -> None:
    accepted = client.post("/api/v1/enterprise/img2img", json=EVERY_FIELD).json()

    prefix = accepted["meta"]["file_prefix"]
    for name in (f"{prefix}-init", f"inputs/{prefix}-init", f"../inputs/{prefix}-init"):
        assert client.get(f"/generations/{name}").status_code == 404
