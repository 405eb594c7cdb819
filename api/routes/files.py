"""Serves finished files from the storage folder, under names that can't be guessed."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from api.context import gateway_of
from api.wire.answers import refusal
from shared.errors import BadRequest
from shared.storage import CONTENT_TYPES

LONGEST_CACHE_S = 86400
router = APIRouter(tags=["files"])


@router.head("/generations/{name:path}", include_in_schema=False, response_model=None)
@router.get("/generations/{name:path}", summary="A finished file", response_model=None)
async def generation(request: Request, name: str) -> Response:
    """404 until the file is complete, so that `future_links` can be polled."""
    storage = gateway_of(request).storage
    path = storage.find(name)
    if path is None:
        error = BadRequest("File not found: it is not ready yet, or it has expired.")
        return JSONResponse(refusal(error), HTTPStatus.NOT_FOUND, {"Cache-Control": "no-store"})
    max_age = int(max(0, min(LONGEST_CACHE_S, storage.life_left_s(path))))
    headers = {"Cache-Control": f"public, max-age={max_age}, immutable", "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=CONTENT_TYPES[path.suffix], headers=headers)
