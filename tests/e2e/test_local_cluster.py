"""Several servers on one machine, as `make run-cluster` starts them."""

import json
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.pictures import download_picture
from tests.support.processes import LocalCluster, running_cluster
from tests.support.waiting import wait_until

README = Path(__file__).resolve().parents[2] / "README.md"
BURST = 12
SLOTS = 2
"""So few that most of a burst has to wait somewhere."""


def make_picture(cluster: LocalCluster, seed: int) -> dict[str, Any]:
    wanted = {"key": "demo", "model_id": "demo", "prompt": "a red circle", "enhance_prompt": "no"}
    sizes = {"width": 64, "height": 64, "num_inference_steps": 10}
    body = wanted | sizes | {"seed": seed, "loadbalancer": "yes"}
    answer: dict[str, Any] = httpx.post(
        f"{cluster.url}/api/v1/enterprise/text2img", json=body, timeout=60
    ).json()
    return answer


def test_a_burst_at_one_server_is_made_by_both_and_sigterm_ends_all(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with running_cluster(folder, by_make=True, servers=2, PRINTWORKS_SLOTS=str(SLOTS)) as cluster:
        with ThreadPoolExecutor(BURST) as pool:
            answers = list(pool.map(lambda seed: make_picture(cluster, seed), range(BURST)))

        assert {answer["status"] for answer in answers} == {"success"}, answers
        assert {answer["meta"]["server"] for answer in answers} == {"server-1", "server-2"}
        for answer in answers:
            assert answer["output"][0].startswith(cluster.url)
            assert download_picture(answer["output"][0]).size == (64, 64)

        assert readme_answer(cluster)["meta"]["server"] in ("server-1", "server-2")

        before = gateways(cluster)
        before[-1].kill()
        wait_until(lambda: len(after := gateways(cluster)) == 2 and after != before)
        processes = cluster.processes()
        assert_that_keys_are_the_owners_only(folder, processes)

        cluster.launcher.send_signal(signal.SIGTERM)

        assert not psutil.wait_procs(processes, timeout=15)[1]


def readme_answer(cluster: LocalCluster) -> dict[str, Any]:
    """To the request that the README shows for several servers."""
    section = README.read_text().split("## Several servers")[1]
    command = section.split("```sh\n")[1].split("```")[0].replace("http://127.0.0.1:8000", cluster.url)
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=90, check=True)
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def gateways(cluster: LocalCluster) -> list[psutil.Process]:
    def is_gateway(process: psutil.Process) -> bool:
        try:
            return "-m api" in " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            return False

    return [process for process in cluster.processes() if is_gateway(process)]


def assert_that_keys_are_the_owners_only(folder: Path, processes: list[psutil.Process]) -> None:
    for number in (1, 2):
        kept = folder / f"server-{number}" / "peer-key"
        assert kept.stat().st_mode & 0o077 == 0
        key = kept.read_text()
        assert not [process for process in processes if key in " ".join(process.cmdline())]
        logs = [folder / "launcher.log", *folder.glob("server-*/logs/*.log")]
        assert not [log for log in logs if key in log.read_text()]
