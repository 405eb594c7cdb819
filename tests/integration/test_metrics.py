"""What processes tell Prometheus and probes: a real gateway, GPU worker and dispatcher that do a few jobs."""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from api.balancing.wire import PATH, Callback, HandOver
from deploy import commands
from deploy.ports import free_port
from shared.jobs import PictureSpec
from shared.settings import Settings
from shared.version import VERSION
from tests.support import tiny
from tests.support.jobs import make_spec
from tests.support.known_metrics import HISTOGRAMS
from tests.support.metrics import DISPATCHER, GATEWAYS_OWN, GPU_WORKER, Scrape, scraped
from tests.support.models import write_models_file
from tests.support.nursery import Forked
from tests.support.processes import forked, running_gateway
from tests.support.receiver import running_receiver
from tests.support.s3 import REGION, running_s3
from tests.support.waiting import wait_until

KEY = "secret-of-the-tests"
ROOT = "/api/v1/enterprise"
STEPS, SAMPLES = 5, 2
SLOTS, LANE_WIDTH = 3, 4
RETRY_S = 0.3

Probe = tuple[int, str]
"""Status and sentence."""


def probed(url: str, what: str = "ready") -> Probe:
    """Of a process that answers already; what it says is empty when all is well."""
    answer = httpx.get(f"{url}/health/{what}", timeout=5, trust_env=False)
    return answer.status_code, answer.json().get("message", "")


@dataclass
class Monitored:
    """An installation whose processes all answer."""

    settings: Settings
    gateway: str
    worker: str
    dispatcher: str
    process: Forked
    """The GPU worker's."""
    first_said: Probe
    """What the GPU worker said to the first probe that it answered."""
    first_told: Scrape
    """And right then to Prometheus."""

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        body = {"key": KEY, "prompt": "a red circle", "model_id": "demo", "width": 64, "height": 64} | fields
        said: dict[str, Any] = httpx.post(
            f"{self.gateway}{ROOT}/{path}", json=body, timeout=60, trust_env=False
        ).json()
        return said


def url_of(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.metrics_port}"


def first_answer(url: str) -> Probe:
    def answer() -> Probe | None:
        try:
            return probed(url)
        except httpx.TransportError:
            return None

    return wait_until(answer, within_s=60, every_s=0.005)


def hand_over(monitored: Monitored, spec: PictureSpec) -> None:
    """As a peer would."""
    callback = Callback(url=f"{monitored.gateway}{PATH}/back/1", secret="whsec_c2VjcmV0")
    order = HandOver(spec=spec, callback=callback).model_dump(mode="json")
    httpx.post(f"{monitored.gateway}{PATH}/jobs", json={"key": KEY, **order}, trust_env=False)


def is_ready(url: str) -> bool:
    return probed(url) == (200, "")


@pytest.fixture(scope="module")
def settings(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("monitored")
    model = tiny.save_stable_diffusion(folder / "tiny")
    return Settings(
        redis_url=module_redis_url,
        data_dir=folder / "data",
        models_file=write_models_file(folder / "models.yaml", models={"demo": model}),
        port=free_port(),
        api_key=KEY,
        secret_key="a secret of the tests",
        allow_private_hosts=("127.0.0.1",),
        slots=SLOTS,
        lane_width=LANE_WIDTH,
        lease_s=1.0,
        beat_s=0.2,
        sweep_s=0.2,
        drain_s=2.0,
        webhook_schedule_s=(0.0, RETRY_S),
        cpu_threads=1,
    )


@pytest.fixture(scope="module")
def monitored(settings: Settings) -> Iterator[Monitored]:
    """It has made one job of two pictures, failed another and refused a third; the first webhook was taken at
    the second attempt."""
    logs = settings.data_dir.parent
    of_worker, of_dispatcher = (
        settings.model_copy(update={"metrics_port": free_port()}) for _ in ("worker", "dispatcher")
    )
    with ExitStack() as stack:
        gateway = stack.enter_context(running_gateway(settings, logs / "gateway.log"))
        words = commands.gpu_worker(0, SLOTS, settings.pool)
        process = stack.enter_context(forked(words, of_worker, logs / "worker.log"))
        said, told = first_answer(url_of(of_worker)), scraped(url_of(of_worker))
        made = Monitored(settings, gateway, url_of(of_worker), url_of(of_dispatcher), process, said, told)
        stack.enter_context(forked(commands.dispatcher(2), of_dispatcher, logs / "dispatcher.log"))
        first_answer(made.dispatcher)
        for url in (made.worker, made.dispatcher):
            wait_until(partial(is_ready, url), within_s=90)
        receiver = stack.enter_context(running_receiver(statuses=[500]))
        picture = {"samples": SAMPLES, "num_inference_steps": STEPS}
        assert made.post("text2img", **picture, webhook=receiver.url)["status"] == "success"
        assert made.post("flux/text2img")["status"] == "failed"
        assert made.post("text2img", samples=9)["code"] == "validation_error"
        wait_until(lambda: len(receiver.requests) == 2)
        finished = {"endpoint": "text2img", "model": "demo", "state": "failed"}
        wait_until(lambda: scraped(made.worker).value("printworks_jobs_finished_total", **finished))
        delivered = {"outcome": "delivered"}
        wait_until(lambda: scraped(made.dispatcher).value("printworks_delivery_attempts_total", **delivered))
        yield made


@pytest.fixture(scope="module")
def worker(monitored: Monitored) -> Scrape:
    return scraped(monitored.worker)


@pytest.fixture(scope="module")
def dispatcher(monitored: Monitored) -> Scrape:
    return scraped(monitored.dispatcher)


@pytest.fixture(scope="module")
def gateway(monitored: Monitored) -> Scrape:
    return scraped(monitored.gateway)


def test_a_gpu_worker_tells_these_metrics_with_these_labels_and_no_others(worker: Scrape) -> None:
    assert worker.metrics() == GPU_WORKER


def test_a_dispatcher_tells_these_metrics_with_these_labels_and_no_others(dispatcher: Scrape) -> None:
    assert dispatcher.metrics() == DISPATCHER


def test_a_gateway_tells_what_it_counts_with_these_labels(gateway: Scrape) -> None:
    told = gateway.metrics()
    expected = GATEWAYS_OWN.keys() - {"printworks_jobs_given_total"}  # there are no peers

    assert {name: told.get(name) for name in expected} == {name: GATEWAYS_OWN[name] for name in expected}


def test_queries_take_for_histograms_what_is_one(worker: Scrape, dispatcher: Scrape, gateway: Scrape) -> None:
    samples = (*worker.samples, *dispatcher.samples, *gateway.samples)

    assert {each.name.removesuffix("_bucket") for each in samples if "le" in each.labels} == HISTOGRAMS


def test_every_process_tells_which_it_is_and_what_it_takes(
    worker: Scrape, dispatcher: Scrape, gateway: Scrape
) -> None:
    for name, scrape in {"gpu-worker": worker, "dispatcher": dispatcher, "gateway": gateway}.items():
        assert scrape.value("printworks_info", version=VERSION, process=name) == 1
        assert scrape.value("process_resident_memory_bytes") > 1e6
        assert scrape.value("process_start_time_seconds") > 1e9
        assert not [each.name for each in scrape.samples if each.name.endswith("_created")]


def test_a_gpu_worker_counts_its_jobs_and_tells_how_long_they_waited_and_took(worker: Scrape) -> None:
    finished = {"endpoint": "text2img", "model": "demo"}
    waited = worker.value("printworks_queue_seconds_sum")
    stepped = worker.value("printworks_first_step_seconds_sum")
    took = worker.value("printworks_generation_seconds_sum", **finished)

    assert worker.value("printworks_jobs_started_total", attempt="1") == 2
    for state in ("succeeded", "failed"):
        assert worker.value("printworks_jobs_finished_total", **finished, state=state) == 1
    assert worker.value("printworks_queue_seconds_count") == 2
    assert worker.value("printworks_first_step_seconds_count") == 1
    assert worker.value("printworks_generation_seconds_count", **finished) == 1
    assert worker.value("printworks_upload_seconds_count", to="folder") == SAMPLES
    assert worker.value("printworks_upload_seconds_count", to="s3") == 0
    assert 0 < waited < 60
    assert 0 < stepped < waited + took
    assert 0 < worker.value("printworks_upload_seconds_sum", to="folder") < took


def test_a_gpu_worker_tells_what_its_engine_did(worker: Scrape) -> None:
    denoising = worker.value("printworks_tick_seconds_sum", work="denoise")
    busy = worker.value("printworks_gpu_busy_seconds_total")

    assert worker.value("printworks_lane_width_sum") == STEPS * SAMPLES
    assert worker.value("printworks_lane_width_count") == worker.value(
        "printworks_tick_seconds_count", work="denoise"
    )
    for work in ("encode", "decode"):
        assert worker.value("printworks_tick_seconds_count", work=work) >= 1
    assert 0 < denoising < busy
    assert busy < 10 * worker.value("printworks_generation_seconds_sum", endpoint="text2img", model="demo")
    assert worker.value("printworks_out_of_memory_total") == 0
    assert worker.value("printworks_lane_width_most") == LANE_WIDTH


def test_a_gpu_worker_tells_what_it_holds(monitored: Monitored, worker: Scrape) -> None:
    memory = {
        what: worker.value("printworks_device_memory_bytes", what=what)
        for what in ("used", "total", "models")
    }

    assert worker.value("printworks_models_loaded", kind="checkpoint") == 1
    assert worker.value("printworks_model_load_seconds_count", kind="checkpoint") == 1
    assert worker.value("printworks_model_evictions_total", kind="checkpoint") == 0
    assert 0 < memory["models"] < memory["used"] < memory["total"]
    assert worker.value("printworks_slots_most") == SLOTS
    assert worker.value("printworks_spooled_files") == 0
    wait_until(lambda: scraped(monitored.worker).value("printworks_slots_busy") == 0)


def test_a_dispatcher_tells_of_its_attempts(dispatcher: Scrape) -> None:
    attempts = {
        outcome: dispatcher.value("printworks_delivery_attempts_total", outcome=outcome)
        for outcome in ("delivered", "retry", "dead")
    }

    assert attempts == {"delivered": 1, "retry": 1, "dead": 0}
    assert dispatcher.value("printworks_delivery_seconds_count") == 2


def test_a_gateway_counts_what_it_accepts_and_why_it_refuses(gateway: Scrape) -> None:
    assert gateway.value("printworks_jobs_accepted_total", endpoint="text2img", model="demo") == 2
    refused = {"endpoint": "text2img", "reason": "validation_error"}
    assert gateway.value("printworks_jobs_refused_total", **refused) == 1
    assert gateway.value("printworks_requests_total", route=f"{ROOT}/text2img", status="200") == 2


def test_a_gpu_worker_answers_before_its_models_are_loaded(monitored: Monitored) -> None:
    assert monitored.first_said == (503, "It is starting.")
    assert monitored.first_told.value("printworks_models_loaded", kind="checkpoint") == 0
    for url in (monitored.worker, monitored.dispatcher):
        assert probed(url, "live") == (200, "")


def test_a_dispatcher_that_has_no_redis_lives_and_is_not_ready(monitored: Monitored, tmp_path: Path) -> None:
    changes = {"metrics_port": free_port(), "redis_url": f"redis://127.0.0.1:{free_port()}/0"}
    alone = monitored.settings.model_copy(update=changes)
    log = tmp_path / "dispatcher.log"

    with forked(commands.dispatcher(1), alone, log):
        wait_until(lambda: "Cannot connect" in log.read_text(), within_s=30)

        assert probed(url_of(alone)) == (503, "It is starting.")
        assert probed(url_of(alone), "live") == (200, "")


def test_files_that_go_to_a_bucket_are_told_apart(monitored: Monitored) -> None:
    with running_s3() as s3:
        bucket = {
            "deploy_type": "text_to_image",
            "endpoint_url": f"{s3.endpoint}/{s3.bucket}",
            "region_name": REGION,
            "aws_access_key_id": s3.access_key_id,
            "aws_secret_access_key": s3.secret_access_key,
            "image_directory": "made",
        }
        said = monitored.post("update_s3", **bucket)
        assert said["status"] == "success", said
        assert monitored.post("text2img", samples=3, num_inference_steps=1)["status"] == "success"

    told = scraped(monitored.worker)
    assert told.value("printworks_upload_seconds_count", to="s3") == 3
    assert told.value("printworks_upload_seconds_sum", to="s3") > 0
    assert told.value("printworks_upload_seconds_count", to="folder") == SAMPLES


def test_what_clients_make_up_makes_no_series(monitored: Monitored) -> None:
    def attack() -> None:
        name = uuid.uuid4().hex
        hand_over(monitored, make_spec(model_id=name, pins={f"checkpoint:{name}": name}))
        hand_over(monitored, make_spec(model_id=name))
        monitored.post("text2img", model_id=name)
        monitored.post("text2img", scheduler=name, key=name)
        monitored.post("super_resolution", model_id=name, url=f"http://127.0.0.1/{name}")
        monitored.post(name)
        httpx.request("PATCH", f"{monitored.gateway}/{name}", headers={"X-Printworks": name})
        httpx.get(f"{monitored.gateway}/generations/{name}")
        httpx.get(f"{monitored.worker}/{name}")

    attack()
    failed = {"endpoint": "text2img", "model": "", "state": "failed"}
    wait_until(lambda: scraped(monitored.worker).value("printworks_jobs_finished_total", **failed))
    before = {url: scraped(url).series() for url in (monitored.gateway, monitored.worker)}

    for _ in range(3):
        attack()

    assert {url: scraped(url).series() for url in before} == before
    told = scraped(monitored.gateway)
    for reason, times in {"model_not_found": 2, "invalid_api_key": 1}.items():
        labels = {"endpoint": "text2img", "reason": reason}
        assert told.value("printworks_jobs_refused_total", **labels) == 4 * times
    assert told.value("printworks_jobs_accepted_total", endpoint="text2img", model="") == 4


def test_a_worker_that_the_ledger_does_not_hear_is_not_ready_and_lives(monitored: Monitored) -> None:
    with redis.Redis.from_url(monitored.settings.redis_url) as client:
        client.client_pause(2500, all=True)

    wait_until(lambda: "heard nothing" in probed(monitored.worker)[1], within_s=2.5)

    assert probed(monitored.worker, "live") == (200, "")
    wait_until(partial(is_ready, monitored.worker))


def test_a_port_that_is_taken_ends_the_process_with_a_sentence(monitored: Monitored, tmp_path: Path) -> None:
    taken = monitored.settings.model_copy(update={"metrics_port": monitored.settings.port})
    log = tmp_path / "dispatcher.log"

    with forked(commands.dispatcher(1), taken, log) as process:
        assert process.wait(30) == os.EX_SOFTWARE

    sentence = f"PRINTWORKS_METRICS_PORT: 127.0.0.1 port {taken.metrics_port} can't be listened at"
    assert sentence in log.read_text()


def test_a_worker_that_drains_is_not_ready_and_lives(monitored: Monitored) -> None:
    """The last test: it ends the worker."""
    job = monitored.post("text2img", num_inference_steps=50, width=512, height=512, instant_response=True)
    assert job["status"] == "processing"
    wait_until(lambda: scraped(monitored.worker).value("printworks_slots_busy") == 1)

    monitored.process.terminate()

    wait_until(lambda: probed(monitored.worker)[0] == 503)
    assert probed(monitored.worker) == (503, "It is ending: it begins nothing new.")
    assert probed(monitored.worker, "live") == (200, "")
    assert monitored.process.wait(15) == 0
