"""Bodies of the routes that say where files are stored."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.wire.loose import OptionalText


class DeployType(StrEnum):
    """The protocol's kinds of services; each may store its files in an S3 target of its own."""

    TEXT_TO_IMAGE = "text_to_image"
    IMAGE_EDITING = "image_editing"
    VOICE_CLONING = "voice_cloning"
    TEXT_TO_3D = "text_to_3d"
    VIDEO = "video"
    FACE_GEN = "face_gen"
    DEEPFAKE = "deepfake"
    REALTIME = "realtime"
    SUPER_RESOLUTION = "super_resolution"
    FLUX = "flux"
    FLUX_HEADSHOT = "flux_headshot"
    INTERIOR = "interior"
    QWEN = "qwen"
    QWEN_TTS = "qwen_tts"
    FLUX_KONTEXT_DEV = "flux_kontext_dev"
    IMAGE_TO_VIDEO_ULTRA = "image_to_video_ultra"
    Z_IMAGE_TURBO = "z_image_turbo"


SERVED = (
    DeployType.TEXT_TO_IMAGE,
    DeployType.VIDEO,
    DeployType.REALTIME,
    DeployType.SUPER_RESOLUTION,
    DeployType.FLUX,
)
"""Those that this server has endpoints for."""

Line = Annotated[str, Field(min_length=1, max_length=1000)]


class _OfADeployType(BaseModel):
    model_config = ConfigDict(
        extra="ignore", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    deploy_type: DeployType = DeployType.TEXT_TO_IMAGE
    """Whose files."""


class UpdateS3(_OfADeployType):
    """Body of `update_s3`."""

    public_url: OptionalText = None
    """Before the names of files in links, image_directory included. Left out: the objects are private, and
    links lead through this server, which signs them."""
    region_name: Line
    endpoint_url: Line
    """With the bucket: `https://BUCKET.s3.REGION.amazonaws.com`, or `https://HOST/BUCKET`."""
    aws_access_key_id: Line
    aws_secret_access_key: Line
    image_directory: OptionalText = None
    """Folder in the bucket."""
    bucket: OptionalText = None
    """If endpoint_url does not name it. Not part of the original protocol."""


class ResetS3(_OfADeployType):
    """Body of `reset_s3`."""
