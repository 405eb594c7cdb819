"""The bodies that the protocol's pages show, word for word, against a whole cluster.

Only what a page can't know is replaced: keys, ids of models, and where pictures lie.
"""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from tests.support import documented
from tests.support.pictures import download_picture
from tests.support.site import Site, answer, running_site
from tests.support.waiting import wait_until
from tests.support.whole import WholeCluster, running_tiny_cluster

ROOT, V6 = "/api/v1/enterprise", "/api/v6/images"
SUCCESS = ["status", "generationTime", "id", "output"]
BODIES = {
    file.stem: json.loads(file.read_text())
    for file in sorted((Path(__file__).parent / "documented").iterdir())
}


@dataclass(frozen=True)
class Example:
    """Where a body goes, and the keys of its documented answer."""

    path: str
    keys: list[str]
    meta: list[str]


def painting(path: str, meta: list[str]) -> Example:
    return Example(path, [*SUCCESS, "meta"], meta)


EXAMPLES = {
    "text_to_image": painting(f"{ROOT}/text2img", documented.TEXT2IMG_META),
    "text_to_image_java": painting(f"{ROOT}/text2img", documented.TEXT2IMG_META),
    "text_to_image_multi_lingual": painting(f"{ROOT}/text2img", documented.TEXT2IMG_META),
    "lora": painting(f"{V6}/text2img", documented.V6_META),
    "lora_java": painting(f"{V6}/text2img", documented.V6_META),
    "image_to_image": painting(f"{ROOT}/img2img", documented.IMG2IMG_META),
    "inpainting": painting(f"{ROOT}/inpaint", documented.INPAINT_META),
    "inpainting_javascript": painting(f"{ROOT}/inpaint", documented.INPAINT_META),
    "controlnet": painting(f"{ROOT}/controlnet", documented.CONTROLNET_META),
    "controlnet_java": painting(f"{ROOT}/controlnet", documented.CONTROLNET_META),
    "text_to_video": Example(f"{ROOT}/text2video", SUCCESS, []),
    "super_resolution": Example(f"{ROOT}/super_resolution", SUCCESS, []),
    "nsfw_image_check": Example(f"{ROOT}/nsfw_image_check", ["images", "has_nsfw_concept"], []),
    "flux_text_to_image": painting(f"{ROOT}/flux/text2img", documented.FLUX_META),
}
OUR_IDS = {
    **{"model_id": "demo", "controlnet_model": "demo-canny"},
    **{"lora_model": "demo-floor", "embeddings_model": "demo-sunset"},
}
"""Ours in place of the pages' own; what a body does not name stays away."""
FEWER_FRAMES = {"num_frames": 2}
"""The pages' video is 512 px large: all of its frames would take a CPU minutes."""


def png(colour: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Where the examples' pictures lie."""
    with running_site(
        {"/init.png": answer(png("teal", (96, 64))), "/mask.png": answer(png("white", (96, 64)))}
    ) as site:
        yield site


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    with running_tiny_cluster(tmp_path_factory.mktemp("documented")) as cluster:
        yield cluster


def mapped(body: dict[str, Any], site: Site) -> dict[str, Any]:
    ours = {field: value for field, value in OUR_IDS.items() if body.get(field) not in (None, "no")}
    pictures = {
        field: f"{site.url}/{'mask' if field == 'mask_image' else 'init'}.png"
        for field in ("init_image", "mask_image", "url")
        if body.get(field)
    }
    return body | {"key": "demo"} | ours | pictures


def finished(cluster: WholeCluster, site: Site, name: str) -> dict[str, Any]:
    """The finished answer to a body of the pages."""
    body = mapped(BODIES[name], site) | (FEWER_FRAMES if name == "text_to_video" else {})
    url = f"{cluster.url}{EXAMPLES[name].path}"
    said: dict[str, Any] = httpx.post(url, json=body, timeout=60).json()
    if said.get("status") == "processing":
        fetched = partial(httpx.post, said["fetch_result"], json={"key": "demo"})
        wait_until(lambda: fetched().json().get("status") != "processing", within_s=400, every_s=1)
        said = fetched().json()
    return said


@pytest.fixture(scope="module")
def answers(cluster: WholeCluster, site: Site) -> dict[str, dict[str, Any]]:
    """To all of them, asked at the same time."""
    with ThreadPoolExecutor(len(BODIES)) as pool:
        return dict(zip(BODIES, pool.map(partial(finished, cluster, site), BODIES), strict=True))


def test_every_body_of_the_pages_has_its_answer_described() -> None:
    assert set(EXAMPLES) == set(BODIES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_documented_body_gets_the_documented_answer(
    answers: dict[str, dict[str, Any]], site: Site, name: str
) -> None:
    said, example, sent = answers[name], EXAMPLES[name], mapped(BODIES[name], site)

    assert [key for key in said if key in example.keys] == example.keys, said
    meta = said.get("meta", {})
    assert [key for key in meta if key in example.meta] == example.meta
    for field in ("init_image", "mask_image"):
        if field in example.meta:
            assert meta[field] == sent[field]
    assert isinstance(meta.get("seed", 0), int)
    assert meta.get("steps", meta.get("num_inference_steps", 30)) in (
        *(int(sent.get(spelling, -1)) for spelling in ("num_inference_steps", "steps")),
        10,
        30,
    )


@pytest.mark.parametrize("name", [name for name, example in EXAMPLES.items() if example.meta])
def test_its_pictures_have_the_documented_size(answers: dict[str, dict[str, Any]], name: str) -> None:
    assert [download_picture(link).size for link in answers[name]["output"]] == [(512, 512)]


def test_what_the_pages_ask_for_is_what_ran(answers: dict[str, dict[str, Any]]) -> None:
    meta = {name: said.get("meta", {}) for name, said in answers.items()}

    assert meta["text_to_image"]["clip_skip"] == 2
    assert meta["text_to_image_java"]["embeddings"] == "demo-sunset"
    for name in ("lora", "lora_java"):
        assert (meta[name]["lora"], meta[name]["lora_strength"]) == ("demo-floor", "0.45")
    assert (meta["image_to_image"]["strength"], meta["image_to_image"]["steps"]) == (0.7, 31)
    for name in ("controlnet", "controlnet_java"):
        asked = ("controlnet_model", "controlnet_type", "auto_hint", "guess_mode", "strength")
        assert [meta[name][key] for key in asked] == ["demo-canny", "canny", "yes", "no", 0.55]
    flux = meta["flux_text_to_image"]
    assert [flux[key] for key in ("base64", "temp", "instant_response", "watermark")] == ["no"] * 4
    assert (flux["guidance_scale"], flux["num_inference_steps"], flux["model_id"]) == (3.5, 10, "flux")
    for name in ("text_to_image", "image_to_image", "inpainting", "controlnet"):
        assert meta[name]["prompt"].startswith(BODIES[name]["prompt"] + ", ")


def test_the_documented_video_plays(answers: dict[str, dict[str, Any]]) -> None:
    (link,) = answers["text_to_video"]["output"]
    response = httpx.get(link).raise_for_status()

    with av.open(io.BytesIO(response.content), "r") as container:
        frames = list(container.decode(video=0))
        codec = container.streams.video[0].codec_context.name

    assert response.headers["content-type"] == "video/mp4"
    assert (codec, len(frames), frames[0].width, frames[0].height) == ("h264", 2, 512, 512)


def test_the_documented_enlargement_is_one_picture_three_times_as_large(
    answers: dict[str, dict[str, Any]],
) -> None:
    assert download_picture(answers["super_resolution"]["output"]).size == (288, 192)


def test_the_documented_check_tells_whether_the_picture_is_sensitive(
    answers: dict[str, dict[str, Any]], site: Site
) -> None:
    seen = {"images": f"{site.url}/init.png", "has_nsfw_concept": [False]}

    # if it had to be fetched, it has its status and id besides
    assert seen.items() <= answers["nsfw_image_check"].items()


def test_a_flux_picture_ends_with_its_day(answers: dict[str, dict[str, Any]]) -> None:
    link = answers["flux_text_to_image"]["output"][0]

    lasts = httpx.head(link).headers["cache-control"]

    assert "/generations/temp/" in link
    assert 0 < int(lasts.split("max-age=")[1].split(",")[0]) <= 24 * 3600


def test_a_picture_that_cannot_be_used_is_refused_before_a_job_is_made(
    cluster: WholeCluster, site: Site
) -> None:
    wanted = {"key": "demo", "model_id": "demo", "prompt": "a red circle", "init_image": f"{site.url}/no.png"}

    said = httpx.post(f"{cluster.url}{ROOT}/img2img", json=wanted).json()

    assert said["status"] == "error"
    assert said["message"].startswith("Unable to fetch image from provided URL")
    assert "id" not in said
