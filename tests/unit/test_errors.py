"""Errors keep their order: one tree, unique codes, a status for each that a client can see."""

import pytest

from api.errors import STRICT_STATUS
from shared import errors
from shared.errors import PrintworksError


def tree(root: type[PrintworksError]) -> list[type[PrintworksError]]:
    return [root, *(found for child in root.__subclasses__() for found in tree(child))]


def test_codes_are_unique() -> None:
    codes = [vars(error)["code"] for error in tree(PrintworksError) if "code" in vars(error)]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", tree(PrintworksError), ids=lambda error: error.__name__)
def test_the_docstring_draws_every_error(error: type[PrintworksError]) -> None:
    assert errors.__doc__
    assert error.__name__ in errors.__doc__


def test_every_error_that_admission_raises_has_a_status() -> None:
    seen_by_clients = {
        *("BadRequest", "BadPicture", "InvalidKey", "NotAllowed"),
        *("ModelNotFound", "JobNotFound", "IdempotencyConflict", "EntryGone"),
    }

    assert {error.__name__ for error in STRICT_STATUS} == seen_by_clients
