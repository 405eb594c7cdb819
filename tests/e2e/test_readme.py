"""The README's request is real, and so is its answer."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.demo.judge import judge
from tests.support.pictures import download_picture, read_picture
from tests.support.whole import WholeCluster, running_demo_cluster

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text()
DOCUMENTS = [README, *(path.read_text() for path in sorted((PROJECT / "docs").glob("*.md")))]


def block(language: str) -> str:
    """The first code block of this language."""
    found = re.search(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found
    return found.group(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCluster]:
    with running_demo_cluster(tmp_path_factory.mktemp("readme")) as cluster:
        yield cluster


def test_the_request_gets_the_answer_that_the_readme_shows(cluster: WholeCluster) -> None:
    command = block("sh").replace("http://127.0.0.1:8000", cluster.url)

    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=90, check=True)

    answer, shown = json.loads(ran.stdout), json.loads(block("json"))
    assert set(answer) == set(shown)
    for changing in ("file_prefix",):
        assert answer["meta"].pop(changing) != shown["meta"].pop(changing)
    assert answer["meta"] == shown["meta"]
    made = judge(download_picture(answer["output"][0]))
    assert (made.colour, made.background, made.shape) == ("red", "blue", "circle")


def test_every_file_that_the_documents_point_to_exists() -> None:
    for text in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (
                target.startswith("http")
                or (PROJECT / target).exists()
                or (PROJECT / "docs" / target).exists()
            )
        for path in re.findall(r"`((?:api|worker|shared|deploy|tests)/[\w./]+)`", text):
            assert (PROJECT / path).exists(), path


def test_the_readmes_picture_was_made_by_the_demo_model() -> None:
    (picture,) = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)

    made = judge(read_picture(PROJECT / picture))

    assert (made.colour, made.background, made.shape) == ("red", "blue", "circle")


@pytest.mark.parametrize(
    "target", ["run", "run-cluster", "worker", "demo", "test", "check", "bench", "setup", "help"]
)
def test_make_lists_its_targets(target: str) -> None:
    listed = subprocess.run(["make"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout

    assert f"make {target} " in listed
