"""Routes about a job that was accepted before: fetch its pictures, cancel it."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.body import Caller, authenticate
from api.context import gateway_of
from api.routes.documented import json_body
from api.wire.answers import fetch_answer
from api.wire.requests import RequestId
from api.wire.sentences import parse
from shared import ledger
from shared.errors import BadRequest, JobNotFound

router = APIRouter()


@router.post("/fetch", openapi_extra=json_body(RequestId), summary="The pictures of an earlier request")
async def fetch(request: Request) -> JSONResponse:
    caller = await authenticate(request)
    return await _fetch(request, caller, parse(RequestId, caller.body).request_id)


@router.post("/fetch/{request_id}", openapi_extra=json_body(), summary="The same, with the id in the path")
@router.get("/fetch/{request_id}", summary="The same, with the key as bearer token, header or query")
async def fetch_by_path(request: Request, request_id: str) -> JSONResponse:
    caller = await authenticate(request)
    return await _fetch(request, caller, id_in_path(request_id))


@router.post("/cancel/{request_id}", openapi_extra=json_body(), summary="Stop a job at its next step")
async def cancel(request: Request, request_id: str) -> JSONResponse:
    """Not part of the original protocol. A job that has ended already is answered as fetch answers it."""
    caller = await authenticate(request)
    gateway, job_id = gateway_of(request), id_in_path(request_id)
    cancelled = await gateway.ledger.run(ledger.cancel(job_id, caller.key.tenant))
    gateway.bell.ring(cancelled.bells)
    if not cancelled.is_mine:
        return await _fetch(request, caller, job_id)
    job = await gateway.ledger.run(ledger.read(job_id, caller.key.tenant))
    if job.state.is_terminal:  # it waited: no slot will ever read its pictures
        gateway.storage.drop_inputs(job.spec.file_prefix)
    return JSONResponse({"status": "success", "id": job_id, "message": "The job is being cancelled"})


async def _fetch(request: Request, caller: Caller, job_id: int) -> JSONResponse:
    job = await gateway_of(request).ledger.run(ledger.read(job_id, caller.key.tenant))
    return JSONResponse(fetch_answer(job))


def id_in_path(raw: str) -> int:
    """Raises `JobNotFound` for what is no id at all."""
    try:
        return parse(RequestId, {"request_id": raw}).request_id
    except BadRequest:
        raise JobNotFound("Request not found") from None
