"""Keys change while a real gateway runs; and the commands that docs/OPERATIONS.md shows for it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from deploy.ports import free_port
from shared.api_keys import digest
from shared.api_keys.file import read_keys
from shared.settings import Settings
from tests.support.environment import clean_environment
from tests.support.processes import running_gateway
from tests.support.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "shared.api_keys")
REFUSAL = "keys file refused"


@dataclass(frozen=True)
class Place:
    """A running gateway, its keys file and its log."""

    url: str
    file: Path
    log: Path

    def run(self, *words: str) -> str:
        """What the command prints on stdout."""
        command = [*COMMAND, *words, "--file", str(self.file)]
        environment = clean_environment() | {"PYTHONPATH": str(PROJECT)}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)
        return ran.stdout.strip()

    def accepts(self, key: str) -> bool:
        said = httpx.post(f"{self.url}/api/v1/enterprise/system_details", json={"key": key}).json()
        assert said["status"] == "ok" or said["code"] == "invalid_api_key", said
        return bool(said["status"] == "ok")


@pytest.fixture(scope="module")
def place(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Every test has a tenant of its own in it."""
    folder = tmp_path_factory.mktemp("keys")
    file, log = folder / "keys.json", folder / "gateway.log"
    file.write_text("[]")
    settings = Settings(
        redis_url=module_redis_url,
        data_dir=folder / "data",
        port=free_port(),
        api_keys_file=file,
    )
    with running_gateway(settings, log) as url:
        yield Place(url, file, log)


def test_a_new_key_is_accepted_and_the_old_one_until_the_grace_is_over(place: Place) -> None:
    old = place.run("add", "rotating")
    wait_until(lambda: place.accepts(old), within_s=5)

    new = place.run("rotate", "rotating", "--grace", "1h")
    wait_until(lambda: place.accepts(new), within_s=5)
    assert place.accepts(old)

    newest = place.run("rotate", "rotating", "--grace", "2s")
    wait_until(lambda: not place.accepts(new) and not place.accepts(old), within_s=8)
    assert place.accepts(newest)


def test_a_revoked_key_is_refused(place: Place) -> None:
    kept, revoked = place.run("add", "revoking"), place.run("add", "revoking")
    wait_until(lambda: place.accepts(revoked), within_s=5)

    place.run("revoke", digest(revoked)[:8])

    wait_until(lambda: not place.accepts(revoked), within_s=5)
    assert place.accepts(kept)


def test_a_broken_file_keeps_the_keys_until_it_is_whole_again(place: Place) -> None:
    key = place.run("add", "breaking")
    wait_until(lambda: place.accepts(key), within_s=5)
    whole = place.file.read_text()

    place.file.write_text(whole[: len(whole) // 2] + key)
    wait_until(lambda: place.accepts(key) and REFUSAL in place.log.read_text(), within_s=5)
    place.file.write_text(whole)
    other = place.run("add", "breaking")
    wait_until(lambda: place.accepts(other), within_s=5)

    assert place.accepts(key)
    log = place.log.read_text()
    assert log.count(REFUSAL) == 1
    assert key not in log


def test_no_key_reaches_the_file_or_the_log(place: Place) -> None:
    key = place.run("add", "secretive")
    wait_until(lambda: place.accepts(key), within_s=5)

    new = place.run("rotate", "secretive")
    wait_until(lambda: place.accepts(new), within_s=5)

    for text in (place.file.read_text(), place.log.read_text(), place.run("list")):
        assert key not in text
        assert new not in text


def test_the_commands_of_the_operations_page_do_what_it_says(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "OPERATIONS.md").read_text()
    found = re.search(r"^## Keys\n.*?^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert found
    *commands, revoking = found[1].splitlines()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = clean_environment() | {"PYTHONPATH": str(PROJECT), "PATH": path}

    def bash(lines: list[str]) -> str:
        words = ["bash", "-ec", "\n".join(lines)]
        return subprocess.run(
            words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    bash(commands)
    studio, office, new = read_keys(tmp_path / "keys.json")
    assert (studio.tenant, studio.max_open_jobs, office.is_admin) == ("studio", 100, True)
    assert digest((tmp_path / "office.key").read_text().strip()) == office.sha256
    assert (new.tenant, new.name) == ("studio", "website")

    bash([commands[0], re.sub(r"[0-9a-f]{8}$", office.key_id, revoking)])
    assert [key.tenant for key in read_keys(tmp_path / "keys.json")] == ["studio", "studio"]
