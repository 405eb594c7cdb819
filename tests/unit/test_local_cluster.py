"""How `make run-cluster` plans its servers; that they run is an end-to-end test."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.gpus import workers_of
from deploy.local_cluster import acquainted, planned
from deploy.ports import free_ports
from deploy.server import Options
from shared.api_keys import Role, digest
from shared.api_keys.changes import add
from shared.api_keys.file import changing_keys, read_keys
from shared.errors import Misconfigured
from shared.settings import Settings
from tests.support.environment import clean_environment


def asked(folder: Path, port: int = 8000) -> Options:
    return Options(
        host="127.0.0.1",
        port=port,
        data_dir=folder,
        api_key="demo",
        allow_private_hosts="",
        redis_url="",
        flower_port=5555,
    )


@pytest.fixture
def servers(tmp_path: Path) -> list[Options]:
    planned_ones = planned(asked(tmp_path), {"SERVERS": "3"}, [])
    for server in planned_ones:
        server.data_dir.mkdir()
    return planned_ones


def test_each_server_has_its_own_name_port_and_folder_and_the_first_has_flower(tmp_path: Path) -> None:
    servers = planned(asked(tmp_path), {}, [])

    assert [server.name for server in servers] == ["server-1", "server-2", "server-3"]
    assert [server.url for server in servers] == [f"http://127.0.0.1:{port}" for port in (8000, 8001, 8002)]
    assert [server.data_dir for server in servers] == [
        tmp_path / name for name in ("server-1", "server-2", "server-3")
    ]
    assert [server.flower_port for server in servers] == [5555, None, None]


def test_free_ports_are_each_another_one(tmp_path: Path) -> None:
    assert len(set(free_ports(50))) == 50
    assert len({server.port for server in planned(asked(tmp_path, port=0), {"SERVERS": "5"}, [])}) == 5


@pytest.mark.parametrize(
    ("found", "devices"),
    [
        ([], [(None,), (None,), (None,)]),
        (["0"], [("0",), ("",), ("",)]),
        (["0", "1", "2"], [("0",), ("1",), ("2",)]),
        (["GPU-a", "GPU-b", "GPU-c", "GPU-d"], [("GPU-a", "GPU-d"), ("GPU-b",), ("GPU-c",)]),
    ],
    ids=["none", "fewer", "as many", "more"],
)
def test_gpus_go_round_and_who_gets_none_uses_the_cpu(
    found: Sequence[str], devices: list[tuple[str | None, ...]]
) -> None:
    assert workers_of(found, 3) == devices


def test_servers_on_the_cpu_share_its_threads(tmp_path: Path) -> None:
    with_gpu, *others = planned(asked(tmp_path), {"SERVERS": "3"}, ["0"])

    share = max(1, ((os.cpu_count() or 1) - 1) // 2)
    assert with_gpu.settings == {}
    assert [server.settings for server in others] == [{"cpu_threads": str(share)}] * 2


def test_threads_that_the_environment_says_stay(tmp_path: Path) -> None:
    servers = planned(asked(tmp_path), {"PRINTWORKS_CPU_THREADS": "7"}, [])

    assert [server.settings for server in servers] == [{}] * 3


@pytest.mark.parametrize("word", ["1", "0", "-3", "2.5", "many", "²"])
def test_a_number_of_servers_that_is_none_is_a_sentence(tmp_path: Path, word: str) -> None:
    with pytest.raises(Misconfigured, match="SERVERS must be a whole number of at least 2"):
        planned(asked(tmp_path), {"SERVERS": word}, [])


def test_what_can_only_be_one_servers_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="REDIS_URL, PRINTWORKS_PEERS can't be for several servers"):
        planned(asked(tmp_path), {"PRINTWORKS_PEERS": "{}", "REDIS_URL": "redis://127.0.0.1"}, [])


def test_each_server_knows_the_others_by_keys_that_they_know_it_by(servers: list[Options]) -> None:
    made = acquainted(servers)

    for server in made:
        peers = Settings.load(None, **server.settings).peers
        assert set(peers) == set(server.peers) == {other.name for other in made} - {server.name}
        for other in (other for other in made if other is not server):
            (known,) = [key for key in read_keys(other.data_dir / "keys.json") if key.tenant == server.name]
            assert (known.role, known.sha256) == (
                Role.PEER,
                digest(peers[other.name].key.get_secret_value()),
            )
            assert peers[other.name].url == other.url
    assert not [server for server in made if (server.data_dir / "peer-key").read_text() in repr(made)]


def test_keys_that_people_have_added_stay_and_those_of_servers_that_are_gone_go(
    servers: list[Options],
) -> None:
    acquainted(servers)
    file = servers[0].data_dir / "keys.json"
    with changing_keys(file) as keys:
        add(keys, {"tenant": "studio"}, keys[0].created_at, None)  # type: ignore[arg-type]

    acquainted(servers[:2])

    assert sorted(key.tenant for key in read_keys(file)) == ["server-2", "studio"]


def test_a_port_that_is_taken_is_one_sentence_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        variables = {"PORT": str(port - 1), "SERVERS": "2", "DATA_DIR": str(tmp_path)}

        refused = subprocess.run(
            [sys.executable, "-m", "deploy.local_cluster"],
            env=clean_environment() | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "Can't listen on 127.0.0.1:" in refused.stderr
    assert not (tmp_path / "server-1" / "logs").exists()
