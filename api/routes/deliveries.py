"""Routes about webhooks: what became of a delivery, which ones were given up, and sending them again.

Not part of the original protocol. A tenant sees its own only, whatever its key's role.
"""

import secrets
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.body import authenticate
from api.context import gateway_of
from api.routes.documented import json_body
from api.routes.jobs import id_in_path
from api.wire.requests import Page
from api.wire.sentences import parse
from shared import ledger
from shared.ledger import Attempt

router = APIRouter()

CUT_OFF = "cut off: the dispatcher ended before an answer came"
UNDER_WAY = "under way"


@router.post(
    "/deliveries/{request_id}", openapi_extra=json_body(), summary="Every attempt to deliver a webhook"
)
@router.get("/deliveries/{request_id}", summary="The same, with the key as bearer token, header or query")
async def delivery_log(request: Request, request_id: str) -> JSONResponse:
    caller = await authenticate(request)
    store, job_id, tenant = gateway_of(request).ledger, id_in_path(request_id), caller.key.tenant
    log = await store.run(ledger.delivery_log(job_id, tenant))
    return JSONResponse(
        {
            "status": "success",
            "id": job_id,
            "delivery": log.state,
            "next_attempt_at": log.next_at,
            "attempts": [_told(attempt) for attempt in log.attempts],
        }
    )


@router.post("/deliveries", openapi_extra=json_body(Page), summary="The webhooks that were given up")
@router.get("/deliveries", summary="The same, with the key as bearer token, header or query")
async def dead_letters(request: Request) -> JSONResponse:
    caller = await authenticate(request)
    page = parse(Page, {**request.query_params, **caller.body}).page
    dead = await gateway_of(request).ledger.run(ledger.dead_letters(caller.key.tenant, page))
    return JSONResponse(
        {
            "status": "success",
            "total": dead.total,
            "page": page,
            "deliveries": [
                {
                    "id": each.job_id,
                    "given_up_at": each.given_up_at,
                    "attempts": each.attempts,
                    "answer": each.answer,
                }
                for each in dead.page
            ],
        }
    )


@router.post("/replay/{request_id}", openapi_extra=json_body(), summary="Send a webhook again")
async def replay(request: Request, request_id: str) -> JSONResponse:
    """What is due is due now; what is being sent is sent once more only if that fails."""
    caller = await authenticate(request)
    gateway, job_id = gateway_of(request), id_in_path(request_id)
    replayed = await gateway.ledger.run(ledger.replay(job_id, caller.key.tenant))
    gateway.bell.ring(replayed.bells)
    return JSONResponse({"status": "success", "id": job_id, "message": "The webhook is sent again"})


@router.post("/replay", openapi_extra=json_body(), summary="Send all webhooks again that were given up")
async def replay_all(request: Request) -> JSONResponse:
    caller = await authenticate(request)
    gateway, asked, count = gateway_of(request), secrets.token_hex(8), 0
    while True:
        replayed = await gateway.ledger.run(ledger.replay_dead(caller.key.tenant, asked))
        gateway.bell.ring(replayed.bells)
        if not replayed.count:
            break
        count += replayed.count
    return JSONResponse({"status": "success", "message": "The webhooks are sent again", "count": count})


def _told(attempt: Attempt) -> dict[str, Any]:
    unanswered = CUT_OFF if attempt.is_cut_off else UNDER_WAY
    return {"at": attempt.began_at, "took_s": attempt.took_s, "answer": attempt.answer or unanswered}
