"""Routes that tell of the server, and those that manage it. The latter need an admin's key."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.body import Caller, authenticate
from api.context import Gateway, gateway_of
from api.routes.documented import json_body
from api.wire.requests import ModelId
from api.wire.sentences import parse
from shared import ledger
from shared.broker import WEBHOOK_QUEUE
from shared.errors import ModelNotFound, NotAllowed
from shared.ledger import Order

router = APIRouter()
reloading = APIRouter()


@router.post(
    "/system_details", openapi_extra=json_body(), summary="How many models there are, how long jobs wait"
)
async def system_details(request: Request) -> JSONResponse:
    await authenticate(request)
    gateway = gateway_of(request)
    stats = await gateway.ledger.run(ledger.stats())
    body = {"model_count": len(gateway.settings.models), "queue_time": round(stats.backlog_s), "status": "ok"}
    return JSONResponse(body)


@router.post(
    "/restart_server", openapi_extra=json_body(), summary="Drain the GPU workers and start them again"
)
async def restart_server(request: Request) -> JSONResponse:
    gateway, _ = await _administered(request)
    return await _ordered(gateway, Order.RESTART, "server restarting")


@router.post(
    "/update_server", openapi_extra=json_body(), summary="Start the GPU workers again with what is new"
)
@router.post("/update", openapi_extra=json_body(), summary="The same")
async def update_server(request: Request) -> JSONResponse:
    gateway, _ = await _administered(request)
    return await _ordered(gateway, Order.RESTART, "server updating")


@router.post("/clear_cache", openapi_extra=json_body(), summary="Let go of the models that no job uses")
async def clear_cache(request: Request) -> JSONResponse:
    gateway, _ = await _administered(request)
    return await _ordered(gateway, Order.CLEAR_CACHE, "Cache cleared successfully")


@router.post("/clear_queue", openapi_extra=json_body(), summary="Cancel all jobs that wait, then restart")
async def clear_queue(request: Request) -> JSONResponse:
    gateway, _ = await _administered(request)
    waiting = (await gateway.ledger.run(ledger.stats())).queued
    while waiting > 0:  # no more than there were: others may be sending all the time
        cleared = await gateway.ledger.run(ledger.clear_queue())
        if cleared.bell_wanted:
            gateway.bell.ring(WEBHOOK_QUEUE)
        waiting = min(waiting - cleared.cancelled, cleared.still_queued) if cleared.cancelled else 0
    return await _ordered(gateway, Order.RESTART, "Queue cleared, server is restarting")


@reloading.post("/model_reload", openapi_extra=json_body(ModelId), summary="Read a model's files anew")
async def model_reload(request: Request) -> JSONResponse:
    """Models are loaded when a job needs them; what no job uses now is read anew then."""
    gateway, caller = await _administered(request)
    model_id = parse(ModelId, caller.body).model_id
    if model_id not in gateway.settings.models:
        raise ModelNotFound(f"Model not found: {model_id}")
    return await _ordered(gateway, Order.CLEAR_CACHE, "Model is reloaded when it is used next")


async def _administered(request: Request) -> tuple[Gateway, Caller]:
    """Raises `NotAllowed` if the caller may not."""
    caller = await authenticate(request)
    if not caller.key.admin:
        raise NotAllowed("This API key may not manage the server: use an admin's key.")
    return gateway_of(request), caller


async def _ordered(gateway: Gateway, order: Order, message: str) -> JSONResponse:
    await gateway.ledger.run(ledger.order(order))
    return JSONResponse({"status": "success", "message": message})
