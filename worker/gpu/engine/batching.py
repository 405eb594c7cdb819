"""Runs work on a batch so that one bad item can't take the others with it."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class DeviceLost(Exception):
    """The device reported an error that it does not recover from in this process."""


def run_split(
    work: Callable[[Sequence[T]], Sequence[R]],
    items: Sequence[T],
    *,
    on_out_of_memory: Callable[[Sequence[T]], bool],
) -> list[R | Exception]:
    """`work(items)`, halved and repeated when it raises, until only the bad items are left with their error.

    Out of memory is the usual reason: what does not fit together mostly fits in halves.
    `on_out_of_memory` is told which items did not fit; when it has made room it returns True, and a single
    item is tried once more. Raises `DeviceLost` when repeating makes no sense.
    """
    has_room = False
    try:
        return list(work(items))
    except torch.OutOfMemoryError as exc:
        error: Exception = exc
        logger.warning("out of device memory", extra={"batch": len(items)})
        has_room = on_out_of_memory(items)
    except torch.AcceleratorError as exc:
        raise DeviceLost(str(exc)) from exc
    except Exception as exc:
        error = exc
        logger.warning("a batch failed", extra={"batch": len(items)}, exc_info=True)
    if len(items) == 1:
        return _try_again(work, items, error) if has_room else [error]
    half = len(items) // 2
    parts = (items[:half], items[half:])
    return [result for part in parts for result in run_split(work, part, on_out_of_memory=on_out_of_memory)]


def _try_again(
    work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], error: Exception
) -> list[R | Exception]:
    try:
        return list(work(items))
    except torch.OutOfMemoryError:
        return [error]
