"""Serves finished files from the storage folder, under names that can't be guessed."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from api.context import gateway_of
from api.wire.answers import refusal
from shared.errors import BadRequest
from shared.storage import CONTENT_TYPES

router = APIRouter(tags=["files"])


@router.api_route(
    "/generations/{name}", methods=["GET", "HEAD"], summary="A finished file", response_model=None
)
async def generation(request: Request, name: str) -> Response:
    """404 until the file is complete, so that `future_links` can be polled."""
    path = gateway_of(request).storage.find(name)
    if path is None:
        error = BadRequest("File not found: it is not ready yet, or it has expired.")
        return JSONResponse(refusal(error), HTTPStatus.NOT_FOUND, {"Cache-Control": "no-store"})
    headers = {"Cache-Control": "public, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=CONTENT_TYPES[path.suffix], headers=headers)
