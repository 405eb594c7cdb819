"""The job: one accepted request, what it is to make, and what became of it.

Knows nothing of HTTP (see api/wire) nor of diffusion (see worker/gpu).
"""

from pydantic import TypeAdapter, ValidationError

from shared.errors import OfAnotherVersion
from shared.jobs.film import FilmSpec
from shared.jobs.job import AnySpec, Job, JobState, Outcome
from shared.jobs.load import LoadSpec, ModelSource, Origin
from shared.jobs.picture import IP_ADAPTER_SCALE, ControlUse, HintUse, IpAdapterUse, LoraUse, PictureSpec
from shared.jobs.single import CheckSpec, EnlargementSpec, given_pixels
from shared.jobs.spec import (
    OF_ITS_CLIENT,
    TEMP_FOLDER,
    Dialect,
    InputPicture,
    JobSpec,
    Kind,
    Role,
    Scalar,
    Webhook,
)

__all__ = [
    "IP_ADAPTER_SCALE",
    "OF_ITS_CLIENT",
    "TEMP_FOLDER",
    "AnySpec",
    "CheckSpec",
    "ControlUse",
    "Dialect",
    "EnlargementSpec",
    "FilmSpec",
    "HintUse",
    "InputPicture",
    "IpAdapterUse",
    "Job",
    "JobSpec",
    "JobState",
    "Kind",
    "LoadSpec",
    "LoraUse",
    "ModelSource",
    "Origin",
    "Outcome",
    "PictureSpec",
    "Role",
    "Scalar",
    "Webhook",
    "given_pixels",
    "spec_from_json",
]

_SPECS: TypeAdapter[AnySpec] = TypeAdapter(AnySpec)


def spec_from_json(text: str) -> AnySpec:
    """What `JobSpec.model_dump_json` wrote. Raises `OfAnotherVersion` for what a newer version has that is
    unknown here: to pass over it would make something else than was asked for."""
    try:
        return _SPECS.validate_json(text)
    except ValidationError:
        raise OfAnotherVersion("This server is being updated. Please try again later.") from None
