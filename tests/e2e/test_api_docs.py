"""The requests in docs/API.md are real, and so are the answers behind them."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.waiting import wait_until
from tests.support.whole import WholeCluster, running_whole_cluster

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES: list[tuple[str, str]] = re.findall(
    r"^```sh\n(curl .*?)^```\n\n```json\n(.*?)^```",
    (PROJECT / "docs" / "API.md").read_text(),
    re.DOTALL | re.MULTILINE,
)
CHANGING = ("file_prefix",)


def name_of(command: str) -> str:
    found = re.search(r"/enterprise/(\S+)", command)
    assert found
    return found.group(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    with running_whole_cluster(tmp_path_factory.mktemp("api"), webhook_schedule_s=(0.0, 0.1)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def told(cluster: WholeCluster) -> int:
    """A job whose webhook nobody took: what the page's examples call 9."""
    wanted = {"key": "demo", "model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64}
    webhook = f"{cluster.url}/receiver"
    url = f"{cluster.url}/api/v1/enterprise/text2img"
    job_id: int = httpx.post(url, json=wanted | {"webhook": webhook}, timeout=60).json()["id"]
    return job_id


def answer(command: str) -> Any:
    ran = subprocess.run(
        ["bash", "-c", command], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(ran.stdout)


def shape(said: Any) -> Any:
    """Keys in their order and the kinds of values, all the way down."""
    if isinstance(said, dict):
        return [(key, shape(value)) for key, value in said.items()]
    if isinstance(said, list):
        # objects of a list are alike: how many there are may differ
        return [shape(value) for value in (said[:1] if isinstance(next(iter(said), None), dict) else said)]
    return type(said)


def test_every_endpoint_that_makes_something_has_an_example() -> None:
    assert [name_of(command) for command, _ in EXAMPLES] == [
        *("text2img", "img2img", "inpaint", "controlnet", "text2video", "super_resolution"),
        *("upload_image", "nsfw_image_check", "flux/text2img"),
        *("deliveries/9", "deliveries", "replay/9", "replay", "load_model", "verify_model"),
    ]


@pytest.mark.parametrize(("command", "shown"), EXAMPLES, ids=[name_of(command) for command, _ in EXAMPLES])
def test_a_request_of_the_page_gets_the_answer_of_the_page(
    cluster: WholeCluster, told: int, command: str, shown: str
) -> None:
    here = command.replace("http://127.0.0.1:8000", cluster.url).replace("/9 ", f"/{told} ")
    expected = json.loads(shown)
    if name_of(command).startswith("deliveries"):
        wait_until(lambda: shape(answer(here)) == shape(expected), within_s=60, every_s=0.2)

    said = answer(here)

    assert shape(said) == shape(expected)
    for changing in CHANGING:
        assert said.get("meta", {}).pop(changing, "a") != expected.get("meta", {}).pop(changing, "b")
    assert said.get("meta") == expected.get("meta")
    assert said.get("has_nsfw_concept") == expected.get("has_nsfw_concept")
