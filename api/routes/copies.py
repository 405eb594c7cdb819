"""Routes by which another server of ours copies models from this one; they need an admin's key."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse

from api.administration import administered
from api.errors import ForPrograms
from shared.errors import ModelNotFound
from shared.manifests import ManifestFile
from shared.registry import Entry

router = APIRouter(tags=["peers"], route_class=ForPrograms)

NOT_SEEN = "This gateway can't see the model's files: see that it shares the models folder"
_DIGESTING = ThreadPoolExecutor(4, "digesting")
"""Of its own: gigabytes are read, and others wait for asyncio's threads."""


@router.get("/models/{entry_id}", summary="An entry of the registry, and its files")
async def manifest(request: Request, entry_id: str) -> JSONResponse:
    """Of a model that is no folder, the one file's path is its name."""
    entry, place, files = await _described(request, entry_id)
    shown = entry.model_dump(mode="json", exclude={"path", "recipe"})
    told = [file.model_dump() for file in files]
    return JSONResponse({"entry": shown, "is_folder": place.is_dir(), "files": told})


@router.get("/models/{entry_id}/files/{path:path}", summary="One of its files", response_model=None)
async def file(request: Request, entry_id: str, path: str) -> FileResponse:
    """With ranges, so that a copy can be resumed."""
    _, place, files = await _described(request, entry_id)
    if path not in {each.path for each in files}:
        raise ModelNotFound("The model has no such file")
    return FileResponse(place / path if place.is_dir() else place)


async def _described(request: Request, entry_id: str) -> tuple[Entry, Path, tuple[ManifestFile, ...]]:
    """An entry, where it lies here, and what it consists of."""
    gateway, _ = await administered(request)
    entry = (await gateway.registry.look()).entries.get(entry_id)
    if entry is None:
        raise ModelNotFound("There is no such entry")
    place = entry.place(gateway.settings.models_folder)
    digesting = asyncio.get_running_loop().run_in_executor(_DIGESTING, gateway.manifests.of, entry_id, place)
    try:
        return entry, place, await digesting
    except OSError:
        raise ModelNotFound(NOT_SEEN) from None
