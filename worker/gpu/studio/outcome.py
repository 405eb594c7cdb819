"""What the answer says of how a job's pictures were made, whatever kind of model painted them."""

from collections.abc import Mapping, Sequence

from shared.jobs import Outcome, PictureSpec, Scalar
from shared.missing import NOT_ENLARGED, UNCHECKED
from worker.gpu.flux import FluxKit
from worker.gpu.painting import Kit

LANCZOS = "lanczos"


def outcome_of(
    spec: PictureSpec,
    kit: Kit | FluxKit,
    ran: Mapping[str, Scalar],
    is_sensitive: Sequence[bool | None],
    seconds: float,
) -> Outcome:
    """`ran`: what the painting did otherwise than it was asked, by the names of shared/meta.py."""
    checked = [flag for flag in is_sensitive if flag is not None]
    upscaler = kit.upscaler.name if kit.upscaler else LANCZOS
    finishing: dict[str, Scalar] = {
        "safety_checker": "yes" if spec.safety_checker and kit.checker else "no",
        "upscaler": upscaler if spec.upscale else None,
    }
    return Outcome(
        generation_time_s=seconds,
        revision=kit.model.revision,
        ran={**ran, **finishing},
        nsfw=any(checked) if checked else None,
        tip=" ".join(_tips(spec, kit)),
    )


def _tips(spec: PictureSpec, kit: Kit | FluxKit) -> list[str]:
    tips = []
    if spec.safety_checker and kit.checker is None:
        tips.append(UNCHECKED)
    if spec.upscale and kit.upscaler is None:
        tips.append(NOT_ENLARGED)
    return tips
