"""Clients of other languages: what their HTTP stacks send gets pictures, whatever its form."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.clients import A_REQUEST, KEY, ROOT, Servers, a_png, fetched, finished, in_base64
from tests.support.outcomes import Said, a_picture, a_result, an_upload
from tests.support.stacks import STACKS, Answer, Stack, send, send_bare

DOCUMENTED = Path(__file__).parent / "documented"
BODIES = Path(__file__).parents[1] / "e2e" / "documented"
PROMPT = "a red circle in a café"
INTERPRETERS = {"python": (sys.executable, "-c"), "javascript": ("node", "-e"), "php": ("php", "-r")}
"""Of those of the pages' languages that need nothing but themselves (Python's `requests` is here)."""

NOTHING_TRAINED = {"embeddings_model": None, "lora_model": None}
VARIANTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "text to image, JS": ("text_to_image", {"key": "", "num_inference_steps": "30"}, ("clip_skip",)),
    "text to image, old, JS": ("text_to_image_multi_lingual", {"key": "", **NOTHING_TRAINED}, ()),
    "text to image, old, PHP": ("text_to_image_multi_lingual", {"key": "", "embeddings_model": None}, ()),
    "text to image, old, JAVA": ("text_to_image_multi_lingual", {"key": ""}, ()),
    "image to image, JS": ("image_to_image", {}, ()),
    "LoRA, PHP": ("lora", {}, ()),
    "LoRA, PYTHON": ("lora", {"embeddings_model": None}, ()),
    "LoRA, JAVA": ("lora_java", {}, ()),
}
"""The bodies of the pages' snippets, as they differ from the examples above them: changed, then left out."""
OURS = {
    **{"key": KEY, "model_id": "demo", "lora_model": "demo-floor", "embeddings_model": "demo-sunset"},
    "init_image": in_base64(a_png()),
}
IDS = re.compile(r'"(key|model_id)"(: | => )"[^"]*"')
PREFLIGHT = """
Host: {host}
Access-Control-Request-Method: POST
Access-Control-Request-Headers: authorization,content-type
Origin: https://app.example
Sec-Fetch-Mode: cors
"""


def said_in(answer: Answer) -> Said:
    assert answer.status == httpx.codes.OK, answer
    assert answer.headers["content-type"] == "application/json"
    said: Said = json.loads(answer.content)
    return said


def ours(body: dict[str, Any]) -> dict[str, Any]:
    """With what only this server can know in the place of the pages' own."""
    return (
        body
        | {field: value for field, value in OURS.items() if body.get(field) not in (None, "no")}
        | {"key": KEY}
    )


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_what_a_stack_sends_gets_the_picture(servers: Servers, stack: Stack) -> None:
    wanted = A_REQUEST | {"prompt": PROMPT, "enhance_prompt": "no"}

    said = said_in(send(servers.busy, stack, f"{ROOT}/text2img", wanted))
    said = finished(said, servers.busy)

    a_picture(said)
    assert said["meta"]["prompt"] == PROMPT
    assert said["output"][0].startswith(f"{servers.busy}/generations/")
    for path, fields in (
        (f"fetch/{said['id']}", {"key": KEY}),
        ("fetch", {"key": KEY, "request_id": said["id"]}),
        ("fetch", {"key": KEY, "request_id": str(said["id"])}),
    ):
        again = said_in(send(servers.busy, stack, f"{ROOT}/{path}", fields))
        assert (again["status"], again["id"], again["output"]) == ("success", said["id"], said["output"])


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        (f"?key={KEY}", ""),
        ("", f"Authorization: Bearer {KEY}"),
        ("", f"authorization: bearer  {KEY}"),
        ("", f"key: {KEY}"),
        (f"?key={KEY}", "Authorization: Basic cHJveHk6cGFzc3dvcmQ="),
        ("", f"Authorization: Basic cHJveHk6cGFzc3dvcmQ=\nkey: {KEY}"),
    ],
    ids=[
        "query",
        "bearer",
        "bearer, lower case",
        "key header",
        "query behind a proxy",
        "header behind a proxy",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_result_is_fetched_without_a_body(servers: Servers, method: str, query: str, headers: str) -> None:
    path = f"{ROOT}/fetch/{servers.done}{query}"

    a_result(said_in(send_bare(servers.busy, method, path, f"Host: {{host}}\nContent-Length: 0\n{headers}")))


def test_a_page_of_another_origin_may_call(servers: Servers) -> None:
    preflight = send_bare(servers.idle, "OPTIONS", f"{ROOT}/text2img", PREFLIGHT)

    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (httpx.codes.OK, "*")
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "access-control-allow-credentials" not in preflight.headers


def test_a_page_of_another_origin_may_read_every_answer(servers: Servers) -> None:
    browser = STACKS["a browser"]
    picture = fetched(servers.busy, servers.done)["output"][0].removeprefix(servers.busy)
    origin = "Host: {host}\nOrigin: https://app.example"

    for answer in (
        send(servers.busy, browser, f"{ROOT}/fetch/{servers.done}", {"key": KEY}),
        send(servers.busy, browser, f"{ROOT}/text2img", {"key": "wrong"}),
        send(servers.busy, browser, f"{ROOT}/nothing", {"key": KEY}),
        send_bare(servers.busy, "GET", picture, origin),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("kind", ["form", "parts"])
def test_a_file_in_a_form_is_a_picture(servers: Servers, kind: str) -> None:
    fields = {"key": KEY, "image_type": "png"}
    url = f"{servers.busy}{ROOT}/upload_image"

    if kind == "form":
        answer = httpx.post(url, data=fields | {"base64_image": in_base64(a_png())})
    else:
        answer = httpx.post(url, data=fields, files={"base64_image": ("a.png", a_png(), "image/png")})

    an_upload(answer.json())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_body_of_a_documented_snippet_is_accepted(servers: Servers, variant: str) -> None:
    example, changed, left_out = VARIANTS[variant]
    documented = json.loads((BODIES / f"{example}.json").read_text()) | changed
    body = ours({field: value for field, value in documented.items() if field not in left_out})
    path = {"image_to_image": f"{ROOT}/img2img"}.get(example, f"{ROOT}/text2img")

    said = httpx.post(f"{servers.idle}{path}", json=body).json()

    assert said["status"] == "processing", said
    assert said["meta"]["steps"] == int(body["num_inference_steps"])


def test_the_documented_snippets_run_as_they_are(servers: Servers) -> None:
    present = {name: words for name, words in INTERPRETERS.items() if shutil.which(words[0])}

    for name, words in present.items():
        snippet = (DOCUMENTED / f"{name}.txt").read_text().removeprefix("<?php")
        snippet = snippet.replace("https://modelslab.com", servers.idle)
        snippet = IDS.sub(lambda found: f'"{found[1]}"{found[2]}"{OURS[found[1]]}"', snippet)
        ran = subprocess.run([*words, snippet], capture_output=True, text=True, timeout=60, check=True)
        assert json.loads(ran.stdout)["status"] == "processing", name
    assert "python" in present
