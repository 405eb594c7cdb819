"""What strangers write stays what it is: no line of a log, no header and no link of their own making."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hostile.conftest import ADMIN, ROOT, USER, Door
from tests.support.injections import FORGED, TEXTS
from tests.support.log_lines import forged_lines
from tests.support.raw import RawAnswer, exchange

PAINTING = {"model_id": "demo", "prompt": "x", "width": 64, "height": 64}
FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "prompt": ("text2img", PAINTING),
    "negative_prompt": ("text2img", PAINTING),
    "track_id": ("text2img", PAINTING),
    "webhook": ("text2img", PAINTING),
    "model_id": ("text2img", PAINTING),
    "lora_model": ("text2img", PAINTING),
    "scheduler": ("text2img", PAINTING),
    "init_image": ("img2img", PAINTING),
    "request_id": ("fetch", {}),
    "url": ("load_model", {"model_id": "m", "model_type": "lora"}),
    "config": ("load_model", {"url": "owner/name", "model_id": "m", "model_type": "lora"}),
    "endpoint_url": (
        "update_s3",
        {"region_name": "r", "aws_access_key_id": "i", "aws_secret_access_key": "s"},
    ),
    "sync_key": ("sync_models", {}),
    "key": ("system_details", {}),
    "image_type": ("upload_image", {"base64_image": "x"}),
}
HOSTS = {
    "none": b"",
    "a line break in it": b"printworks.test\\r\\nX-Forged: 1",
    "an escape": b"printworks.test\x1b[31m",
    "a high byte": b"printworks\xff.test",
    "a space": b"printworks.test evil.test",
    "a path": b"printworks.test/evil",
    "a user": b"me@printworks.test",
    "a script": b"<script>alert(1)</script>",
    "quotes": b'printworks.test"onload="x',
    "an open bracket": b"[::1",
    "brackets around nothing": b"[]",
    "a broken address": b"[::1]x",
    "a port too high": b"printworks.test:99999999",
    "a port of letters": b"printworks.test:http",
    "no name": b":80",
    "a comma": b"printworks.test, evil.test",
    "a backslash": b"printworks.test\\evil",
    "a percent": b"printworks.test%0d%0a",
    "a very long one": b"a" * 60_000,
    "a tab": b"printworks.test\tevil",
}
LINK = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/[!-~]*")


def without_control(answer: RawAnswer) -> bool:
    """No header is the stranger's, and none of them, nor the JSON, has a character that ends a line."""
    values = [value for header in answer.headers for value in header]
    return not any(FORGED in value or "forged" in value.lower() for value in values) and all(
        value.isprintable() for value in values
    )


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("field", FIELDS)
def test_no_field_makes_a_header_or_an_error(door: Door, field: str, text: str) -> None:
    path, known = FIELDS[field]

    answer = door.post(path, **({"key": ADMIN} | known | {field: text}))

    assert answer.status == 200
    assert answer.said["status"] in ("success", "processing", "error")
    assert without_control(answer)


@pytest.mark.parametrize(
    "name", ["Idempotency-Key", "User-Agent", "X-Request-Id", "Referer", "Origin", "key", "traceparent"]
)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_no_header_makes_another(door: Door, name: str, text: str) -> None:
    """Those that end a header are cut off by it, or the request is refused as none."""
    headers = (("key", USER.encode()), (name, text.encode()[:255]))

    answer = exchange(door.url, f"{ROOT}/text2img", json.dumps(PAINTING).encode(), headers=headers)

    assert answer.status in (200, 400)
    assert without_control(answer)


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_a_host_that_is_none_is_in_no_link(door: Door, host: bytes, header: str) -> None:
    given = {"host": host} if header == "Host" else {"headers": ((header, host),)}
    body = json.dumps({**PAINTING, "key": USER}).encode()

    answer = exchange(door.url, f"{ROOT}/text2img", body, **given)

    assert answer.status in (200, 400)
    assert without_control(answer)
    links = [answer.said["fetch_result"], *answer.said["future_links"]] if answer.status == 200 else []
    assert all(LINK.fullmatch(link) and link.startswith(f"{door.url}/") for link in links), links
    assert links or answer.status == 400


@pytest.mark.parametrize("scheme", [b"javascript", b"https\x1b", b"ftp", b"https, http", b"", b"HTTPS"])
def test_a_scheme_that_is_none_is_in_no_link(door: Door, scheme: bytes) -> None:
    body = json.dumps({**PAINTING, "key": USER}).encode()

    answer = exchange(door.url, f"{ROOT}/text2img", body, headers=(("X-Forwarded-Proto", scheme),))

    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.said["fetch_result"].startswith(f"{door.url}/")


@pytest.mark.parametrize("path", ["/generations/", "/stored/", f"{ROOT}/", "/docs/", "/health/"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_path_that_is_nowhere_is_told_in_one_line(door: Door, path: str, text: str) -> None:
    answer = httpx.get(f"{door.url}{path}{httpx.QueryParams({'x': text})}")

    assert answer.status_code in (200, 404)
    assert answer.json()["status"] == "error"
    assert not any("forged" in name.lower() or FORGED in value for name, value in answer.headers.items())


def test_a_preflight_repeats_no_line(door: Door) -> None:
    asked = httpx.options(
        f"{door.url}{ROOT}/text2img",
        headers={
            "Origin": "https://evil.test",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-a, content-type",
        },
    )

    assert asked.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in asked.headers


def test_a_warning_is_one_line_of_the_log(tmp_path: Path) -> None:
    log, text = tmp_path / "log", TEXTS["LF"]
    program = "from shared.logs import *; import warnings; configure_logging('p'); warnings.warn(sys.argv[1])"

    with log.open("wb") as output:
        subprocess.run([sys.executable, "-c", program, text], stderr=output, check=True)

    (line,) = log.read_text().splitlines()
    assert json.loads(line)["logger"] == "py.warnings"
    assert json.loads(line)["process"] == "p"


def test_the_log_stays_one_object_a_line(door: Door) -> None:
    """After all of the above, or at least some of it."""
    for text in TEXTS.values():
        door.post("text2img", key=USER, **(PAINTING | {"prompt": text, "track_id": text[:900]}))
        exchange(door.url, f"/{FORGED}", method="GET", headers=(("User-Agent", text.encode()),))
        for name in ("traceparent", "tracestate"):
            traced = (("traceparent", f"00-{'1' * 32}-{'2' * 16}-01".encode()), (name, text.encode()[:500]))
            exchange(door.url, f"/{FORGED}", method="GET", headers=traced)

    assert forged_lines(door.log, "gateway") == []
