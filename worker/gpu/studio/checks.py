"""Looks whether a given picture is sensitive."""

import time
from functools import partial

import numpy as np

from shared.errors import GenerationFailed
from shared.jobs import CheckSpec, Outcome, Role
from shared.missing import NOTHING_TO_CHECK_WITH
from worker.gpu.engine import Note, Picture, Pixels, Steps, one
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.painting.checking import Check
from worker.gpu.studio.tools import Inputs, Made, OnBegin, Tools


def check_picture(tools: Tools, spec: CheckSpec, inputs: Inputs, on_begin: OnBegin) -> Made:
    """Makes no picture: the outcome tells."""
    started = time.monotonic()
    pixels = np.asarray(inputs[Role.INIT])
    with tools.library.checker(spec) as checker:
        if checker is None:
            raise GenerationFailed(NOTHING_TO_CHECK_WITH)
        rendering = tools.engine.submit([partial(_look, checker, checker.cropped(pixels))])
        on_begin(rendering)
        (seen,) = rendering.result()
    return Made(Outcome(generation_time_s=time.monotonic() - started, nsfw=seen.is_sensitive))


def _look(checker: SafetyChecker, pixels: Pixels, note: Note) -> Steps[Picture]:
    flag = yield from one(Check(checker, pixels))
    note(1.0)
    return Picture(lambda: pixels, flag)
