"""Routes that make something: one handler for every endpoint of the table in families.py."""

import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.accepting import accepting
from api.admission import admit
from api.body import authenticate
from api.context import Gateway, gateway_of
from api.fields import Json
from api.routes.documented import json_body
from api.routes.families import FAMILIES, Family
from api.wire.answers import generation_answer
from api.wire.loose import ABSENT_WORDS
from api.wire.requests import JobBody
from api.wire.sentences import parse
from shared.jobs import Job
from shared.registry import ModelKind, Snapshot

router = APIRouter()

NO_OTHER_SERVER = (
    "loadbalancer needs more than one server, and this one knows no other: it does all jobs itself."
)


def _handler(family: Family, kind: type[JobBody]) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def generate(request: Request) -> JSONResponse:
        """Answers `success` with the result if it is there within `sync_wait_s`, else `processing`."""
        began = time.monotonic()
        gateway = gateway_of(request)
        with gateway.metrics.refusals(kind.kind):
            wanted, job = await _admitted(gateway, request, family, kind)
        wait_s = 0.0 if wanted.instant_response else gateway.settings.sync_wait_s
        job = await gateway.waiter.wait(job, began + wait_s - time.monotonic())
        fetch_url = f"{job.spec.public_url}{family.jobs_prefix}/fetch/{job.id}"
        answer = generation_answer(job, fetch_url)
        if wanted.loadbalancer and not gateway.balancer.has_peers:
            answer["tip"] = f"{answer.get('tip', '')} {NO_OTHER_SERVER}".strip()
        return JSONResponse(answer)

    return generate


async def _admitted(
    gateway: Gateway, request: Request, family: Family, kind: type[JobBody]
) -> tuple[JobBody, Job]:
    """What is asked for, and the job that will bring it."""
    caller = await authenticate(request)
    body = _with_model(caller.body, await gateway.registry.look()) if family.names_no_model else caller.body
    wanted = parse(kind, body, gateway.settings)
    with accepting():
        return wanted, await admit(gateway, request, caller, wanted, family)


def _with_model(body: Json, models: Snapshot) -> Json:
    """The server's first model, where a client of this family names none."""
    first = models.default(ModelKind.CHECKPOINT)
    is_named = body.get("model_id") not in (None, *ABSENT_WORDS)
    return body if is_named or first is None else body | {"model_id": first.model_id}


def _summary(kind: type[JobBody]) -> str:
    return (kind.__doc__ or "").split("\n")[0]


for _family in FAMILIES:
    for _name, _kind in _family.endpoints.items():
        router.add_api_route(
            f"{_family.prefix}/{_name}".rstrip("/"),
            _handler(_family, _kind),
            methods=["POST"],
            summary=_summary(_kind),
            openapi_extra=json_body(_kind),
            tags=[_family.prefix],
        )
