"""There is nowhere to put the pictures: S3 is away, or a worker's disk is full."""

from pathlib import Path

import httpx
import psutil

from tests.chaos.installation import API_KEY, attacked
from tests.chaos.reckoning import Report, reckon
from tests.chaos.scenarios.kills import pause
from tests.chaos.traffic import ROOT, Traffic, streaming
from tests.support.receiver import running_receiver
from tests.support.s3 import running_s3
from tests.support.waiting import wait_until

LOG_BYTES = 50_000
"""A file may be so long and no longer: the log has room, a picture has not."""


def s3_away(folder: Path, *, jobs: int, away_s: float) -> Report:
    """Pictures wait on the workers' disks, and their links work when S3 is back."""
    with (
        running_s3() as s3,
        attacked(folder, secret_key="sealing what S3 must not see") as installation,
        running_receiver() as receiver,
    ):
        credentials = {"aws_access_key_id": s3.access_key_id, "aws_secret_access_key": s3.secret_access_key}
        body = {"key": API_KEY, "deploy_type": "text_to_image", **s3.details().model_dump(mode="json")}
        said = httpx.post(f"{installation.urls[0]}{ROOT}/update_s3", json=body | credentials, trust_env=False)
        assert said.json()["status"] == "success", said.text
        traffic = Traffic(installation, receiver)
        with streaming(traffic, jobs):
            wait_until(lambda: len(receiver.requests) > 5, within_s=60)
            s3.stop()
            ended = len(receiver.requests)
            wait_until(lambda: len(receiver.requests) > ended + 10, within_s=60)
            pause(away_s)
            s3.start()
        spool = installation.data_dir / "spool"
        wait_until(lambda: not [path for path in spool.rglob("*") if path.is_file()], within_s=90)
        return reckon("s3 away", traffic)


def disk_full(folder: Path, *, jobs: int, full_s: float) -> Report:
    """Of both workers: no job fails for it, and those that wait are done when there is room again."""
    with attacked(folder) as installation, running_receiver() as receiver:
        large = {"width": 256, "height": 256, "num_inference_steps": 1}
        traffic = Traffic(installation, receiver, lambda _: large)
        with streaming(traffic, jobs):
            wait_until(lambda: receiver.requests, within_s=60)
            workers = [psutil.Process(worker.pid) for worker in installation.workers]
            _, hard = workers[0].rlimit(psutil.RLIMIT_FSIZE)
            for worker in workers:
                worker.rlimit(psutil.RLIMIT_FSIZE, (LOG_BYTES, hard))
            wait_until(lambda: "pictures not stored yet" in installation.logs(), within_s=60)
            pause(full_s)
            for worker in workers:
                worker.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
        return reckon("disk full", traffic)
