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
    work: Callable[[Sequence[T]], Sequence[R | Exception]],
    items: Sequence[T],
    *,
    on_out_of_memory: Callable[[Sequence[T]], bool],
) -> list[R | Exception]:
    """`work(items)`, halved and repeated when it raises, until only the bad items are left with their error.

    Out of memory is the usual reason: what does not fit together mostly fits in halves.
    `on_out_of_memory` is told which items did not fit; when it has made room it returns True, and a single
    item is tried once more. Raises `DeviceLost` when repeating makes no sense.
    """
    answers = _attempt(work, items)
    if not isinstance(answers, Exception):
        return answers
    is_out_of_memory = isinstance(answers, torch.OutOfMemoryError)
    has_room = is_out_of_memory and on_out_of_memory(items)
    if len(items) > 1:
        half = len(items) // 2
        parts = (items[:half], items[half:])
        return [
            result for part in parts for result in run_split(work, part, on_out_of_memory=on_out_of_memory)
        ]
    if has_room:
        answers = _attempt(work, items)
    return [answers] if isinstance(answers, Exception) else answers


def _attempt(
    work: Callable[[Sequence[T]], Sequence[R | Exception]], items: Sequence[T]
) -> list[R | Exception] | Exception:
    """The answers, or the error without its traceback: the frames in it keep the failed forward's tensors."""
    try:
        return list(work(items))
    except torch.AcceleratorError as exc:
        raise DeviceLost(str(exc)) from exc
    except torch.OutOfMemoryError as exc:
        logger.warning("out of device memory", extra={"batch": len(items)})
        return exc.with_traceback(None)
    except Exception as exc:
        logger.warning("a batch failed", extra={"batch": len(items)}, exc_info=True)
        return exc.with_traceback(None)
