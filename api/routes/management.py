"""Routes that tell of the server, and those that manage it. The latter need an admin's key."""

import asyncio
import math

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.administration import administered
from api.body import authenticate
from api.context import Gateway, gateway_of
from api.routes.documented import json_body
from api.upkeep import require_usable
from api.wire.requests import ModelId
from api.wire.sentences import parse
from shared import ledger
from shared.errors import BadRequest, Misconfigured, ModelNotFound
from shared.ledger import Order
from shared.registry import ModelKind
from shared.settings import Settings

router = APIRouter()
reloading = APIRouter()


@router.post(
    "/system_details", openapi_extra=json_body(), summary="How many models there are, how long jobs wait"
)
async def system_details(request: Request) -> JSONResponse:
    await authenticate(request)
    gateway = gateway_of(request)
    census = await gateway.ledger.run(ledger.census())
    models = await gateway.registry.look()
    body = {"model_count": len(models.all()), "queue_time": math.ceil(census.wait_s), "status": "ok"}
    return JSONResponse(body)


@router.post("/subscriptions", openapi_extra=json_body(), summary="None: there is nothing to pay")
async def subscriptions(request: Request) -> JSONResponse:
    await authenticate(request)
    return JSONResponse({"status": "success", "subscriptions": []})


@router.post(
    "/restart_server", openapi_extra=json_body(), summary="Drain the GPU workers and start them again"
)
async def restart_server(request: Request) -> JSONResponse:
    gateway, _ = await administered(request)
    return await _ordered(gateway, Order.RESTART, "server restarting")


@router.post("/update_server", openapi_extra=json_body(), summary="Read settings, keys and models.yaml anew")
@router.post("/update", openapi_extra=json_body(), summary="The same")
async def update_server(request: Request) -> JSONResponse:
    """Refused, before anything changes, if what is new can't be served with."""
    gateway, _ = await administered(request)
    try:
        await asyncio.to_thread(lambda: require_usable(Settings.load()))
    except Misconfigured as exc:
        raise BadRequest(f"Nothing was updated: {exc.detail}") from exc
    return await _ordered(gateway, Order.UPDATE, "server updating")


@router.post("/clear_cache", openapi_extra=json_body(), summary="Let go of the models that no job uses")
async def clear_cache(request: Request) -> JSONResponse:
    gateway, _ = await administered(request)
    return await _ordered(gateway, Order.CLEAR_CACHE, "Cache cleared successfully")


@router.post("/clear_queue", openapi_extra=json_body(), summary="Cancel all jobs that wait, then restart")
async def clear_queue(request: Request) -> JSONResponse:
    gateway, _ = await administered(request)
    waiting = (await gateway.ledger.run(ledger.stats())).queued
    while waiting > 0:  # no more than there were: others may be sending all the time
        cleared = await gateway.ledger.run(ledger.clear_queue())
        gateway.bell.ring(cleared.bells)
        waiting = min(waiting - cleared.cancelled, cleared.still_queued) if cleared.cancelled else 0
    return await _ordered(gateway, Order.RESTART, "Queue cleared, server is restarting")


@reloading.post("/model_reload", openapi_extra=json_body(ModelId), summary="Read a model's files anew")
async def model_reload(request: Request) -> JSONResponse:
    """Models are loaded when a job needs them; what no job uses now is read anew then."""
    gateway, caller = await administered(request)
    model_id = parse(ModelId, caller.body).model_id
    if not (await gateway.registry.look()).has(ModelKind.CHECKPOINT, model_id):
        raise ModelNotFound(f"Model not found: {model_id}")
    return await _ordered(gateway, Order.CLEAR_CACHE, "Model is reloaded when it is used next")


async def _ordered(gateway: Gateway, order: Order, message: str) -> JSONResponse:
    await gateway.ledger.run(ledger.order(order))
    return JSONResponse({"status": "success", "message": message})
