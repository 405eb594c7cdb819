"""What browsers are told about every answer."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from http import HTTPStatus

import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from deploy.ports import free_port
from shared.settings import Settings
from shared.storage import FolderStorage
from tests.hostile.judging import complaint
from tests.support.processes import running_gateway

ROOT = "/api/v1/enterprise"
FILE = "00000000-0000-0000-0000-000000000000-0.png"
STRICT = "default-src 'none'; frame-ancestors 'none'"


@pytest.fixture(scope="module")
def client(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a gateway that has one finished file."""
    folder = tmp_path_factory.mktemp("gateway")
    settings = Settings(
        redis_url=module_redis_url, data_dir=folder / "data", port=free_port(), api_key="secret"
    )
    FolderStorage(settings.data_dir, settings.temp_life_s).write(FILE, b"\x89PNG")
    with running_gateway(settings, folder / "log") as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/live"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
        ("PUT", f"{ROOT}/text2img"),
        ("POST", f"{ROOT}/text2img"),
        ("GET", f"/generations/x{FILE}"),
        ("OPTIONS", f"{ROOT}/text2img"),
    ],
)
def test_answers_are_no_page_in_no_frame_and_nobody_keeps_them(
    client: httpx.Client, method: str, path: str
) -> None:
    headers = client.request(method, path, headers={"Origin": "http://page.test"}).headers

    assert headers["content-security-policy"] == STRICT
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["access-control-allow-origin"] == "*"


def test_finished_files_may_be_kept_and_shown_by_any_page(client: httpx.Client) -> None:
    headers = client.get(f"/generations/{FILE}", headers={"Origin": "http://page.test"}).headers

    assert headers["cache-control"] == "public, max-age=86400, immutable"
    assert headers.get_list("x-content-type-options") == ["nosniff"]
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert headers["access-control-allow-origin"] == "*"
    assert "cross-origin-resource-policy" not in headers


def test_the_page_that_describes_the_api_may_load_what_it_needs(client: httpx.Client) -> None:
    page = client.get("/docs")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    needed = Needs()
    needed.feed(page.text)

    assert len(needed.found) >= 4
    assert [each for each in needed.found if each[1] not in policy[each[0]].split()] == []
    assert re.search(r"url: '/openapi.json'", page.text)
    assert policy["connect-src"] == "'self'"


async def fail() -> None:
    raise RuntimeError("a secret")


class Failing:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (fail() if scope["type"] == "http" else self._app(scope, receive, send))


class Needs(HTMLParser):
    """Directive and source of all that a page names or holds; what its script draws besides is `data:`."""

    def __init__(self) -> None:
        super().__init__()
        self.found = [("img-src", "data:"), ("style-src", "'unsafe-inline'")]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "script":
            self.found.append(("script-src", _origin(given["src"]) if "src" in given else "'unsafe-inline'"))
        if tag == "link":
            kind = {"stylesheet": "style-src", "shortcut icon": "img-src"}[given["rel"]]
            self.found.append((kind, _origin(given["href"])))


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])


@pytest.mark.parametrize("place", ["a route", "a middleware"])
def test_an_error_that_nobody_foresaw_is_in_the_wires_shape_too(settings: Settings, place: str) -> None:
    app = create_app(settings)
    if place == "a route":
        app.add_api_route("/fails", fail)
    else:
        app.add_middleware(Failing)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/fails")

    assert answer.status_code == 500
    assert complaint(HTTPStatus.BAD_REQUEST, answer.headers, answer.content) == ""
    assert answer.json()["code"] == "internal_error"
    assert "secret" not in answer.text
