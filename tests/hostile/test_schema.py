"""Requests that schemathesis makes of the gateway's description: right ones, and ones wrong in one place."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok

from tests.hostile.judging import complaint
from tests.hostile.target import USER, Target

Operation = APIOperation[Any, Any, Any, Any]

EXAMPLES = 3
"""For each operation."""
PLAIN = ("/metrics", "/health", "/generations", "/stored")


@pytest.fixture(scope="module")
def operations(target: Target) -> list[Operation]:
    """All that the running gateway describes."""
    schema = schemathesis.openapi.from_url(f"{target.url}/openapi.json")
    found = list(schema.get_all_operations())
    valid = [each.ok() for each in found if isinstance(each, Ok)]
    assert len(valid) == len(found)
    return valid


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def complaints(session: requests.Session, operations: list[Operation], mode: GenerationMode) -> list[str]:
    """What was wrong with the answers to what was generated."""
    found = []

    def call(case: Case[Operation]) -> None:
        if isinstance(case.body, dict):
            case.body["key"] = USER
        response = case.call(session=session, timeout=20)
        headers = {name.lower(): values[0] for name, values in response.headers.items()}
        is_api = not case.path.startswith(PLAIN)
        wrong = complaint(response.status_code, headers, response.content, is_api=is_api)
        if wrong and case.method != "HEAD":
            found.append(f"{case.as_curl_command()}: {wrong}")

    same_ones_each_time = settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for operation in operations:
        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong about it
            same_ones_each_time(given(operation.as_strategy(generation_mode=mode))(call))()
    return found


def test_what_the_description_allows_gets_a_proper_answer(
    target: Target, operations: list[Operation], session: requests.Session
) -> None:
    before = target.answered()

    assert complaints(session, operations, GenerationMode.POSITIVE) == []

    assert target.answered() - before > 2 * len(operations)
    target.require_health()


def test_what_the_description_does_not_allow_gets_one_too(
    target: Target, operations: list[Operation], session: requests.Session
) -> None:
    one_of_each_kind = {each.path.rpartition("/")[2]: each for each in operations if each.method == "post"}
    before = target.answered()

    assert complaints(session, list(one_of_each_kind.values()), GenerationMode.NEGATIVE) == []

    assert target.answered() - before > 2 * len(one_of_each_kind)
    target.require_health()
