"""Thousands of nasty requests to all endpoints: each gets a sentence, none a 5xx, and the gateway is well."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.hostile.corpus import LARGE, WRONG_VALUES, Nasty, small
from tests.hostile.judging import complaint
from tests.hostile.sending import Attack, attacking
from tests.hostile.target import ADMIN, EXPIRED, ROOT, USER, Target, waits_of_others

LEAST_REQUESTS = 5_000
THIN_OUT = 8
PLAIN = ("/metrics", "/health", "/generations", "/stored")
"""Not of the protocol: what they serve is no JSON of the wire's."""
VALUES = {"request_id": "1", "job_id": "1", "entry_id": "x", "path": "x", "name": "x", "target": "x"}

Api = dict[str, Any]


@pytest.fixture(scope="module")
def api(target: Target) -> Api:
    """The running gateway's OpenAPI description."""
    described: Api = httpx.get(f"{target.url}/openapi.json", timeout=20).json()
    return described


def operations(api: Api) -> Iterator[tuple[str, str, Any]]:
    """Method, path and description of all there are."""
    for path, methods in api["paths"].items():
        for method, described in methods.items():
            yield method.upper(), re.sub(r"\{(\w+)\}", lambda found: VALUES[found[1]], path), described


def attack(method: str, path: str, nasty: Nasty) -> Attack:
    is_api = not path.startswith(PLAIN)
    return Attack(nasty.name, method, path, nasty.content, nasty.headers, nasty.chunks, is_api)


def bodies_to_all(api: Api) -> list[Attack]:
    """Every body to one endpoint of each kind, some of them to every other, which has the same handler."""
    all_paths = [(method, path) for method, path, _ in operations(api)]
    first = set(one_of_each_kind(api))
    return [
        attack(method, path, nasty)
        for shift, nasty in enumerate(small(USER))
        for index, (method, path) in enumerate(all_paths)
        if (method, path) in first or (index + shift) % THIN_OUT == 0
    ]


def one_of_each_kind(api: Api) -> list[tuple[str, str]]:
    """Endpoints that no other before them ends like."""
    kinds: dict[tuple[str, str], str] = {}
    for method, path, _ in operations(api):
        kinds.setdefault((method, path.removesuffix("/1").rpartition("/")[2]), path)
    return [(method, path) for (method, _), path in kinds.items()]


def wrong_fields(api: Api) -> list[Attack]:
    """Each field of each kind of body with each wrong value, all else being right."""
    kinds: dict[str, tuple[str, Api]] = {}
    for _, path, described in operations(api):
        if wanted := described.get("requestBody"):
            schema = wanted["content"]["application/json"]["schema"]
            kinds.setdefault(schema.get("title"), (path, schema["properties"]))
    right = {"model_id": "demo", "prompt": "a red circle", "request_id": 1}
    return [
        Attack(
            f"{field}={str(value)[:20]!r}",
            "POST",
            path,
            json.dumps({"key": ADMIN} | right | {field: value}).encode(),
            {"Content-Type": "application/json"},
        )
        for path, fields in kinds.values()
        for field in fields
        for value in WRONG_VALUES
    ]


def test_thousands_of_nasty_requests_get_a_sentence_each(target: Target, api: Api) -> None:
    attacks = [*bodies_to_all(api), *wrong_fields(api)]
    assert len(attacks) >= LEAST_REQUESTS

    with attacking(target) as attacker:
        complaints = attacker.complaints(attacks)

    assert complaints == []
    target.require_health()


@pytest.mark.parametrize("name", LARGE)
def test_a_body_of_megabytes_is_refused_and_costs_little(target: Target, name: str) -> None:
    make, words = LARGE[name]
    attacks = attack("POST", f"{ROOT}/text2img", make())

    with attacking(target) as attacker, waits_of_others(target) as waits:
        status, headers, content = attacker.answer(attacks)

    assert complaint(status, headers, content) == ""
    assert words in json.loads(content)["message"]
    assert max(waits) < 1.0
    target.require_health()


def test_large_bodies_are_refused_at_every_kind_of_endpoint(target: Target, api: Api) -> None:
    bodies = [LARGE[name][0]() for name in ("50 MB", "bomb")]

    with attacking(target) as attacker:
        complaints = attacker.complaints(
            attack(method, path, nasty) for nasty in bodies for method, path in one_of_each_kind(api)
        )

    assert complaints == []
    target.require_health()


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({}, "/nothing/here"),
        ({}, f"{ROOT}/nothing/here"),
        ({}, f"{ROOT}/generations"),
        ({}, "/" + "a/" * 4000),
        ({}, "/generations/%00"),
        ({}, "/generations/..%2f..%2fetc%2fpasswd"),
        ({}, "/stored/%00/%ff%fe"),
        ({}, f"{ROOT}/models/%00/files/..%2f..%2f"),
        ({}, f"{ROOT}/fetch/%F0%9F%98%80"),
        ({}, f"{ROOT}/fetch/{'9' * 5000}"),
        ({}, f"{ROOT}/fetch/1?{'key=a&' * 2000}"),
        ({}, f"{ROOT}/fetch/1?key=%00%ff%ed%a0%80"),
        ({"Host": "["}, f"{ROOT}/nothing"),
        ({"Host": "a:99999999"}, f"{ROOT}/nothing"),
        ({"Host": "\xff\xfe"}, f"{ROOT}/fetch/1"),
        ({"Host": ""}, f"{ROOT}/fetch/1"),
        ({"X-Forwarded-Proto": "javascript", "X-Forwarded-Host": "<script>"}, f"{ROOT}/fetch/1"),
        ({"X-Forwarded-For": "[::1, " * 500}, f"{ROOT}/fetch/1"),
        ({"Authorization": "Bearer " + "\xff" * 5000}, f"{ROOT}/fetch/1"),
        ({"key": "\xff"}, f"{ROOT}/fetch/1"),
        ({"key": USER, "Idempotency-Key": "\xff" * 255}, f"{ROOT}/fetch/1"),
        ({"key": USER, "Range": "bytes=" + "0-0," * 3000}, "/generations/x.png"),
        ({"Expect": "200-maybe"}, f"{ROOT}/fetch/1"),
        ({"Origin": "null"}, f"{ROOT}/fetch/1"),
        ({"Cookie": "a=b; " * 2000}, f"{ROOT}/fetch/1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_odd_paths_and_headers_are_answered_in_the_wires_shape(
    target: Target, headers: dict[str, str], path: str
) -> None:
    attacks = [
        Attack("odd", method, path, headers=headers, is_api=False)
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
    ]

    with attacking(target) as attacker:
        complaints = attacker.complaints(attacks)

    assert complaints == []
    target.require_health()


@pytest.mark.parametrize("key", [None, "", "unknown", EXPIRED], ids=["none", "empty", "unknown", "expired"])
def test_without_a_valid_key_every_endpoint_says_so_in_the_wires_shape(
    target: Target, api: Api, key: str | None
) -> None:
    content = json.dumps({"prompt": "x"} | ({} if key is None else {"key": key})).encode()
    protected = [(method, path) for method, path in one_of_each_kind(api) if not path.startswith(PLAIN)]

    with attacking(target) as attacker:
        answers = [attacker.answer(Attack("no key", method, path, content)) for method, path in protected]

    assert [complaint(*answer) for answer in answers] == [""] * len(protected)
    assert {json.loads(content)["code"] for _, _, content in answers} == {"invalid_api_key"}


def test_of_a_field_that_comes_twice_the_last_one_counts(target: Target) -> None:
    body = (
        b'{"key": "nobody", "model_id": "none", "model_id": "demo", "prompt": "x", "key": "%s"}'
        % USER.encode()
    )

    with attacking(target) as attacker:
        _, _, content = attacker.answer(Attack("twice", "POST", f"{ROOT}/text2img", body))

    assert json.loads(content)["status"] == "processing"
