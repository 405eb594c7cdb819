"""A whole server that faces the network, and is told secrets by everybody: who finds one, and where."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
import redis

from deploy.ports import free_port
from shared.api_keys import ApiKey, Role, digest
from shared.settings import DEMO, is_loopback
from tests.support.clients import a_png, in_base64
from tests.support.hub import running_hub
from tests.support.injections import FORGED, TEXTS
from tests.support.log_lines import forged_lines
from tests.support.processes import LocalCluster, running_cluster
from tests.support.receiver import Receiver, running_receiver
from tests.support.s3 import REGION, S3Server, running_s3
from tests.support.site import Site, answer, running_site
from tests.support.waiting import wait_until

ROOT = "/api/v1/enterprise"
PLANTED = {
    "admin key": "planted0admin0key0in0the0environment",
    "user key": "planted0user0key0in0the0keys0file",
    "expired key": "planted0expired0key0in0the0keys0file",
    "wrong key in a body": "planted0wrong0key0in0a0body",
    "wrong key in a header": "planted0wrong0key0in0a0header",
    "wrong key in a query": "planted0wrong0key0in0a0query",
    "wrong bearer token": "planted0wrong0bearer0token",
    "secret that seals": "planted0secret0that0seals",
    "secret that signs": "cGxhbnRlZDBzZWNyZXQwdGhhdDBzaWduczAwMDAwMDA",
    "token of a model": "planted0token0in0a0models0url",
    "token of a model that fails": "planted0token0of0a0model0that0fails",
    "token of a bad address": "planted0token0of0a0bad0address",
    "token of a webhook": "planted0token0in0a0webhooks0url",
    "token of the hub": "hf_planted0token0of0the0hub",
    "key of a peer": "planted0key0of0a0peer",
    "key of a peer that was added": "planted0key0of0a0peer0that0was0added",
    "key of another server": "planted0key0of0another0server",
    "wrong S3 secret": "planted0wrong0s3/secret+of0a0bucket",
}
LORA = (DEMO / "loras" / "frame.safetensors").read_bytes()
SMALL = {"model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 2}
HOLDERS = {"webhook-secret", "secret-key"}
"""Files that are there to hold a secret, for their owner only."""


@dataclass
class Run:
    cluster: LocalCluster
    flower: int
    site: Site
    s3: S3Server
    receiver: Receiver
    answers: list[bytes] = field(default_factory=list)
    """All that was said to clients."""

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        said = httpx.request(method, f"{self.cluster.url}{path}", timeout=60, **how)
        self.answers.append(said.content + repr(said.headers).encode())
        return said

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        body = {"key": PLANTED["admin key"], **fields}
        said: dict[str, Any] = self.ask("POST", f"{ROOT}/{path}", json=body).json()
        return said

    def told(self, track_id: str | int) -> dict[str, Any]:
        """What the webhook of a request says."""

        def found() -> dict[str, Any] | None:
            bodies = [json.loads(request.body) for request in self.receiver.requests]
            return next((body for body in bodies if body["track_id"] == track_id), None)

        return wait_until(found, within_s=60)

    @property
    def hook(self) -> str:
        return f"{self.receiver.url}?token={PLANTED['token of a webhook']}"

    def load(self, track_id: str, url: str) -> dict[str, Any]:
        fields = {"url": url, "model_id": track_id, "model_type": "lora"}
        self.post("load_model", **fields, webhook=self.hook, track_id=track_id)
        return self.told(track_id)

    def bucket(self, **changes: str) -> dict[str, Any]:
        place = f"{self.s3.endpoint}/{self.s3.bucket}"
        details = {
            "endpoint_url": place,
            "public_url": f"{place}/",
            "region_name": REGION,
            "aws_access_key_id": self.s3.access_key_id,
            "aws_secret_access_key": self.s3.secret_access_key,
        }
        return self.post("update_s3", **(details | changes))

    def log(self, name: str) -> Path:
        return self.cluster.data_dir / "logs" / f"{name}.log"

    @property
    def redis_url(self) -> str:
        """As the processes are told it: by their environment."""
        return self.cluster.process("-m api").environ()["PRINTWORKS_REDIS_URL"]

    @property
    def secrets(self) -> Mapping[str, str]:
        password = self.redis_url.partition("://:")[2].partition("@")[0]
        bucket = {"S3 secret": self.s3.secret_access_key, "S3 key id": self.s3.access_key_id}
        return PLANTED | bucket | {"password of Redis": password}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("run")
    data, keys, flower = folder / "data", folder / "keys.json", free_port()
    data.mkdir()
    (data / "webhook-secret").write_text("whsec_" + PLANTED["secret that signs"] + "=")
    (data / "webhook-secret").chmod(0o600)
    entries = [
        ApiKey(tenant="user", sha256=digest(PLANTED["user key"])),
        ApiKey(
            tenant="old",
            sha256=digest(PLANTED["expired key"]),
            role=Role.ADMIN,
            expires_at="2020-01-01T00:00:00Z",
        ),
    ]
    keys.write_text(json.dumps([key.model_dump(mode="json") for key in entries]))
    pages = {"/lora": answer(LORA), "/none": answer(status=403)}
    (folder / "repo").mkdir()
    (folder / "repo" / "style.safetensors").write_bytes(LORA)
    with (
        running_site(pages) as site,
        running_hub({"owner/style": folder / "repo"}) as hub,
        running_s3() as s3,
        running_receiver() as receiver,
        running_cluster(
            data,
            HOST="0.0.0.0",
            API_KEY=PLANTED["admin key"],
            FLOWER_PORT=str(flower),
            HF_TOKEN=PLANTED["token of the hub"],
            PRINTWORKS_API_KEYS_FILE=str(keys),
            PRINTWORKS_SECRET_KEY=PLANTED["secret that seals"],
            PRINTWORKS_HUB_URL=hub.url,
            PRINTWORKS_PEERS=json.dumps({"first": {"url": site.url, "key": PLANTED["key of a peer"]}}),
        ) as cluster,
    ):
        hub.gated, hub.token = {"owner/style"}, PLANTED["token of the hub"]
        run = Run(cluster, flower, site, s3, receiver)
        _live_through(run)
        yield run


def _live_through(run: Run) -> None:
    """Everything in which a secret is told, done right and done wrong."""
    wrong_ways: tuple[dict[str, Any], ...] = (
        {"json": {"key": PLANTED["wrong key in a body"]}},
        {"headers": {"key": PLANTED["wrong key in a header"]}},
        {"params": {"key": PLANTED["wrong key in a query"]}},
        {"headers": {"Authorization": f"Bearer {PLANTED['wrong bearer token']}"}},
        {"json": {"key": PLANTED["expired key"]}},
    )
    for how in wrong_ways:
        assert run.ask("POST", f"{ROOT}/system_details", **how).json()["code"] == "invalid_api_key"
    _load_models(run)
    _use_buckets(run)
    _write_lines(run)
    added = {"name": "second", "url": run.site.url, "peer_key": PLANTED["key of a peer that was added"]}
    assert run.post("add_peer", **added)["status"] == "success"
    assert len(run.post("peers")["peers"]) == 2
    assert run.post("sync_models", sync_key=PLANTED["key of another server"])["status"] == "error"
    for path in ("/metrics", "/openapi.json", "/docs", "/health/ready"):
        assert run.ask("GET", path).status_code == 200
    run.post("get_all_models")


def _load_models(run: Run) -> None:
    told = run.load("by-url", f"{run.site.url}/lora?token={PLANTED['token of a model']}")
    assert told["status"] == "success", told
    told = run.load("by-hub", "owner/style")
    assert told["status"] == "success", told
    for name, url in (
        ("token of a model that fails", f"{run.site.url}/none"),
        ("token of a bad address", "http://nowhere.invalid/lora"),
    ):
        told = run.load(name.replace(" ", "-"), f"{url}?token={PLANTED[name]}")
        assert told["status"] == "failed", told


def _use_buckets(run: Run) -> None:
    assert run.bucket(aws_secret_access_key=PLANTED["wrong S3 secret"])["status"] == "error"
    assert run.bucket()["status"] == "success"
    assert run.post("text2img", **SMALL)["status"] == "success"
    run.s3.stop()
    waiting = run.post("text2img", **SMALL)
    assert "S3 is away" in waiting["tip"], waiting


def _write_lines(run: Run) -> None:
    """A job and a load for each text, by a user and an admin."""
    for number, text in enumerate(TEXTS.values()):
        told = {"track_id": text, "webhook": run.receiver.url}
        fields = SMALL | {"key": PLANTED["user key"], "prompt": text, "negative_prompt": text}
        made = run.post("img2img", **fields, **told, init_image=in_base64(a_png()), instant_response="yes")
        assert made["status"] == "processing", made
        load = {"url": f"./{text}", "config": text, "model_id": f"m{number}", "model_type": "lora"}
        run.post("load_model", **load, webhook=run.receiver.url, track_id=number)
    for number, text in enumerate(TEXTS.values()):
        assert run.told(text)["status"] == "success"
        assert run.told(number)["status"] == "failed"


def files(run: Run) -> Iterator[tuple[str, bytes]]:
    for path in (*run.cluster.data_dir.rglob("*"), run.cluster.data_dir / "launcher.log"):
        if path.is_file() and path.name not in HOLDERS:
            yield str(path), path.read_bytes()


def answers(run: Run) -> Iterator[tuple[str, bytes]]:
    yield from ((f"answer {number}", answer) for number, answer in enumerate(run.answers))
    yield from (
        (f"webhook {number}", request.body + repr(request.headers).encode())
        for number, request in enumerate(run.receiver.requests)
    )


def monitor(run: Run) -> Iterator[tuple[str, bytes]]:
    """flower's API and pages, and those of each worker and task."""
    with httpx.Client(base_url=f"http://127.0.0.1:{run.flower}", timeout=30) as client:
        workers = client.get("/api/workers?refresh=1").json()
        tasks = client.get("/api/tasks").json()
        assert workers
        assert tasks
        paths = ["/api/workers", "/api/tasks", "/api/task/types", "/broker", "/workers", "/tasks", "/metrics"]
        paths += [f"/worker/{name}" for name in workers]
        paths += [path for task in [*tasks][:5] for path in (f"/task/{task}", f"/api/task/info/{task}")]
        for path in paths:
            page = client.get(path)
            assert page.status_code == 200, path
            yield path, page.content


def ledger(run: Run) -> Iterator[tuple[str, bytes]]:
    """Every key and what it holds, as Redis itself writes it down."""
    with redis.Redis.from_url(run.redis_url) as client:
        for key in client.scan_iter(count=1000):
            kind = client.type(key)
            read = {
                b"hash": client.hgetall,
                b"list": lambda key: client.lrange(key, 0, -1),
                b"set": client.smembers,
                b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
                b"string": client.get,
            }
            yield repr(key), key + repr(read[kind](key)).encode()


def command_lines(run: Run) -> Iterator[tuple[str, bytes]]:
    for process in (psutil.Process(run.cluster.launcher.pid), *run.cluster.processes()):
        yield f"process {process.pid}", " ".join(process.cmdline()).encode()


Look = Callable[[Run], Iterator[tuple[str, bytes]]]
PLACES: dict[str, tuple[Look, bytes]] = {
    "files": (files, b"a red circle"),
    "answers": (answers, b"a red circle"),
    "monitor": (monitor, b"printworks.generate"),
    "ledger": (ledger, b"a red circle"),
    "command lines": (command_lines, b"worker.gpu.app"),
}
"""What can be looked into, and what is found there: else nothing was looked at."""


def spelled(secret: str) -> set[bytes]:
    """As it is, as parts of URLs and JSON, and in base64 wherever it begins in what was encoded."""
    inner = [base64.b64encode(b"." * shift + secret.encode())[4:-4] for shift in (1, 2, 3)]
    return {secret.encode(), quote(secret, safe="").encode(), secret.encode().hex().encode(), *inner}


@pytest.mark.parametrize(("look", "known"), PLACES.values(), ids=PLACES)
def test_no_secret_is_to_be_found(run: Run, look: Look, known: bytes) -> None:
    places = list(look(run))

    found = [
        (name, where)
        for name, secret in run.secrets.items()
        for where, content in places
        if any(spelling in content for spelling in spelled(secret))
    ]

    assert found == []
    assert any(known in content for _, content in places)


@pytest.mark.parametrize("process", ["gateway", "worker", "dispatcher"])
def test_a_log_stays_one_object_a_line(run: Run, process: str) -> None:
    log = run.log("worker0" if process == "worker" else process)

    assert forged_lines(log, process) == []


def test_no_webhook_has_a_header_of_a_strangers_making(run: Run) -> None:
    for request in run.receiver.requests:
        assert not [name for name in request.headers if "forged" in name]
        assert not [value for value in request.headers.values() if FORGED in value or not value.isprintable()]


def test_only_the_gateway_faces_the_network(run: Run) -> None:
    listening = {
        (" ".join(process.cmdline()), connection.laddr.ip)
        for process in run.cluster.processes()
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }

    facing = {command for command, address in listening if not is_loopback(address)}
    assert [command.endswith("-m api") for command in facing] == [True]
    assert any("flower" in command for command, _ in listening)
    assert any("-server" in command for command, _ in listening)


def test_redis_answers_nobody_without_its_password(run: Run) -> None:
    place = run.redis_url.rpartition("@")[2]
    for url in (f"redis://{place}", f"redis://:wrong@{place}", f"redis://default:@{place}"):
        with redis.Redis.from_url(url) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_what_holds_a_secret_is_its_owners_alone(run: Run) -> None:
    for name in HOLDERS:
        file = run.cluster.data_dir / name
        assert not file.exists() or file.stat().st_mode & 0o077 == 0, name
