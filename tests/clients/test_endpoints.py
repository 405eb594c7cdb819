"""The list of endpoints that the protocol's pages begin with, and that of the Flux pages: each answers."""

from typing import Any

import httpx
import pytest

from tests.support.clients import A_REQUEST, KEY, ROOT, Servers, a_png, finished, in_base64
from tests.support.documented import CONTROLNET_META, FLUX_META, IMG2IMG_META, INPAINT_META, TEXT2IMG_META
from tests.support.outcomes import (
    ABOUT_MODELS,
    MANAGED,
    Outcome,
    Said,
    a_check,
    a_film,
    a_larger_picture,
    a_picture,
    a_result,
    an_upload,
    no_such_endpoint,
    succeeds,
)

ENDPOINTS = (
    *("system_details", "restart_server", "update_server", "update_s3", "clear_cache", "schedulers_list"),
    *("load_model", "verify_model", "get_all_models", "delete_model", "controlnet", "text2img"),
    *("text2video", "inpaint", "super_resolution", "upload_image"),
)
"""As the page lists them."""
MORE = (
    *("img2img", "nsfw_image_check", "fetch", "clear_queue", "load_model_v2", "load_vae", "sync_models"),
    *("reset_s3", "subscriptions"),
)
"""Those that the other pages of the same server have."""
FLUX = (
    *("text2img", "img2img", "system_details", "restart_server", "update_server", "clear_cache"),
    *("clear_queue", "fetch"),
)

PICTURE = in_base64(a_png())
FROM_A_PICTURE = {"init_image": PICTURE, "mask_image": PICTURE, "strength": 0.7}
CONTROLLED = {"controlnet_model": "demo-canny", "controlnet_type": "canny", "auto_hint": "yes"}
LOADED = {
    **{"url": "https://example.com/model.safetensors", "model_id": "another-model", "revision": "fp32"},
    **{"model_type": "custom_ckpt", "from_safetensors": "yes", "upcast_attention": "no"},
    **{"model_category": "stable_diffusion", "model_format": "safetensors", "webhook": None},
}
SENT: dict[str, dict[str, Any]] = {
    "text2img": A_REQUEST,
    "img2img": A_REQUEST | FROM_A_PICTURE,
    "inpaint": A_REQUEST | FROM_A_PICTURE,
    "controlnet": A_REQUEST | CONTROLLED | {"init_image": PICTURE},
    "text2video": A_REQUEST | {"num_frames": 2},
    "super_resolution": {"url": PICTURE, "scale": 3, "model_id": "realesr-general-x4v3"},
    "upload_image": {"base64_image": PICTURE, "image_type": "png"},
    "nsfw_image_check": {"init_image": PICTURE},
    "load_model": LOADED,
    "load_model_v2": LOADED,
    "load_vae": {"vae_id": "v", "vae_url": "https://example.com/v.safetensors", "vae_type": "safetensors"},
    "verify_model": {"model_id": "demo"},
    "delete_model": {"model_id": "demo-frame"},
    "sync_models": {"sync_key": "another-servers-key"},
    "reset_s3": {"deploy_type": "video"},
}
PAINTED = ["status", "generationTime", "id", "output", "meta"]
MADE = PAINTED[:-1]


def _keys(keys: list[str], meta: list[str], then: Outcome) -> Outcome:
    """The documented keys in their order, whatever there is besides; then the rest."""

    def check(said: Said) -> None:
        assert [key for key in said if key in keys] == keys, said
        assert [key for key in said.get("meta", {}) if key in meta] == meta
        then(said)

    return check


EXPECTED: dict[str, Outcome] = {
    **MANAGED,
    **ABOUT_MODELS,
    "delete_model": succeeds("Model deleted on server"),
    "text2img": _keys(PAINTED, TEXT2IMG_META, a_picture),
    "img2img": _keys(PAINTED, IMG2IMG_META, a_picture),
    "inpaint": _keys(PAINTED, INPAINT_META, a_picture),
    "controlnet": _keys(PAINTED, CONTROLNET_META, a_picture),
    "text2video": _keys(MADE, [], a_film),
    "super_resolution": _keys(MADE, [], a_larger_picture),
    "upload_image": an_upload,
    "nsfw_image_check": a_check,
    "fetch": _keys(["status", "id", "output"], [], a_result),
}
WITHOUT_A_MODEL = {field: value for field, value in A_REQUEST.items() if field != "model_id"}
SENT_TO_FLUX: dict[str, dict[str, Any]] = {
    "text2img": WITHOUT_A_MODEL,
    "img2img": WITHOUT_A_MODEL | FROM_A_PICTURE,
}
EXPECTED_OF_FLUX = EXPECTED | dict.fromkeys(("text2img", "img2img"), _keys(PAINTED, FLUX_META, a_picture))


def said_by(servers: Servers, name: str, path: str, body: dict[str, Any]) -> Said:
    url = servers.for_call(name)
    said: Said = httpx.post(f"{url}{path}", json={"key": KEY, **body}, timeout=60).json()
    return finished(said, url)


@pytest.mark.parametrize("name", [*ENDPOINTS, *MORE])
def test_an_endpoint_of_the_pages_answers_as_they_say(servers: Servers, name: str) -> None:
    here = {"fetch": {"request_id": str(servers.done)}, "update_s3": servers.bucket}

    said = said_by(servers, name, f"{ROOT}/{name}", {**SENT.get(name, {}), **here.get(name, {})})

    EXPECTED[name](said)


@pytest.mark.parametrize("name", FLUX)
def test_an_endpoint_of_the_flux_pages_answers_as_they_say(servers: Servers, name: str) -> None:
    path = f"{ROOT}/flux/{name}" + f"/{servers.done}" * (name == "fetch")

    EXPECTED_OF_FLUX[name](said_by(servers, name, path, SENT_TO_FLUX.get(name, {})))


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (f"{ROOT}/voice/text_to_audio", f"Under {ROOT} it has: text2img, img2img, inpaint, controlnet, "),
        (f"{ROOT}/flux/text2image", f"Under {ROOT}/flux it has: text2img, img2img, "),
        ("/api/v6/3d/text_to_3d", f"It has endpoints under {ROOT}, {ROOT}/images, "),
        (f"{ROOT}/{'x' * 4000}", "xxxxxx. Under "),
    ],
    ids=["in a family", "in a smaller one", "in none", "long"],
)
def test_an_unknown_endpoint_is_told_what_there_is(servers: Servers, path: str, named: str) -> None:
    answer = httpx.post(f"{servers.idle}{path}", json={"key": KEY})

    no_such_endpoint(answer.json())
    assert answer.status_code == httpx.codes.OK
    assert named in answer.json()["message"]
    assert len(answer.content) < 2_000


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_a_wrong_method_is_told_the_right_one(servers: Servers, method: str) -> None:
    answer = httpx.request(method, f"{servers.idle}{ROOT}/text2img")

    assert (answer.status_code, answer.headers["allow"]) == (httpx.codes.OK, "POST")
    assert answer.json()["status"] == "error"
    assert answer.json()["message"].startswith(f"{ROOT}/text2img takes POST, not {method}: ")


def test_outside_of_the_protocol_what_is_not_there_is_not_found(servers: Servers) -> None:
    answer = httpx.get(f"{servers.idle}/favicon.ico")

    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.json()["status"] == "error"
