"""Fixtures of the tests that paint: an engine, and tiny models of every family of Stable Diffusion."""

from collections.abc import Iterator

import diffusers
import pytest

from tests.support import tiny
from tests.support.painting import running_engine
from worker.gpu.engine import Engine
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.painting import Kit


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def pipeline(request: pytest.FixtureRequest) -> diffusers.DiffusionPipeline:
    return tiny.FAMILIES[request.param]()


@pytest.fixture
def kit(pipeline: diffusers.DiffusionPipeline) -> Kit:
    return Kit.plain(from_pipeline("tiny", pipeline))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running_engine() as engine:
        yield engine
