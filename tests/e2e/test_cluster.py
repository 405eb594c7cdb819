"""The whole road: the launcher, every process, the demo model, real HTTP on both sides."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import httpx
import numpy as np
import psutil
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.judge import judge
from deploy.ports import free_port
from shared.settings import DEMO, Settings
from tests.support.clients import a_png, in_base64
from tests.support.known_metrics import known_metrics
from tests.support.metrics import scraped
from tests.support.pictures import download_picture, read_picture
from tests.support.processes import (
    LocalCluster,
    require_that_nothing_outlives_make,
    running,
    running_cluster,
)
from tests.support.receiver import Receiver, running_receiver
from tests.support.waiting import wait_until

ROOT = "/api/v1/enterprise"
LONG = {"width": 256, "height": 256, "num_inference_steps": 50, "samples": 2, "instant_response": "yes"}


def body(**fields: Any) -> dict[str, Any]:
    wanted = {"key": "demo", "model_id": "demo", "prompt": "a red circle on a blue background"}
    return wanted | {"width": 128, "height": 128, "enhance_prompt": "no", "use_karras_sigmas": "no"} | fields


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster") / "data") as cluster:
        yield cluster


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


def text2img(cluster: LocalCluster, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(
        f"{cluster.url}{ROOT}/text2img", json=body(**fields), timeout=60
    ).json()
    return answer


def fetch(cluster: LocalCluster, job_id: int) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{cluster.url}{ROOT}/fetch/{job_id}", json={"key": "demo"}).json()
    return answer


def is_done(cluster: LocalCluster, job_id: int) -> bool:
    return str(fetch(cluster, job_id)["status"]) == "success"


def jobs_running(cluster: LocalCluster) -> bool:
    return scraped(cluster.url).total("printworks_jobs", state="running") > 0


def test_a_red_circle_on_a_blue_background_is_that(cluster: LocalCluster) -> None:
    answer = text2img(cluster, samples=4, seed=3)

    seen = [judge(download_picture(link)) for link in answer["output"]]

    right = [(one.colour, one.background, one.shape) == ("red", "blue", "circle") for one in seen]
    assert sum(right) >= 3, seen


def test_an_uploaded_picture_can_be_started_from(cluster: LocalCluster) -> None:
    upload = {
        "key": "demo",
        "image_type": "png",
        "base64_image": in_base64(a_png("red")),
    }
    uploaded = httpx.post(f"{cluster.url}{ROOT}/upload_image", json=upload).json()

    wanted = {"key": "demo", "model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64}
    begun = {"init_image": uploaded["image_url"], "strength": 0.2, "num_inference_steps": 5}
    made = httpx.post(f"{cluster.url}{ROOT}/img2img", json=wanted | begun, timeout=60).json()

    assert list(uploaded) == ["status", "message", "image_url"]
    assert (uploaded["status"], uploaded["message"]) == ("success", "image uploaded")
    assert made["status"] == "success", made
    assert made["meta"]["init_image"] == uploaded["image_url"]
    red, green, blue = np.asarray(download_picture(made["output"][0])).mean((0, 1))
    assert red > 2 * max(green, blue)


def test_the_same_request_gives_the_same_picture(cluster: LocalCluster) -> None:
    first, second = (text2img(cluster, seed=11) for _ in range(2))

    assert first["output"] != second["output"]
    assert download_picture(first["output"][0]).tobytes() == download_picture(second["output"][0]).tobytes()


def test_pictures_made_in_mixed_company_are_the_stock_pipelines(cluster: LocalCluster) -> None:
    wanted = [
        {"seed": 1, "num_inference_steps": 20, "guidance_scale": 7.5, "scheduler": "UniPCMultistepScheduler"},
        {"seed": 2, "num_inference_steps": 31, "guidance_scale": 3.0, "scheduler": "EulerDiscreteScheduler"},
        {"seed": 3, "num_inference_steps": 12, "guidance_scale": 12.0, "scheduler": "DDIMScheduler"},
        {"seed": 4, "num_inference_steps": 25, "guidance_scale": 1.0, "scheduler": "PNDMScheduler"},
    ]
    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = list(pool.map(lambda fields: text2img(cluster, **fields), wanted))

    for fields, answer in zip(wanted, answers, strict=True):
        made, stock = np.asarray(download_picture(answer["output"][0]), int), stock_picture(fields)
        assert (np.abs(made - stock) <= 1).mean() >= 0.999, fields


def stock_picture(fields: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.int_]]:
    """What diffusers' own pipeline makes of the same arguments on the same model."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        DEMO / "model", dtype=torch.float32, safety_checker=None
    )
    pipeline.set_progress_bar_config(disable=True)
    kind = getattr(diffusers, str(fields["scheduler"]))
    unclipped = {"clip_sample": False} if kind is diffusers.DDIMScheduler else {}  # its default is for pixels
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **unclipped)
    made = pipeline(
        body()["prompt"],
        width=128,
        height=128,
        num_inference_steps=fields["num_inference_steps"],
        guidance_scale=fields["guidance_scale"],
        generator=torch.Generator().manual_seed(fields["seed"]),
    )
    return np.asarray(made.images[0], int)


@pytest.mark.parametrize("track_id", ["order-7", 7], ids=["text", "number"])
def test_the_webhook_comes_with_the_answers_body_and_the_track_id(
    cluster: LocalCluster, receiver: Receiver, track_id: object
) -> None:
    answer = text2img(cluster, webhook=receiver.url, track_id=track_id)

    wait_until(lambda: receiver.requests)
    webhook = json.loads(receiver.requests[0].body)
    assert webhook == answer | {"track_id": track_id}
    assert type(webhook["track_id"]) is type(track_id)


def test_an_instant_answer_is_followed_by_the_pictures(cluster: LocalCluster) -> None:
    answer = text2img(cluster, instant_response="yes")
    assert answer["status"] == "processing"

    wait_until(lambda: is_done(cluster, answer["id"]), within_s=60)

    assert fetch(cluster, answer["id"])["output"] == answer["future_links"]
    assert download_picture(answer["future_links"][0]).size == (128, 128)


def test_a_worker_killed_in_mid_job_costs_time_and_nothing_else(
    cluster: LocalCluster, receiver: Receiver
) -> None:
    wanted = {"num_inference_steps": 50, "samples": 2, "instant_response": "yes"}
    job_id = text2img(cluster, **wanted, webhook=receiver.url)["id"]
    wait_until(lambda: jobs_running(cluster))

    cluster.process("worker.gpu.app").kill()

    wait_until(lambda: is_done(cluster, job_id), within_s=30)
    assert len({download_picture(link).tobytes() for link in fetch(cluster, job_id)["output"]}) == 2
    wait_until(lambda: receiver.requests)
    text2img(cluster, webhook=receiver.url)  # a second webhook of the first job would come before this one's
    wait_until(lambda: len(receiver.requests) == 2)
    assert json.loads(receiver.requests[1].body)["id"] != job_id


def test_restart_server_brings_a_new_worker_and_loses_no_job(cluster: LocalCluster) -> None:
    before = cluster.process("worker.gpu.app").pid
    job_id = text2img(cluster, num_inference_steps=50, samples=4, instant_response="yes")["id"]
    wait_until(lambda: jobs_running(cluster))

    said = httpx.post(f"{cluster.url}{ROOT}/restart_server", json={"key": "demo"}).json()

    assert said == {"status": "success", "message": "server restarting"}
    wait_until(lambda: not psutil.pid_exists(before), within_s=30)
    wait_until(lambda: is_done(cluster, job_id), within_s=60)
    again = text2img(cluster, num_inference_steps=5, instant_response="yes")["id"]
    wait_until(lambda: is_done(cluster, again), within_s=60)
    assert cluster.process("worker.gpu.app").pid != before


@pytest.mark.parametrize("words", ["-m api", "worker.dispatcher.app", "valkey-server"])
def test_any_other_process_that_dies_is_restarted(
    cluster: LocalCluster, receiver: Receiver, words: str
) -> None:
    words = words if words != "valkey-server" else "-server"

    cluster.process(words).kill()

    def works() -> bool:
        try:
            answer = text2img(cluster, webhook=receiver.url, num_inference_steps=2)
        except (httpx.HTTPError, ValueError):
            return False
        return str(answer["status"]) == "success"

    wait_until(works, within_s=60, every_s=0.5)
    wait_until(lambda: receiver.requests, within_s=30)


def ask_flower(cluster: LocalCluster, path: str) -> dict[str, dict[str, Any]]:
    words = cluster.process("flower").cmdline()
    (port,) = (word.removeprefix("--port=") for word in words if word.startswith("--port="))
    answer: dict[str, dict[str, Any]] = httpx.get(f"http://127.0.0.1:{port}/api/{path}", timeout=20).json()
    return answer


def test_flower_shows_the_workers_and_their_slots(cluster: LocalCluster) -> None:
    def slots() -> dict[str, Any]:
        nodes = ask_flower(cluster, "workers?refresh=1")
        pools = {name.split("@")[0]: node.get("stats", {}).get("pool", {}) for name, node in nodes.items()}
        return {name: pool.get("max-concurrency") for name, pool in pools.items()}

    settings = Settings()
    expected = {"gpu0": settings.slots, "dispatcher": settings.deliveries_at_once}
    wait_until(lambda: slots() == expected, within_s=30)


def test_flower_shows_a_job_and_its_webhook_by_the_jobs_id_and_nothing_of_what_is_in_them(
    cluster: LocalCluster, receiver: Receiver
) -> None:
    job_id = text2img(cluster, webhook=receiver.url, num_inference_steps=2, track_id="order-8")["id"]
    job, webhook = f"job-{job_id}", f"webhook-{job_id}"

    def tasks() -> dict[str, dict[str, Any]]:
        return ask_flower(cluster, "tasks")

    wait_until(lambda: {job, webhook} <= {key for key, task in tasks().items() if task["state"] == "SUCCESS"})

    shown = tasks()
    said = {"job": job_id, "kind": "text2img", "model": "demo", "attempt": 1}
    assert shown[job]["kwargs"] == repr(said)
    assert (shown[job]["result"], shown[job]["worker"].split("@")[0]) == ("succeeded", "gpu0")
    assert shown[webhook]["kwargs"] == repr({"job": job_id, "attempt": 1})
    assert (shown[webhook]["result"], shown[webhook]["worker"].split("@")[0]) == ("delivered", "dispatcher")
    assert not [key for key in shown if not key.startswith(("job-", "webhook-"))]  # a doorbell is none
    for secret in (body()["prompt"], receiver.url, "order-8", "default"):
        assert secret not in json.dumps(shown)
    assert set(ask_flower(cluster, f"tasks?search=kwargs:job={job_id}")) == {job, webhook}


def test_prometheus_is_told_where_each_process_is_measured(cluster: LocalCluster) -> None:
    targets = json.loads((cluster.data_dir / "prometheus-targets.json").read_text())

    found = {target["labels"]["process"]: target["targets"] for target in targets}
    assert set(found) == {"gateway", "dispatcher", "gpu-worker"}
    for process, words in (("dispatcher", "worker.dispatcher.app"), ("gpu-worker", "worker.gpu.app")):
        (target,) = found[process]
        port = cluster.process(words).environ()["PRINTWORKS_METRICS_PORT"]
        assert target == f"127.0.0.1:{port}"


def test_a_scrape_of_all_processes_finds_every_metric_that_dashboards_and_alerts_may_name(
    cluster: LocalCluster,
) -> None:
    text2img(cluster, num_inference_steps=2)
    targets = json.loads((cluster.data_dir / "prometheus-targets.json").read_text())

    found: set[str] = set()
    for (address,) in (target["targets"] for target in targets):
        text = httpx.get(f"http://{address}/metrics").text
        for family in text_string_to_metric_families(text):
            is_counter, is_histogram = family.type == "counter", family.type == "histogram"
            ends = ["_total"] if is_counter else ["_bucket", "_sum", "_count"] if is_histogram else [""]
            found |= {family.name + end for end in ends}

    assert set(known_metrics()) - {"up"} <= found
    ours = {name for name in found if name.startswith("printworks_")}
    assert ours <= set(known_metrics())


def test_without_waiting_time_it_answers_processing_a_restart_continues_the_jobs_and_nothing_outlives_either(
    tmp_path: Path,
) -> None:
    with running_cluster(tmp_path / "data", PRINTWORKS_SYNC_WAIT_S="0") as first:
        jobs = [text2img(first, **(LONG | {"instant_response": "no"}))["id"] for _ in range(2)]
        assert {fetch(first, job_id)["status"] for job_id in jobs} == {"processing"}
        wait_until(lambda: jobs_running(first))
        processes = first.processes()

        first.launcher.kill()

        assert len(processes) >= 5
        assert not psutil.wait_procs(processes, timeout=5)[1], "a process outlived the launcher"
        first.launcher.wait()

    with running_cluster(tmp_path / "data", by_make=True) as second:
        for job_id in jobs:
            wait_until(partial(is_done, second, job_id), within_s=120)

        require_that_nothing_outlives_make(second, signal.SIGKILL)


def launch(**variables: str) -> subprocess.CompletedProcess[str]:
    """A launcher that is expected to refuse."""
    command = [sys.executable, "-m", "deploy.local"]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_is_one_sentence_and_exit_code_2(cluster: LocalCluster, tmp_path: Path) -> None:
    refused = launch(PORT=cluster.url.rsplit(":", 1)[1], DATA_DIR=str(tmp_path))

    assert refused.returncode == 2
    assert "choose another PORT or HOST" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_folder_in_use_is_one_sentence_and_exit_code_2(cluster: LocalCluster) -> None:
    refused = launch(PORT="0", DATA_DIR=str(cluster.data_dir))

    assert refused.returncode == 2
    assert "Another cluster is using DATA_DIR" in refused.stderr


def test_a_redis_url_that_is_none_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    refused = launch(PORT="0", DATA_DIR=str(tmp_path), REDIS_URL="somewhere")

    assert refused.returncode == 2
    assert "URL of Redis can't be used" in refused.stderr


def test_sigterm_ends_a_launcher_that_waits_for_redis(tmp_path: Path) -> None:
    variables = {"PORT": "0", "DATA_DIR": str(tmp_path), "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    command = [sys.executable, "-m", "deploy.local"]
    with running(command, tmp_path / "launcher.log", environment=variables) as launcher:
        wait_until(lambda: (tmp_path / "logs").is_dir())

        launcher.send_signal(signal.SIGTERM)

        assert launcher.wait(10) == 0


def test_the_demo_key_is_refused_outside_loopback(tmp_path: Path) -> None:
    refused = launch(HOST="0.0.0.0", DATA_DIR=str(tmp_path))

    assert refused.returncode == 2
    assert "only for loopback" in refused.stderr


def test_sigterm_ends_every_process_within_15_s(cluster: LocalCluster) -> None:
    """The last one that asks for the cluster, which it ends."""
    text2img(cluster, **LONG)
    wait_until(lambda: jobs_running(cluster))
    processes = cluster.processes()

    cluster.launcher.send_signal(signal.SIGTERM)

    assert cluster.launcher.wait(15) == 0
    assert not [process for process in processes if process.is_running()]


def test_make_demo_shows_the_answer_the_picture_and_the_webhook() -> None:
    shown = subprocess.run(["make", "demo"], capture_output=True, text=True, timeout=120, check=False)

    assert shown.returncode == 0, shown.stderr
    path = next(
        line.split(": ", 1)[1] for line in shown.stdout.splitlines() if line.startswith("the picture: ")
    )
    seen = judge(read_picture(Path(path)))
    assert (seen.colour, seen.background) == ("red", "blue")
    assert '"track_id": "order-7"' in shown.stdout
