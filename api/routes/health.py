"""Routes for operators: liveness, readiness, metrics."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api.context import gateway_of
from api.wire.answers import refusal
from shared import ledger
from shared.errors import LedgerUnavailable

router = APIRouter(tags=["operations"])


@router.get("/health/live", summary="The process answers")
async def live() -> JSONResponse:
    return JSONResponse({"status": "ok"})


@router.get("/health/ready", summary="Requests can be accepted; `workers` tells whether they would be done")
async def ready(request: Request) -> JSONResponse:
    try:
        workers = await gateway_of(request).ledger.run(ledger.workers())
    except LedgerUnavailable as exc:
        return JSONResponse(refusal(exc), HTTPStatus.SERVICE_UNAVAILABLE)
    return JSONResponse({"status": "ok", "workers": workers})


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    gateway = gateway_of(request)
    try:
        census = await gateway.ledger.run(ledger.census())
    except LedgerUnavailable:
        return _exposed(gateway.metrics.render(None))
    return _exposed(gateway.metrics.render(census))


def _exposed(text: bytes) -> Response:
    return Response(text, media_type="text/plain; version=0.0.4")
