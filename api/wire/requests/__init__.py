"""Request bodies, one class per endpoint. Unknown fields are ignored, because the protocol says so."""

from api.wire.requests.body import GivenPicture, Here, JobBody, ModelId, Needed, Page, RequestId, Terms
from api.wire.requests.control import ControlNet
from api.wire.requests.film import Text2Video
from api.wire.requests.flux import FluxImg2Img, FluxText2Img
from api.wire.requests.models import LoadModel, LoadModelV2, LoadTerms, LoadVae, SyncModels
from api.wire.requests.painting import Img2Img, Inpaint, Text2Img
from api.wire.requests.single import Enlarge, NsfwImageCheck, SuperResolution

__all__ = [
    "ControlNet",
    "Enlarge",
    "FluxImg2Img",
    "FluxText2Img",
    "GivenPicture",
    "Here",
    "Img2Img",
    "Inpaint",
    "JobBody",
    "LoadModel",
    "LoadModelV2",
    "LoadTerms",
    "LoadVae",
    "ModelId",
    "Needed",
    "NsfwImageCheck",
    "Page",
    "RequestId",
    "SuperResolution",
    "SyncModels",
    "Terms",
    "Text2Img",
    "Text2Video",
]
