"""Routes that make pictures."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.admission import admit
from api.body import authenticate
from api.context import gateway_of
from api.routes.documented import json_body
from api.wire.answers import generation_answer
from api.wire.requests import Text2Img
from api.wire.sentences import parse

router = APIRouter(prefix="/api/v1/enterprise", tags=["generation"])


@router.post("/text2img", openapi_extra=json_body(Text2Img), summary="Make pictures from a prompt")
async def text2img(request: Request) -> JSONResponse:
    """Answers `success` with the pictures if they are done within `sync_wait_s`, else `processing`."""
    gateway = gateway_of(request)
    caller = await authenticate(request)
    wanted = parse(Text2Img, caller.body)
    job = await admit(gateway, request, caller, wanted)
    wait_s = 0.0 if wanted.instant_response else gateway.settings.sync_wait_s
    job = await gateway.waiter.wait(job, wait_s)
    fetch_url = f"{job.spec.public_url}{router.prefix}/fetch/{job.id}"
    return JSONResponse(generation_answer(job, fetch_url))
