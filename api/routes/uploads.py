"""The route that stores a client's picture under a URL, to be used in later requests."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.body import authenticate
from api.context import gateway_of
from api.public_url import public_url
from api.routes.documented import json_body
from api.wire.requests import GivenPicture
from api.wire.s3 import DeployType
from api.wire.sentences import parse
from api.wire.uploads import UploadImage, upload_answer
from shared.storage import Storage

router = APIRouter()


@router.post("/upload_image", openapi_extra=json_body(UploadImage), summary="Store a picture under a URL")
async def upload_image(request: Request) -> JSONResponse:
    gateway = gateway_of(request)
    caller = await authenticate(request)
    wanted = parse(UploadImage, caller.body)
    given = GivenPicture("base64_image", wanted.base64_image)
    models = await gateway.registry.look()
    target = models.target(DeployType.TEXT_TO_IMAGE)
    storage: Storage = gateway.storage
    if target:
        storage = await asyncio.to_thread(gateway.links.storage, models, target)
    name = await gateway.intake.publish(given, wanted.file_format, storage, tenant=caller.key.tenant)
    files_url = gateway.links.files_url(models, target, public_url(gateway, request))
    return JSONResponse(upload_answer(f"{files_url}/{name}"))
