"""Makes a given picture larger, and restores the faces in it."""

import time
from functools import partial

import numpy as np

from shared.jobs import EnlargementSpec, Outcome, Role
from worker.gpu.enlarging import EnlargeRequest, enlarge_picture
from worker.gpu.studio.tools import Inputs, Made, OnBegin, Tools


def enlarge(tools: Tools, spec: EnlargementSpec, inputs: Inputs, on_begin: OnBegin) -> Made:
    """Blocks until it is done."""
    started = time.monotonic()
    pixels = np.asarray(inputs[Role.INIT])
    with tools.library.enlarging(spec) as (upscaler, enhancer):
        faces = enhancer.find(pixels) if enhancer else ()
        request = EnlargeRequest(pixels, spec.scale, faces)
        rendering = tools.engine.submit([partial(enlarge_picture, upscaler, request)])
        on_begin(rendering)
        (picture,) = rendering.result()
    enlarged = picture.develop()
    return Made(Outcome(generation_time_s=time.monotonic() - started), [enlarged])
