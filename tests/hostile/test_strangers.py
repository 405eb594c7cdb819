"""Whoever has no right key learns nothing: not whether another tenant's job exists, nor how to manage."""

import json
from typing import Any

import httpx
import pytest

from api.routes.families import FAMILIES
from shared import ledger
from shared.jobs import JobState, Outcome
from tests.hostile.conftest import ADMIN, EXPIRED, OTHER, ROOT, USER, Door
from tests.support.jobs import make_key, make_spec
from tests.support.raw import RawAnswer, exchange, posted

NEVER = 2**53 - 7
"""An id that no job has."""
JOBS = sorted({family.jobs_prefix for family in FAMILIES})
WAYS = ("fetch by body", "fetch by path", "look", "cancel")
MANAGING = (
    *("restart_server", "update_server", "update", "clear_cache", "clear_queue", "model_reload"),
    *("load_model", "load_model_v2", "load_vae", "delete_model", "sync_models", "update_s3", "reset_s3"),
    *("models/{entry_id}", "models/{entry_id}/files/{path}"),
)
WRONG_KEYS: dict[str, Any] = {
    "empty": "",
    "blank": "   ",
    "almost": ADMIN + " ",
    "in capitals": ADMIN.upper(),
    "very long": "k" * 1_000_000,
    "a number": 7,
    "yes": True,
    "nothing": None,
    "a list": [ADMIN],
    "an object": {"key": ADMIN},
    "its digest": make_key("boss").sha256,
    "a pattern": "*",
    "with NUL": ADMIN + "\0",
    "in another script": "ключ",
}


def ask(door: Door, way: str, prefix: str, job_id: int, key: str) -> RawAnswer:
    if way == "fetch by body":
        return posted(door.url, f"{prefix}/fetch", {"key": key, "request_id": job_id})
    if way == "look":
        return exchange(door.url, f"{prefix}/fetch/{job_id}", method="GET", headers=(("key", key.encode()),))
    return posted(door.url, f"{prefix}/{way.partition(' ')[0]}/{job_id}", {"key": key})


def without_date(answer: RawAnswer) -> tuple[int, list[tuple[str, str]], bytes]:
    return answer.status, [each for each in answer.headers if each[0].lower() != "date"], answer.body


@pytest.fixture(scope="module")
def jobs(door: Door) -> dict[str, int]:
    """The other tenant's, in each state."""
    ids = {}
    for state in (*(each for each in JobState if each.is_terminal), JobState.RUNNING, JobState.QUEUED):
        spec = make_spec(model_id=f"model-{state}")
        call = ledger.accept(spec, make_key("other"), door.settings, idempotency_key=None, digest="")
        ids[state.value] = job_id = door.store.run(call).job_id
        if state is not JobState.QUEUED:
            claim = door.store.run(ledger.claim("worker", state, door.settings, ()))
            assert claim is not None
        if state.is_terminal:
            door.store.run(ledger.finish(job_id, state, state, Outcome(reason="Why.")))
    return ids


@pytest.mark.parametrize("prefix", JOBS)
@pytest.mark.parametrize("way", WAYS)
def test_another_tenants_job_is_refused_as_one_that_never_was(
    door: Door, jobs: dict[str, int], way: str, prefix: str
) -> None:
    never = without_date(ask(door, way, prefix, NEVER, USER))
    own = ask(door, way if way != "cancel" else "look", prefix, jobs["queued"], OTHER)

    for state, job_id in jobs.items():
        assert without_date(ask(door, way, prefix, job_id, USER)) == never, state
        assert without_date(ask(door, way, prefix, job_id, ADMIN)) == never, state
    assert json.loads(never[2])["message"] == "Request not found"
    assert own.said["status"] == "processing"


def test_cancelling_another_tenants_job_does_nothing(door: Door, jobs: dict[str, int]) -> None:
    ask(door, "cancel", ROOT, jobs["queued"], USER)

    assert door.store.run(ledger.read(jobs["queued"], "other")).state is JobState.QUEUED


def test_another_tenants_idempotency_key_is_free(door: Door) -> None:
    fields = {"model_id": "demo", "prompt": "x"}
    headers = (("Content-Type", b"application/json"), ("Idempotency-Key", b"the same"))

    def sent(key: str, prompt: str) -> Any:
        body = {**fields, "key": key, "prompt": prompt}
        return posted(door.url, f"{ROOT}/text2img", body, headers=headers).said

    theirs, mine = sent(OTHER, "theirs"), sent(USER, "mine")

    assert (theirs["status"], mine["status"]) == ("processing", "processing")
    assert theirs["id"] != mine["id"]
    assert sent(USER, "mine")["id"] == mine["id"]


@pytest.fixture(scope="module")
def routes(door: Door) -> list[tuple[str, str]]:
    """Methods and paths of all that takes a key."""
    paths = httpx.get(f"{door.url}/openapi.json").json()["paths"]
    return [
        (method.upper(), path)
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/api/")
    ]


@pytest.mark.parametrize("name", MANAGING)
def test_a_users_key_manages_nothing(door: Door, routes: list[tuple[str, str]], name: str) -> None:
    found = [(method, path) for method, path in routes if path.endswith(f"/{name}")]
    stored = door.store.run(ledger.stats())

    for method, path in found:
        answer = exchange(door.url, path, b"{}", method=method, headers=(("key", USER.encode()),))
        assert (answer.said["status"], answer.said["code"]) == ("error", "forbidden"), path
        assert answer.said["message"].endswith("use an admin's key.")
    assert found
    assert door.store.run(ledger.stats()).queued == stored.queued


@pytest.mark.parametrize("key", [EXPIRED, "a-key-that-nobody-has", None], ids=["expired", "unknown", "none"])
def test_a_wrong_key_opens_nothing(door: Door, routes: list[tuple[str, str]], key: str | None) -> None:
    with httpx.Client(base_url=door.url) as client:
        for method, path in routes:
            # "x" in the place of an id: who may not ask is not told of it either
            target = path.replace("{request_id}", "1").replace("{entry_id}", "x").replace("{path}", "x")
            answer = client.request(method, target, json={"key": key, "model_id": "demo", "prompt": "x"})

            assert answer.status_code in (200, 401), path
            assert answer.json()["code"] == "invalid_api_key", path


@pytest.mark.parametrize("key", WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_what_is_no_key_is_refused_as_a_wrong_one(door: Door, key: object) -> None:
    for path in ("text2img", "fetch/1", "load_model", "get_all_models"):
        assert door.post(path, key=key, **{"model_id": "demo"}).said["code"] == "invalid_api_key"


@pytest.mark.parametrize("key", [EXPIRED, "unknown", "k" * 20_000], ids=["expired", "unknown", "very long"])
def test_a_wrong_key_is_wrong_wherever_it_is_sent(door: Door, key: str) -> None:
    places: list[dict[str, Any]] = [
        {"headers": {"key": key}},
        {"headers": {"Authorization": f"Bearer {key}"}},
        {"params": {"key": key}},
        {"data": {"key": key}},
        {"files": {"key": (None, key), "x": (None, "y")}},
    ]
    for place in places:
        answer = httpx.post(f"{door.url}{ROOT}/system_details", **place)

        assert answer.json()["code"] == "invalid_api_key", place
        assert answer.status_code == 200


def test_a_key_that_is_no_text_is_no_key(door: Door) -> None:
    kinds = (b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=b")
    part = b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n\xff\xfe\r\n--b--\r\n'
    bodies = (b'{"key": "\\ud800"}', b"key=\xff\xfe", part)

    for kind, body in zip(kinds, bodies, strict=True):
        answer = exchange(door.url, f"{ROOT}/system_details", body, headers=(("Content-Type", kind),))

        assert answer.status == 200
        assert answer.said["status"] == "error"
