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
    on_out_of_memory: Callable[[int], None] | None = None,
) -> list[R | Exception]:
    """`work(items)`, halved and repeated when it raises, until only the bad items are left with their error.

    Out of memory is the usual reason: what does not fit together mostly fits in halves.
    `on_out_of_memory` is told the size that did not fit. Raises `DeviceLost` when repeating makes no sense.
    """
    try:
        return list(work(items))
    except torch.OutOfMemoryError as exc:
        error: Exception = exc
        logger.warning("out of device memory", extra={"batch": len(items)})
        if on_out_of_memory:
            on_out_of_memory(len(items))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    except torch.AcceleratorError as exc:
        raise DeviceLost(str(exc)) from exc
    except Exception as exc:
        error = exc
        logger.warning("a batch failed", extra={"batch": len(items)}, exc_info=True)
    if len(items) == 1:
        return [error]
    half = len(items) // 2
    parts = (items[:half], items[half:])
    return [result for part in parts for result in run_split(work, part, on_out_of_memory=on_out_of_memory)]
