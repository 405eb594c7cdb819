"""The table of routes: which endpoint there is under which prefix, and how it answers.

The protocol has several generations of paths for the same things. One implementation serves them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from api.wire.requests import (
    ControlNet,
    Enlarge,
    FluxImg2Img,
    FluxText2Img,
    Img2Img,
    Inpaint,
    JobBody,
    NsfwImageCheck,
    SuperResolution,
    Text2Img,
    Text2Video,
)
from api.wire.s3 import DeployType
from shared.jobs import Dialect

Endpoints = Mapping[str, type[JobBody]]

PAINTING: Endpoints = {"text2img": Text2Img, "img2img": Img2Img, "inpaint": Inpaint}
EVERYTHING: Endpoints = {
    **PAINTING,
    "controlnet": ControlNet,
    "text2video": Text2Video,
    "super_resolution": SuperResolution,
    "nsfw_image_check": NsfwImageCheck,
}


DEPLOY_TYPES: Mapping[type[JobBody], DeployType] = {
    Text2Video: DeployType.VIDEO,
    SuperResolution: DeployType.SUPER_RESOLUTION,
    Enlarge: DeployType.SUPER_RESOLUTION,
}
"""Of the endpoints whose files have an S3 target of their own."""


@dataclass(frozen=True)
class Family:
    """Endpoints under one prefix. Their jobs are fetched and cancelled there too, and under all others."""

    prefix: str
    endpoints: Endpoints
    dialect: Dialect = Dialect.ENTERPRISE
    names_no_model: bool = False
    """Its clients send no model_id: the server's first model is meant."""
    manages: bool = False
    """Has the routes that manage the server."""
    has_models: bool = False
    """Has the routes about models and about where files are stored."""
    reloads_models: bool = False
    takes_uploads: bool = False
    jobs_under: str = ""
    """Where its jobs are fetched, if not right under the prefix."""
    deploy_type: DeployType | None = None
    """Whose S3 target its files go to, if not the one of what they show."""

    @property
    def jobs_prefix(self) -> str:
        return f"{self.prefix}{self.jobs_under}"

    def deploy_type_of(self, wanted: JobBody) -> DeployType:
        return self.deploy_type or DEPLOY_TYPES.get(type(wanted), DeployType.TEXT_TO_IMAGE)


ENTERPRISE = "/api/v1/enterprise"

FAMILIES = (
    Family(ENTERPRISE, EVERYTHING, manages=True, has_models=True, takes_uploads=True),
    Family(f"{ENTERPRISE}/images", EVERYTHING, manages=True, has_models=True, takes_uploads=True),
    Family(f"{ENTERPRISE}/txt2img", EVERYTHING, manages=True, has_models=True, takes_uploads=True),
    Family(f"{ENTERPRISE}/community", EVERYTHING, manages=True, has_models=True, takes_uploads=True),
    Family(
        f"{ENTERPRISE}/flux",
        {"text2img": FluxText2Img, "img2img": FluxImg2Img},
        dialect=Dialect.FLUX,
        manages=True,
        deploy_type=DeployType.FLUX,
    ),
    Family(
        f"{ENTERPRISE}/realtime",
        PAINTING,
        names_no_model=True,
        manages=True,
        deploy_type=DeployType.REALTIME,
    ),
    Family(f"{ENTERPRISE}/super_resolution", {"make": Enlarge}, manages=True),
    Family(f"{ENTERPRISE}/video", {"text2video": Text2Video}, manages=True),
    Family("/api/v6/images", {**PAINTING, "controlnet": ControlNet}, Dialect.V6, reloads_models=True),
    Family("/api/v6/realtime", PAINTING, Dialect.V6, names_no_model=True, deploy_type=DeployType.REALTIME),
    Family("/api/v6/video", {"text2video": Text2Video}, Dialect.V6),
    Family("/api/v5", {"controlnet": ControlNet}, Dialect.V6, jobs_under="/images"),
    Family(
        "/api/v4/dreambooth",
        {"": Text2Img, "img2img": Img2Img, "inpaint": Inpaint},
        Dialect.V6,
        reloads_models=True,
    ),
    Family("/api/v3", PAINTING, Dialect.V6, names_no_model=True),
    Family("/api/v3/dreambooth", {}, Dialect.V6),
    Family(
        "/api/v7/images",
        {"text-to-image": Text2Img, "image-to-image": Img2Img, "inpaint": Inpaint},
        Dialect.V6,
    ),
)
