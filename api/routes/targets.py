"""Routes that say in which S3 bucket files are stored, and the one that signs links into private buckets."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from api.administration import administered
from api.context import gateway_of
from api.links import SIGNED
from api.routes.documented import json_body
from api.wire.answers import refusal
from api.wire.s3 import SERVED, ResetS3, UpdateS3
from api.wire.sentences import parse
from shared import ledger
from shared.errors import BadRequest
from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import S3Details, S3Storage, S3Target

SIGNED_FILE = f"/{SIGNED}/{{target}}/{{name:path}}"
TRIAL_S = 60.0
"""How long a bucket may take to show that it can be used."""
_TRYING = ThreadPoolExecutor(4, "trying-buckets")
"""Of its own: what does not answer would occupy the threads that others need."""

router = APIRouter()
links = APIRouter(tags=["files"])


@router.post(
    "/update_s3", openapi_extra=json_body(UpdateS3), summary="Store files in an S3 bucket from now on"
)
async def update_s3(request: Request) -> JSONResponse:
    """Taken only if an object could be written and read there. Links into the bucket before it go on."""
    gateway, caller = await administered(request)
    wanted = parse(UpdateS3, caller.body)
    target, tips = await checked(wanted, gateway.settings, gateway.sealer)
    call = ledger.register_target(
        wanted.deploy_type, target.entry_id(wanted.deploy_type), target.sealed(gateway.sealer)
    )
    await gateway.ledger.run(call)
    if wanted.deploy_type not in SERVED:
        tips = (*tips, f"No endpoint of this server makes files of the deploy type {wanted.deploy_type}.")
    return _done("S3 details updated successfully", tips)


@router.post("/reset_s3", openapi_extra=json_body(ResetS3), summary="Store files on the server again")
async def reset_s3(request: Request) -> JSONResponse:
    """The credentials are forgotten once no job needs them, and links into private buckets end with them."""
    gateway, caller = await administered(request)
    wanted = parse(ResetS3, caller.body)
    names = (await gateway.registry.look()).target_names(wanted.deploy_type)
    known = await gateway.ledger.run(ledger.unregister(names))
    tips = () if known else (f"There were none for the deploy type {wanted.deploy_type}.",)
    return _done("S3 details reset successfully", tips)


@links.head(SIGNED_FILE, include_in_schema=False)
@links.get(SIGNED_FILE, summary="A file in a private bucket")
async def stored(request: Request, target: str, name: str) -> Response:
    """Leads to a link that is signed for a while. Whether the file is there yet, the bucket tells."""
    gateway = gateway_of(request)
    sign = partial(gateway.links.signed, head=request.method == "HEAD")
    link = await asyncio.to_thread(sign, await gateway.registry.look(), target, name)
    if link is None:
        error = BadRequest("File not found: it is not ready yet, or it has expired.")
        return JSONResponse(refusal(error), HTTPStatus.NOT_FOUND)
    return RedirectResponse(link, HTTPStatus.TEMPORARY_REDIRECT)


async def checked(
    wanted: UpdateS3, settings: Settings, sealer: Sealer, *, within_s: float = TRIAL_S
) -> tuple[S3Target, tuple[str, ...]]:
    """The target, and what is to be said of it. Raises `BadRequest` if it can't be used."""
    trying = asyncio.get_running_loop().run_in_executor(_TRYING, _tried, wanted, settings, sealer)
    try:
        return await asyncio.wait_for(trying, within_s)
    except TimeoutError:
        raise BadRequest(
            f"The bucket could not be tried out within {within_s:g} s, because what is at endpoint_url is "
            "too slow: send another endpoint_url, or send this again later"
        ) from None


def _tried(wanted: UpdateS3, settings: Settings, sealer: Sealer) -> tuple[S3Target, tuple[str, ...]]:
    details = S3Details(
        endpoint_url=wanted.endpoint_url,
        region_name=wanted.region_name,
        aws_access_key_id=wanted.aws_access_key_id,
        aws_secret_access_key=wanted.aws_secret_access_key,
        image_directory=wanted.image_directory or "",
        public_url=wanted.public_url or "",
        bucket=wanted.bucket or "",
    )
    target = S3Target.given(details, settings.allow_private_hosts)
    target.sealed(sealer)  # refused before anything is tried, if it could not be kept
    return target, S3Storage(target, settings.temp_life_s, settings.allow_private_hosts).check()


def _done(message: str, tips: tuple[str, ...]) -> JSONResponse:
    tip = {"tip": " ".join(tips)} if tips else {}
    return JSONResponse({"status": "success", "message": message, **tip})
