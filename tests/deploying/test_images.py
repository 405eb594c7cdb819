"""The images are what they have to be: linted, small, without root, and whole."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from deploy.demo.judge import judge
from deploy.ports import free_port
from shared.settings import Settings
from shared.version import VERSION
from tests.support.environment import clean_environment
from tests.support.image_contents import Contents, contents, requirements
from tests.support.images import (
    DOCKERFILES,
    PROJECT,
    Dockerfile,
    files_for_the_builder,
    is_ignored,
    project_table,
)
from tests.support.pictures import download_picture
from tests.support.processes import running
from tests.support.waiting import wait_until

KEY = "a-key-of-the-tests"
NOT_FOR_IMAGES = (
    *(".env", ".git/config", "deploy/.env", "deploy/config/settings.env", "data/secret-key", "README.md"),
    *("tests/conftest.py", "deploy/compose.yaml", "deploy/demo/samples.png", "deploy/demo/train.py"),
    *("deploy/demo/training/unet.py", "api/__pycache__/app.cpython-313.pyc"),
)


@pytest.fixture(params=DOCKERFILES)
def dockerfile(request: pytest.FixtureRequest) -> Dockerfile:
    return Dockerfile(DOCKERFILES[request.param])


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    ran = subprocess.run([hadolint, *DOCKERFILES.values()], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout) == (0, "")


def test_what_is_copied_is_there_and_reaches_the_builder(dockerfile: Dockerfile) -> None:
    given = files_for_the_builder()

    for stage in dockerfile.stages:
        for source in stage.copied_from_the_project():
            assert any(name == source or name.startswith(f"{source}/") for name in given), source


def test_nothing_else_reaches_the_builder_than_our_code_and_what_it_is_installed_by() -> None:
    given = files_for_the_builder()

    assert {name.partition("/")[0] for name in given} == {
        *("api", "deploy", "shared", "worker"),
        *("LICENSE", "constraints.txt", "pyproject.toml"),
    }
    assert not [name for name in given if "__pycache__" in name or name.endswith((".env", ".pyc"))]
    assert all(is_ignored(path) for path in NOT_FOR_IMAGES)


def test_a_change_of_our_code_leaves_the_layer_of_the_dependencies(dockerfile: Dockerfile) -> None:
    copied = dockerfile["dependencies"].copied_from_the_project()

    assert copied == ["pyproject.toml", "constraints.txt", "LICENSE"]
    assert dockerfile["code"].base == "dependencies"
    assert dockerfile.image.all("COPY") == [
        "--from=dependencies /opt/venv /opt/venv",
        "--from=code /app /app",
    ]


def test_every_version_in_an_image_is_one_that_was_tested(dockerfile: Dockerfile) -> None:
    steps = [step for stage in dockerfile.stages for said in stage.all("RUN") for step in said.split("&&")]
    installs = [step for step in steps if "pip install" in step]

    assert len(installs) == 3
    for step in installs:
        assert "--constraint constraints.txt" in step or "--no-deps" in step
    pinned = re.findall(r"^([\w.-]+)==", (PROJECT / "constraints.txt").read_text(), re.MULTILINE)
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in pinned}
    extras = dockerfile.extras() | set(filter(None, dockerfile.arguments["EXTRAS"].split(",")))
    assert {re.sub(r"[-_.]+", "-", each.name).lower() for each in requirements(extras)} <= names


def test_an_image_runs_without_root_and_gets_its_signals(dockerfile: Dockerfile) -> None:
    image = dockerfile.image

    assert image.one("USER") == "10001:10001"
    assert json.loads(image.one("ENTRYPOINT")) == ["tini", "--"]
    assert json.loads(image.one("CMD"))
    assert image.one("STOPSIGNAL") == "SIGTERM"
    assert image.one("WORKDIR") == "/app"
    assert image.environment()["HOME"] == "/tmp"  # noqa: S108 - the one folder that can be written


def test_an_image_says_what_it_is_and_stands_on_a_chosen_base(dockerfile: Dockerfile) -> None:
    labels = dockerfile.image.labels()

    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.title"] == f"printworks-{dockerfile.path.suffix[1:]}"
    assert labels["org.opencontainers.image.licenses"] == project_table()["license"]
    outside = {stage.base for stage in dockerfile.stages} - {stage.name for stage in dockerfile.stages}
    assert all(re.fullmatch(r"[\w./]+:[\w.]+-[\w.-]+", base) for base in outside)
    assert f"{labels['org.opencontainers.image.title']}:{VERSION}" in dockerfile.path.read_text()


def test_what_an_image_sets_are_settings(dockerfile: Dockerfile) -> None:
    ours = {
        name.removeprefix("PRINTWORKS_").lower(): value
        for name, value in dockerfile.image.environment().items()
        if name.startswith("PRINTWORKS_")
    }

    assert ours.keys() <= Settings.model_fields.keys()
    read = Settings.model_validate(ours)
    assert (read.data_dir, read.models_folder) == (Path("/data"), Path("/models"))


def test_an_image_starts_what_the_project_has(dockerfile: Dockerfile) -> None:
    first, *rest = json.loads(dockerfile.image.one("CMD"))

    if first == "python":
        assert rest[0] == "-m"
        assert find_spec(rest[1])
    else:
        module, _, function = project_table()["scripts"][first].partition(":")
        assert find_spec(module)
        assert function


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Contents]:
    folder = tmp_path_factory.mktemp("images")
    return {name: contents(Dockerfile(path), folder / name) for name, path in DOCKERFILES.items()}


def test_all_that_the_demo_models_are_made_of_is_in_the_images(images: dict[str, Contents]) -> None:
    weights = list((PROJECT / "deploy" / "demo").rglob("*.safetensors"))

    assert weights
    for image in images.values():
        for path in weights:
            for file in path.parent.iterdir():
                there = image.app / file.relative_to(PROJECT)
                assert there.read_bytes() == file.read_bytes()


def test_the_gateways_image_has_all_that_its_processes_need_and_no_torch(images: dict[str, Contents]) -> None:
    image = images["gateway"]
    modules = ("worker.dispatcher.app", "worker.monitor", "celery.bin.worker", "flower.command")

    for module in modules:
        _run(image, "-c", f"import {module}")
    _run(image, "-m", "shared.api_keys", "--help")
    without = _run(image, "-c", "import importlib.util as u; print(u.find_spec('torch'))")
    assert without.stdout == "None\n"


def _run(image: Contents, *words: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        image.command(["python", *words]),
        env=clean_environment() | image.environment(),
        cwd=image.app,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran


@contextlib.contextmanager
def started(image: Contents, log: Path, name: str, **variables: str) -> Iterator[None]:
    """What the image starts, from its folder."""
    command = image.command(json.loads(Dockerfile(DOCKERFILES[name]).image.one("CMD")))
    with running(command, log, environment=image.environment(**variables), folder=image.app):
        yield


def test_the_images_make_a_picture(images: dict[str, Contents], redis_url: str, tmp_path: Path) -> None:
    port = free_port()
    common = {
        "PRINTWORKS_REDIS_URL": redis_url,
        "PRINTWORKS_DATA_DIR": str(tmp_path / "data"),
        "PRINTWORKS_MODELS_DIR": str(tmp_path / "models"),
        "PRINTWORKS_METRICS_HOST": "127.0.0.1",
        "PRINTWORKS_METRICS_PORT": "0",
    }
    own = {"PRINTWORKS_HOST": "127.0.0.1", "PRINTWORKS_PORT": str(port), "PRINTWORKS_API_KEY": KEY}
    body = {"key": KEY, "model_id": "demo", "prompt": "a red circle", "width": 128, "height": 128, "seed": 7}
    with (
        started(images["gateway"], tmp_path / "gateway.log", "gateway", **common, **own),
        started(images["worker"], tmp_path / "worker.log", "worker", **common, CUDA_VISIBLE_DEVICES=""),
    ):
        wait_until(lambda: _workers(port) == 1, within_s=90)

        url = f"http://127.0.0.1:{port}/api/v1/enterprise/text2img"
        answer = httpx.post(url, json=body, timeout=60, trust_env=False).json()

        made = judge(download_picture(answer["output"][0]))
        assert (made.colour, made.shape) == ("red", "circle")


def _workers(port: int) -> int:
    try:
        said = httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return 0
    return int(said.json().get("workers", 0))
