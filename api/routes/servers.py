"""Routes by which servers talk to each other; they need a peer's or an admin's key of who is asked."""

from typing import TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from api.accepting import accepting
from api.balancing.calling_back import is_signed
from api.balancing.carrying import callback_secret
from api.balancing.receiving import state, take
from api.balancing.wire import PATH, HandedOver, HandOver, Question
from api.body import Caller, authenticate
from api.context import Gateway, gateway_of
from api.errors import ForPrograms
from api.routes.documented import json_body
from api.routes.jobs import id_in_path
from shared import ledger
from shared.errors import BadRequest, InvalidKey, JobNotFound, NotAllowed

router = APIRouter(prefix=PATH, tags=["peers"], route_class=ForPrograms)

LONGEST_CALL = 100
M = TypeVar("M", bound=BaseModel)


@router.post("/state", openapi_extra=json_body(Question), summary="How much there is to do here")
async def server_state(request: Request) -> Response:
    gateway, caller = await _from_peer(request)
    told = await state(gateway, caller.key, _read(Question, caller))
    return Response(told.model_dump_json(), media_type="application/json")


@router.post(
    "/jobs", openapi_extra=json_body(HandOver), summary="Take a job that another server was asked for"
)
async def handed_over(request: Request) -> JSONResponse:
    """Handed over again, it is the same job."""
    gateway, caller = await _from_peer(request)
    order = _read(HandOver, caller)
    with accepting(), gateway.metrics.refusals(order.spec.kind):
        job = await take(gateway, caller.key, order)
    gateway.balancer.calling_back.expect(job.id, order.callback)
    return JSONResponse(HandedOver(id=job.id).model_dump())


@router.post("/back/{job_id}", summary="A job that was handed over has ended")
async def back(request: Request, job_id: str) -> JSONResponse:
    """Without a key: it is signed with a secret that went with the job. Who has not signed it is not told
    whether there is such a job."""
    gateway = gateway_of(request)
    body = await _short_body(request)
    try:
        known = id_in_path(job_id)
        token = await gateway.ledger.run(ledger.lease_of(known))
    except JobNotFound:
        token = None
    if token is None or not is_signed(callback_secret(token), body, dict(request.headers)):
        raise InvalidKey("The signature is not the one of this job.")
    await gateway.ledger.run(ledger.came_back(known))
    return JSONResponse({"status": "success"})


async def _from_peer(request: Request) -> tuple[Gateway, Caller]:
    caller = await authenticate(request)
    if not caller.key.may_hand_over:
        raise NotAllowed("This API key is no server's: use a peer's or an admin's key.")
    return gateway_of(request), caller


def _read(model: type[M], caller: Caller) -> M:
    try:
        return model.model_validate({name: value for name, value in caller.body.items() if name != "key"})
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, error["loc"]))
    raise BadRequest(f"{place}: {error['msg']}")


async def _short_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_CALL:
            raise BadRequest("The body must be the job's id.")
    return body
