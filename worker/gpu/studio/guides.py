"""From a job's input pictures to what its pictures start from, follow and are inspired by. Runs in slots."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import TypeIs

from shared.jobs import ControlUse, HintUse, Kind, PictureSpec, Role
from worker.gpu.engine import Pixels
from worker.gpu.fitting import fitted
from worker.gpu.hints import Hint as MadeHint
from worker.gpu.hints import make_hint, through
from worker.gpu.painting import Control, Hint, ImagePrompt, Kit, Start, hint_of
from worker.gpu.studio.tools import Inputs, OnBegin, Tools

Arrays = Mapping[Role, Pixels]
"""The input pictures in the size of those to make; masks have no colours."""

INPAINT = "inpaint"


@dataclass(frozen=True)
class Guides:
    start: Start | None = None
    controls: tuple[Control, ...] = ()
    ip: ImagePrompt | None = None


ALONE = Guides()
"""The prompts alone."""


def in_size(spec: PictureSpec, inputs: Inputs) -> Arrays:
    return {
        role: np.asarray(fitted(image, spec.width, spec.height))
        for role, image in inputs.items()
        if role is not Role.IP_ADAPTER
    }


def start_of(spec: PictureSpec, arrays: Arrays) -> Start | None:
    """What a ControlNet's hint is made from is also begun with, if that is somebody's wish: a picture of its
    own for the hint, or a mask, says so."""
    is_led_only = spec.kind is Kind.CONTROLNET and not {Role.CONTROL, Role.MASK} & set(arrays)
    if Role.INIT not in arrays or is_led_only:
        return None
    return Start(arrays[Role.INIT], spec.strength, arrays.get(Role.MASK))


def controls_of(tools: Tools, spec: PictureSpec, arrays: Arrays, on_begin: OnBegin) -> tuple[Control, ...]:
    """Blocks while networks make hints. To be called before the job borrows its kit: two jobs that each hold
    one and wait for room for a network would wait for ever."""
    if spec.hint is None:
        return ()
    made = [use for use in spec.hint.controls if _is_made(use, spec.hint)]
    run = through(tools.engine, on_begin, object() if spec.deterministic else None)
    picture = arrays.get(Role.CONTROL, arrays.get(Role.INIT))
    assert picture is not None  # noqa: S101 - the gateway requires one
    hints: dict[str, Hint] = {}
    with tools.library.hint_networks(spec, [use.hint_type for use in made]) as networks:
        for hint_type in dict.fromkeys(use.hint_type for use in made):
            hint = make_hint(
                hint_type,
                picture,
                seed=spec.seed,
                mask=arrays.get(Role.MASK),
                networks=networks,
                run=run,
            )
            hints[hint_type] = hint if _is_float(hint) else hint_of(hint)
    as_it_is = hint_of(picture)
    return tuple(
        Control(use.control_id, hints[use.hint_type] if use in made else as_it_is, use.scale)
        for use in spec.hint.controls
    )


def _is_float(hint: MadeHint) -> TypeIs[NDArray[np.float32]]:
    """Where masked pixels are marked, as ControlNets are shown it."""
    return hint.dtype == np.float32


def _is_made(use: ControlUse, hint: HintUse) -> bool:
    """The hint of `inpaint` is the picture with its hole, which nobody can send as a picture."""
    return hint.auto_hint or use.hint_type == INPAINT


def image_prompt_of(spec: PictureSpec, inputs: Mapping[Role, Image.Image], kit: Kit) -> ImagePrompt | None:
    use = spec.ip_adapter
    if use is None or kit.ip_adapter is None:  # of scale 0 the kit has none
        return None
    pixels = kit.ip_adapter.encoder.cropped(np.asarray(inputs[Role.IP_ADAPTER]))
    return ImagePrompt(use.scale, pixels)
