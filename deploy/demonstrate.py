"""`make demo`: one sentence becomes a picture through every real part, and its webhook arrives.

Starts a cluster of its own on free ports, plays the client and the webhook's receiver, ends the cluster.
The exit status is 0 only if the picture is there and the webhook has come.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx

from deploy.ports import free_port

FOLDER = Path("demo-output")
PROMPT = "a red circle on a blue background"
START_S, ANSWER_S, WEBHOOK_S, STOP_S = 120, 60, 30, 20

Webhooks = queue.SimpleQueue[dict[str, Any]]


@contextmanager
def cluster() -> Iterator[str]:
    """A running cluster; yields its URL."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PRINTWORKS_")}
    environment = inherited | {
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "DATA_DIR": str(FOLDER),
        "API_KEY": "demo",
        "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
        "REDIS_URL": "",
    }
    command = [sys.executable, "-m", "deploy.local"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        alarm = threading.Timer(START_S, process.terminate)
        alarm.start()
        try:
            assert process.stdout is not None  # noqa: S101 - we asked for a pipe
            ready = next((line for line in process.stdout if line.startswith("ready ")), None)
            alarm.cancel()
            if ready is None:
                sys.exit(f"The cluster did not start; see {FOLDER}/logs.")
            yield ready.split()[1]
        finally:
            alarm.cancel()
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)


@contextmanager
def receiver() -> Iterator[tuple[str, Webhooks]]:
    """A webhook's receiver; yields its URL and what it receives."""
    received: Webhooks = queue.SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """The demonstration prints what arrives; the server's own lines would only repeat it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/webhook", received
    server.shutdown()
    server.server_close()


def main() -> None:
    with receiver() as (webhook_url, webhooks), cluster() as url:
        request = {
            "key": "demo",
            "model_id": "demo",
            "prompt": PROMPT,
            "width": 128,
            "height": 128,
            "webhook": webhook_url,
            "track_id": "order-7",
        }
        with httpx.Client(trust_env=False, timeout=ANSWER_S) as client:
            answer = client.post(f"{url}/api/v1/enterprise/text2img", json=request).json()
        _show("the answer", answer)
        if answer["status"] != "success":
            sys.exit("The picture was not made.")
        picture = FOLDER / "generations" / Path(answer["output"][0]).name
        if not picture.is_file():
            sys.exit(f"The picture is missing: {picture}")
        sys.stdout.write(f"the picture: {picture.resolve()}\n")
        try:
            _show("the webhook's body", webhooks.get(timeout=WEBHOOK_S))
        except queue.Empty:
            sys.exit("The webhook did not come.")


def _show(what: str, body: dict[str, Any]) -> None:
    sys.stdout.write(f"{what}: {json.dumps(body, indent=2)}\n")


if __name__ == "__main__":
    main()
