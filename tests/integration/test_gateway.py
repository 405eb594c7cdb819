"""The gateway over real HTTP and a real Redis; the test plays the worker."""

import asyncio
import base64
import io
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import redis
from PIL import Image

from api.admission import made_before
from api.body import Caller
from api.context import Gateway
from deploy import commands
from deploy.ports import free_port
from shared import ledger
from shared.api_keys import KeyRing
from shared.errors import InputGone
from shared.jobs import JobState, Outcome, Role
from shared.ledger import AsyncLedger, Ledger
from shared.missing import NO_CHECKER, NO_TRANSLATOR
from shared.settings import Settings
from shared.storage import FolderStorage, input_name
from tests.support.jobs import make_spec, make_unreadable
from tests.support.models import write_models_file
from tests.support.processes import forked, running_gateway
from tests.support.site import answer, running_site
from tests.support.waiting import wait_until

KEY = "secret-of-the-tests"
ROOT = "/api/v1/enterprise"


def red_png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return file.getvalue()


RED = red_png()


def body(**fields: Any) -> dict[str, Any]:
    return {"key": KEY, "model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64} | fields


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Iterator[httpx.Client]:
    """Of a gateway that answers at once."""
    impatient = settings.model_copy(update={"sync_wait_s": 0.0})
    with running_gateway(impatient, tmp_path / "gateway.log") as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture(scope="module")
def any_client(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of one that answers at once too, for tests that don't mind each other."""
    folder = tmp_path_factory.mktemp("any")
    settings = Settings(
        redis_url=module_redis_url,
        data_dir=folder / "data",
        port=free_port(),
        api_key=KEY,
        sync_wait_s=0.0,
    )
    with running_gateway(settings, folder / "gateway.log") as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def patient_client(settings: Settings, tmp_path: Path) -> Iterator[httpx.Client]:
    """Of a gateway that waits for pictures."""
    with (
        running_gateway(settings, tmp_path / "gateway.log") as url,
        httpx.Client(base_url=url, timeout=40) as client,
    ):
        yield client


def play_worker(store: Ledger, settings: Settings, state: JobState = JobState.SUCCEEDED) -> ledger.Claim:
    """Do the next job as a worker would."""
    claim = wait_until(lambda: store.run(ledger.claim("worker", "token", settings, ())))
    for name in claim.spec.file_names:
        FolderStorage(settings.data_dir, settings.temp_life_s).write(name, b"\x89PNG of " + name.encode())
    outcome = Outcome(generation_time_s=0.5, revision="fp32", reason="" if state == "succeeded" else "Why.")
    store.run(ledger.finish(claim.job_id, claim.token, state, outcome))
    return claim


def test_a_request_whose_pictures_are_made_in_time_answers_success(
    patient_client: httpx.Client, store: Ledger, settings: Settings
) -> None:
    with ThreadPoolExecutor() as pool:
        pending = pool.submit(patient_client.post, f"{ROOT}/text2img", json=body(samples=2))
        claim = play_worker(store, settings)
        answer = pending.result().json()

    assert answer["status"] == "success"
    assert answer["id"] == claim.job_id
    for link in answer["output"]:
        picture = httpx.get(link)
        assert picture.status_code == httpx.codes.OK
        assert picture.headers["content-type"] == "image/png"


def test_with_no_wait_it_answers_processing_and_fetch_tells_the_rest(
    client: httpx.Client, store: Ledger, settings: Settings
) -> None:
    answer = client.post(f"{ROOT}/text2img", json=body()).json()
    assert answer["status"] == "processing"
    assert isinstance(answer["eta"], int)
    (link,) = answer["future_links"]
    assert client.get(link).status_code == httpx.codes.NOT_FOUND
    assert client.post(answer["fetch_result"], json={"key": KEY}).json()["status"] == "processing"

    play_worker(store, settings)

    fetched = client.post(answer["fetch_result"], json={"key": KEY}).json()
    assert fetched["status"] == "success"
    assert fetched["output"] == [link]
    assert client.get(link).status_code == httpx.codes.OK


def test_fetch_works_in_every_form_that_clients_use(
    client: httpx.Client, store: Ledger, settings: Settings
) -> None:
    job_id = client.post(f"{ROOT}/text2img", json=body()).json()["id"]
    play_worker(store, settings)
    bearer = {"Authorization": f"Bearer {KEY}"}

    answers = [
        client.post(f"{ROOT}/fetch", json={"key": KEY, "request_id": job_id}),
        client.post(f"{ROOT}/fetch", json={"key": KEY, "request_id": str(job_id)}),
        client.post(f"{ROOT}/fetch/{job_id}", json={"key": KEY}),
        client.post(f"{ROOT}/fetch/{job_id}", json={}, headers=bearer),
        client.get(f"{ROOT}/fetch/{job_id}", headers=bearer),
        client.get(f"{ROOT}/fetch/{job_id}", headers={"key": KEY}),
        client.get(f"{ROOT}/fetch/{job_id}", params={"key": KEY}),
    ]

    assert {answer.json()["status"] for answer in answers} == {"success"}


def test_version_six_answers_and_fetches_under_its_own_prefix(
    client: httpx.Client, store: Ledger, settings: Settings
) -> None:
    answer = client.post("/api/v6/images/text2img", json=body()).json()
    play_worker(store, settings)

    assert answer["fetch_result"].endswith(f"/api/v6/images/fetch/{answer['id']}")
    fetched = client.post(answer["fetch_result"], json={"key": KEY}).json()
    assert fetched["status"] == "success"
    assert fetched["meta"]["safety_checker"] == "yes"
    assert client.get(fetched["output"][0]).status_code == httpx.codes.OK


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        pytest.param({"model_id": "nope"}, "Model not found: nope", id="model"),
        pytest.param({"lora_model": "demo-floor,nope"}, "LoRA not found: nope", id="lora"),
        pytest.param({"embeddings_model": "nope"}, "Embedding not found: nope", id="embedding"),
        pytest.param({"vae": "nope"}, "VAE not found: nope", id="vae"),
        pytest.param({"multi_lingual": "yes"}, NO_TRANSLATOR, id="no translator"),
    ],
)
def test_what_is_not_installed_is_refused_before_it_is_accepted(
    any_client: httpx.Client, fields: dict[str, str], sentence: str
) -> None:
    answer = any_client.post(f"{ROOT}/text2img", json=body(**fields)).json()

    assert (answer["status"], answer["message"]) == ("error", sentence)


def test_a_server_can_refuse_to_make_unchecked_pictures(settings: Settings, tmp_path: Path) -> None:
    strict = settings.model_copy(update={"require_safety_checker": True, "sync_wait_s": 0.0})
    with running_gateway(strict, tmp_path / "gateway.log") as url:
        asked, waived = (
            httpx.post(f"{url}{ROOT}/text2img", json=body(safety_checker=switch)).json()
            for switch in ("yes", "no")
        )

    assert (asked["status"], asked["message"]) == ("error", NO_CHECKER)
    assert waived["status"] == "processing"


def test_temporary_files_are_gone_when_their_time_is_over(
    store: Ledger, settings: Settings, tmp_path: Path
) -> None:
    brief = settings.model_copy(update={"temp_life_s": 2.0, "sync_wait_s": 0.0})
    with running_gateway(brief, tmp_path / "gateway.log") as url:
        temporary, kept = (
            httpx.post(f"{url}{ROOT}/text2img", json=body(temp=temp)).json()["future_links"][0]
            for temp in ("yes", "no")
        )
        play_worker(store, brief)
        play_worker(store, brief)

        first = httpx.get(temporary)
        assert first.status_code == httpx.codes.OK
        assert int(first.headers["cache-control"].split("max-age=")[1].split(",")[0]) <= 2
        wait_until(lambda: httpx.get(temporary).status_code == httpx.codes.NOT_FOUND)
        wait_until(lambda: not [*(settings.data_dir / "generations" / "temp").iterdir()])
        assert httpx.get(kept).status_code == httpx.codes.OK


def test_instant_response_does_not_wait(patient_client: httpx.Client) -> None:
    started = time.monotonic()

    answer = patient_client.post(f"{ROOT}/text2img", json=body(instant_response="yes")).json()

    assert answer["status"] == "processing"
    assert time.monotonic() - started < 10


def test_a_failed_job_answers_failed_with_its_reason(
    patient_client: httpx.Client, store: Ledger, settings: Settings
) -> None:
    with ThreadPoolExecutor() as pool:
        pending = pool.submit(patient_client.post, f"{ROOT}/text2img", json=body())
        play_worker(store, settings, JobState.FAILED)

    answer = pending.result()
    assert answer.status_code == httpx.codes.OK
    assert (answer.json()["status"], answer.json()["message"]) == ("failed", "Why.")


def test_an_idempotency_key_repeats_the_answer_and_not_the_job(any_client: httpx.Client) -> None:
    header = {"Idempotency-Key": "order-7"}

    first = any_client.post(f"{ROOT}/text2img", json=body(), headers=header).json()
    second = any_client.post(f"{ROOT}/text2img", json=body(), headers=header).json()
    other = any_client.post(f"{ROOT}/text2img", json=body(prompt="else"), headers=header).json()

    assert first["id"] == second["id"]
    assert first["meta"]["seed"] == second["meta"]["seed"]
    assert (other["status"], other["code"]) == ("error", "idempotency_conflict")


def test_cancel_ends_a_waiting_job(any_client: httpx.Client) -> None:
    job_id = any_client.post(f"{ROOT}/text2img", json=body()).json()["id"]

    cancelled = any_client.post(f"{ROOT}/cancel/{job_id}", json={"key": KEY}).json()

    assert cancelled["status"] == "success"
    fetched = any_client.post(f"{ROOT}/fetch/{job_id}", json={"key": KEY}).json()
    assert (fetched["status"], fetched["message"]) == ("failed", "The job was cancelled.")


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"json": body(key="wrong")}, "Invalid Api Key"),
        ({"json": {"prompt": "no key"}}, "Invalid Api Key"),
        ({"json": body(key=7)}, "Invalid Api Key"),
        ({"content": b"not json"}, "Invalid API Request"),
        ({"content": b""}, "Invalid API Request"),
        ({"content": b"[1, 2]"}, "Invalid API Request"),
        ({"content": b'{"key": NaN}'}, "Invalid API Request"),
        ({"content": b"[" * 100_000}, "Invalid API Request"),
        ({"content": b'{"key": "\xff"}'}, "Invalid API Request"),
        ({"json": body(model_id="unheard-of")}, "Model not found: unheard-of"),
        ({"json": body(prompt=None)}, "prompt is required"),
        ({"json": body(samples=9)}, "samples must be between 1 and 4"),
        ({"json": body(webhook="ftp://example.com")}, "webhook must be an http or https URL"),
        ({"json": body(webhook="http://10.0.0.1/")}, "webhook must be a public address; this one is private"),
        (
            {"json": body(), "headers": {"Idempotency-Key": ""}},
            "Idempotency-Key must be 1 to 255 characters long",
        ),
    ],
    ids=str,
)
def test_bad_input_gets_a_sentence_with_http_200(
    any_client: httpx.Client, sent: dict[str, Any], message: str
) -> None:
    answer = any_client.post(f"{ROOT}/text2img", **sent)

    assert answer.status_code == httpx.codes.OK
    assert answer.json()["status"] == "error"
    assert answer.json()["message"] == answer.json()["messege"] == message


def test_a_lone_surrogate_in_a_prompt_is_refused_with_a_sentence(any_client: httpx.Client) -> None:
    raw = b'{"key": "secret-of-the-tests", "model_id": "demo", "prompt": "\\ud800"}'

    answer = any_client.post(f"{ROOT}/text2img", content=raw)

    assert answer.status_code == httpx.codes.OK
    assert answer.json()["status"] == "error"


@pytest.mark.parametrize("request_id", [999_999, "abc", "9" * 40, -1])
def test_an_unknown_request_is_not_found(any_client: httpx.Client, request_id: Any) -> None:
    answer = any_client.post(f"{ROOT}/fetch/{request_id}", json={"key": KEY})

    assert answer.status_code == httpx.codes.OK
    assert answer.json()["status"] == "failed"
    assert answer.json()["message"] == "Request not found"


def test_an_unknown_route_is_answered_in_the_wires_shape(any_client: httpx.Client) -> None:
    for said in (any_client.post("/api/v1/enterprise/nothing"), any_client.get(f"{ROOT}/text2img")):
        assert said.status_code == httpx.codes.OK
        assert said.json()["status"] == "error"


def test_a_body_that_is_too_large_is_refused_with_a_sentence(any_client: httpx.Client) -> None:
    answer = any_client.post(f"{ROOT}/text2img", content=b" " * (33 * 1024 * 1024))

    assert "too large" in answer.json()["message"]


def test_strict_status_codes_are_a_setting(settings: Settings, tmp_path: Path) -> None:
    strict = settings.model_copy(update={"strict_http_status": True})
    with running_gateway(strict, tmp_path / "gateway.log") as url, httpx.Client(base_url=url) as client:
        assert client.post(f"{ROOT}/text2img", json=body(key="wrong")).status_code == httpx.codes.UNAUTHORIZED
        assert client.post(f"{ROOT}/text2img", json=body(samples=9)).status_code == httpx.codes.BAD_REQUEST
        assert client.post(f"{ROOT}/fetch/9", json={"key": KEY}).status_code == httpx.codes.NOT_FOUND
        assert client.post(f"{ROOT}/nothing").status_code == httpx.codes.NOT_FOUND
        assert client.get(f"{ROOT}/text2img").status_code == httpx.codes.METHOD_NOT_ALLOWED


def test_without_redis_nothing_is_accepted_and_503_says_so(settings: Settings, tmp_path: Path) -> None:
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    with running_gateway(away, tmp_path / "gateway.log") as url, httpx.Client(base_url=url) as client:
        answer = client.post(f"{ROOT}/text2img", json=body(), timeout=20)

        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert answer.headers["retry-after"]
        assert answer.json()["status"] == "error"
        assert client.get("/health/live").status_code == httpx.codes.OK
        assert client.get("/health/ready", timeout=20).status_code == httpx.codes.SERVICE_UNAVAILABLE


def test_links_use_the_host_that_the_client_used(any_client: httpx.Client) -> None:
    def link(**headers: str) -> str:
        answer = any_client.post(f"{ROOT}/text2img", json=body(), headers=headers).json()
        return str(answer["future_links"][0])

    proxied = {"X-Forwarded-Host": "pictures.example.com", "X-Forwarded-Proto": "https"}
    assert link(**proxied).startswith("https://pictures.example.com/generations/")
    assert link(Host='evil"><script>').startswith("http://127.0.0.1:")


def test_a_name_outside_the_storage_folder_is_not_served(any_client: httpx.Client) -> None:
    for name in ("..%2f..%2fetc%2fpasswd", "%2e%2e/secret", "x.png"):
        answer = any_client.get(f"/generations/{name}")
        assert answer.status_code == httpx.codes.NOT_FOUND
        assert answer.json()["status"] == "error"


def test_metrics_tell_of_requests_and_of_the_cluster(client: httpx.Client) -> None:
    client.post(f"{ROOT}/text2img", json=body())

    text = client.get("/metrics").text

    assert 'printworks_jobs_accepted_total{endpoint="text2img",model="demo"} 1.0' in text
    assert 'printworks_jobs{model="demo",state="queued"} 1.0' in text
    assert f'printworks_requests_total{{route="{ROOT}/text2img",status="200"}} 1.0' in text


def test_openapi_describes_text2img_with_its_fields(any_client: httpx.Client) -> None:
    paths = any_client.get("/openapi.json").json()["paths"]

    schema = paths[f"{ROOT}/text2img"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"key", "prompt", "model_id", "track_id", "instant_response"} <= set(schema["properties"])
    assert any_client.get("/docs").status_code == httpx.codes.OK


def test_sigterm_answers_the_requests_that_wait(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    with forked(commands.gateway(), settings, log) as process:
        url = f"http://127.0.0.1:{settings.port}"
        wait_until(lambda: b"running on" in log.read_bytes())
        with ThreadPoolExecutor() as pool:
            pending = pool.submit(httpx.post, f"{url}{ROOT}/text2img", json=body(), timeout=30)
            accepted = Ledger(settings.redis_url)
            wait_until(lambda: accepted.run(ledger.stats()).queued == 1)
            process.terminate()
            answer = pending.result()

        assert answer.json()["status"] == "processing"
        assert process.wait(10) == -signal.SIGTERM


def test_no_secret_reaches_the_gateways_log(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    with running_gateway(settings, log) as url, httpx.Client(base_url=url) as client:
        client.get(f"{ROOT}/fetch/1", params={"key": KEY})
        client.post(f"{ROOT}/text2img", content=b'{"key": "%s", broken' % KEY.encode())

    assert KEY not in log.read_text()


def picture_body(url: str, **fields: Any) -> dict[str, Any]:
    return body(init_image=url, strength=0.5) | fields


def test_a_repeated_request_is_known_by_its_key_though_its_picture_is_gone(client: httpx.Client) -> None:
    gone: list[bool] = []

    def page(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        (answer(status=404) if gone else answer(RED))(handler, over)

    with running_site({"/init.png": page}) as site:
        sent, headers = picture_body(f"{site.url}/init.png"), {"Idempotency-Key": "one"}
        first = client.post(f"{ROOT}/img2img", json=sent, headers=headers).json()
        gone.append(True)
        again = client.post(f"{ROOT}/img2img", json=sent, headers=headers).json()

        assert first["status"] == "processing", first
        assert again["id"] == first["id"]
        assert len(site.requests) == 1


def test_the_same_key_at_another_endpoint_is_another_request(any_client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "two"}

    first = any_client.post(f"{ROOT}/text2img", json=body(), headers=headers).json()
    other = any_client.post("/api/v6/images/text2img", json=body(), headers=headers).json()

    assert first["status"] == "processing"
    assert other["code"] == "idempotency_conflict"


def test_an_accept_that_the_ledger_heard_twice_keeps_its_pictures(
    settings: Settings, store: Ledger, tmp_path: Path
) -> None:
    storage = FolderStorage(tmp_path, 60)
    key = KeyRing.from_settings(settings).identify(KEY)
    spec = make_spec()
    storage.write_input(input_name(spec.file_prefix, Role.INIT), RED)
    call = ledger.accept(spec, key, settings, idempotency_key=None, digest="")
    job_id = store.run(call).job_id
    assert not store.run(call).is_new

    async def read_back(prefix: str) -> None:
        gateway = SimpleNamespace(ledger=AsyncLedger(settings.redis_url), storage=storage)
        await made_before(cast(Gateway, gateway), Caller(key, {}), job_id, prefix)
        await gateway.ledger.close()

    asyncio.run(read_back(spec.file_prefix))

    assert storage.read_input(input_name(spec.file_prefix, Role.INIT)) == RED
    other = str(uuid.uuid4())
    storage.write_input(input_name(other, Role.INIT), RED)
    asyncio.run(read_back(other))
    with pytest.raises(InputGone):
        storage.read_input(input_name(other, Role.INIT))


def test_a_waiting_job_that_is_cancelled_leaves_no_picture_behind(
    client: httpx.Client, settings: Settings
) -> None:
    inline = base64.b64encode(RED).decode()
    job_id = client.post(f"{ROOT}/img2img", json=picture_body(inline)).json()["id"]
    inputs = settings.data_dir / "inputs"
    assert list(inputs.iterdir())

    client.post(f"{ROOT}/cancel/{job_id}", json={"key": KEY})

    assert not list(inputs.iterdir())


def test_a_check_is_answered_bare_in_line_and_with_its_id_later(
    settings: Settings, store: Ledger, tmp_path: Path
) -> None:
    file = write_models_file(tmp_path / "models.yaml", safety_checker="somewhere")
    checked = settings.model_copy(update={"models_file": file})
    with (
        running_gateway(checked, tmp_path / "gateway.log") as url,
        httpx.Client(base_url=url, timeout=40) as client,
        ThreadPoolExecutor() as pool,
    ):
        wanted = {"key": KEY, "init_image": base64.b64encode(RED).decode()}
        asked = pool.submit(client.post, f"{ROOT}/nsfw_image_check", json=wanted)
        claim = play_worker(store, checked)

        inline = asked.result(30).json()
        later = client.post(f"{ROOT}/fetch/{claim.job_id}", json={"key": KEY}).json()

    assert inline == {"images": "base64", "has_nsfw_concept": [False]}
    assert later == {"status": "success", "id": claim.job_id, "output": [], **inline}


def test_a_realtime_client_may_name_its_model_null(any_client: httpx.Client) -> None:
    for nothing in (None, "", "no"):
        said = any_client.post(f"{ROOT}/realtime/text2img", json=body(model_id=nothing)).json()
        assert (said["status"], said["meta"]["model_id"]) == ("processing", "demo")


def test_no_body_reaches_the_log(client: httpx.Client, tmp_path: Path) -> None:
    hostile: list[Any] = [0, -5, "many", [], {}, True, 1e300]
    for nonsense in hostile:
        client.post(f"{ROOT}/text2video", json=body(num_frames=nonsense, key=KEY)).raise_for_status()

    assert KEY not in (tmp_path / "gateway.log").read_text()


def test_a_job_that_a_newer_gateway_accepted_is_answered_503_by_one_that_is_not_updated_yet(
    client: httpx.Client, settings: Settings
) -> None:
    job_id = client.post(f"{ROOT}/text2img", json=body(instant_response="yes")).json()["id"]
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as raw:
        make_unreadable(raw, job_id)

    answer = client.post(f"{ROOT}/fetch/{job_id}", json={"key": body()["key"]})

    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.headers["Retry-After"]
    assert "updated" in answer.json()["message"]
