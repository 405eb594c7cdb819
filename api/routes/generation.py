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
from shared.jobs import Dialect

ENTERPRISE, V6 = "/api/v1/enterprise", "/api/v6/images"
router = APIRouter(tags=["generation"])


@router.post(
    f"{ENTERPRISE}/text2img", openapi_extra=json_body(Text2Img), summary="Make pictures from a prompt"
)
async def text2img(request: Request) -> JSONResponse:
    """Answers `success` with the pictures if they are done within `sync_wait_s`, else `processing`."""
    return await _generate(request, Dialect.ENTERPRISE, ENTERPRISE)


@router.post(
    f"{V6}/text2img", openapi_extra=json_body(Text2Img), summary="The same, answered as version 6 does"
)
async def text2img_v6(request: Request) -> JSONResponse:
    """The same parameters; `meta` and the files' names are those of version 6."""
    return await _generate(request, Dialect.V6, V6)


async def _generate(request: Request, dialect: Dialect, prefix: str) -> JSONResponse:
    gateway = gateway_of(request)
    caller = await authenticate(request)
    wanted = parse(Text2Img, caller.body, gateway.settings)
    job = await admit(gateway, request, caller, wanted, dialect)
    wait_s = 0.0 if wanted.instant_response else gateway.settings.sync_wait_s
    job = await gateway.waiter.wait(job, wait_s)
    fetch_url = f"{job.spec.public_url}{prefix}/fetch/{job.id}"
    return JSONResponse(generation_answer(job, fetch_url))
