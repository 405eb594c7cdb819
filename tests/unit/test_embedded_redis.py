"""Which Redis `make run` starts."""

from pathlib import Path

import pytest

from deploy.embedded_redis import embedded_redis


@pytest.mark.parametrize(
    ("said", "is_used"),
    [
        ("Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", False),
        ("Redis server v=7.0.0 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", True),
        ("Redis server v=10.2.1 sha=00000000:0", True),
        ("not a server", False),
    ],
)
def test_a_server_on_the_path_is_used_if_it_is_new_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, is_used: bool
) -> None:
    server = tmp_path / "redis-server"
    server.write_text(f"#!/bin/sh\necho '{said}'\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    command = embedded_redis(tmp_path / "data", 1).command

    assert (command.words[0] == str(server)) == is_used
