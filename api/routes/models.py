"""Routes about models: load, look for, list, delete, and copy them from another server."""

import time
import uuid

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.accepting import accepting, tell_accepted
from api.administration import administered
from api.body import Caller, authenticate
from api.context import Gateway, gateway_of
from api.idempotency import Once, once
from api.public_url import public_url
from api.routes.documented import json_body
from api.syncing import Syncing
from api.wire.requests import LoadModel, LoadModelV2, LoadTerms, LoadVae, ModelId, SyncModels
from api.wire.requests.models import AnyLoadBody
from api.wire.sentences import parse
from shared import ledger
from shared.errors import ModelNotFound
from shared.jobs import Job, JobState, LoadSpec
from shared.registry import Entry, name_of
from shared.schedulers import SCHEDULERS
from shared.spans import carried
from shared.webhooks import webhook_to

router = APIRouter()

NOT_HERE = "Model does not exist on server"


@router.post("/load_model", openapi_extra=json_body(LoadModel), summary="Load a model in the background")
async def load_model(request: Request) -> JSONResponse:
    return await _started(request, LoadModel, "model load started")


@router.post("/load_model_v2", openapi_extra=json_body(LoadModelV2), summary="The same, with other fields")
async def load_model_v2(request: Request) -> JSONResponse:
    return await _started(request, LoadModelV2, "model load started")


@router.post("/load_vae", openapi_extra=json_body(LoadVae), summary="Load an autoencoder in the background")
async def load_vae(request: Request) -> JSONResponse:
    return await _started(request, LoadVae, "VAE load started")


@router.post("/verify_model", openapi_extra=json_body(ModelId), summary="Whether a model can be used")
async def verify_model(request: Request) -> JSONResponse:
    caller = await authenticate(request)
    model_id = parse(ModelId, caller.body).model_id
    if not await _named(gateway_of(request), model_id):
        raise ModelNotFound(NOT_HERE)
    return JSONResponse({"status": "success", "message": "Model exists on server"})


@router.post("/get_all_models", openapi_extra=json_body(), summary="All models that can be used")
async def get_all_models(request: Request) -> JSONResponse:
    await authenticate(request)
    models = (await gateway_of(request).registry.look()).all()
    return JSONResponse({"models": [_told(entry) for entry in models], "status": "success"})


@router.post("/delete_model", openapi_extra=json_body(ModelId), summary="Forget a model, once no job uses it")
async def delete_model(request: Request) -> JSONResponse:
    """Of every kind that has this id. Jobs that were accepted before still get it."""
    gateway, caller = await administered(request)
    named = await _named(gateway, parse(ModelId, caller.body).model_id)
    names = [name_of(entry.kind, entry.model_id) for entry in named]
    if not named or not await gateway.ledger.run(ledger.unregister(names)):
        raise ModelNotFound("Model id not found")
    return JSONResponse({"status": "success", "message": "Model deleted on server"})


@router.post("/sync_models", openapi_extra=json_body(SyncModels), summary="Copy what another server has")
async def sync_models(request: Request) -> JSONResponse:
    gateway, caller = await administered(request)
    wanted = parse(SyncModels, caller.body)
    syncing = Syncing(gateway, caller.key, public_url(gateway, request))
    return JSONResponse(await syncing.answer(wanted.sync_key))


@router.post("/schedulers_list", openapi_extra=json_body(), summary="Names of the samplers")
async def schedulers_list(request: Request) -> JSONResponse:
    await authenticate(request)
    return JSONResponse({"schedulers": list(SCHEDULERS)})


async def _started(request: Request, kind: type[AnyLoadBody], message: str) -> JSONResponse:
    gateway, caller = await administered(request)
    wanted = parse(kind, caller.body)
    settings, reached_at = gateway.settings, public_url(gateway, request)
    sealer, allowed = gateway.sealer, settings.allow_private_hosts
    webhook = webhook_to(wanted.webhook, sealer, allowed)
    terms = LoadTerms(sealer, allowed, reached_at, str(uuid.uuid4()), webhook)
    sent = await once(request, caller)
    job_id = sent.made
    if job_id is None:
        job_id = await _accepted(gateway, caller, sent, wanted.to_spec(terms))
    fetch_url = f"{reached_at}{request.url.path.rpartition('/')[0]}/fetch/{job_id}"
    return JSONResponse({"status": "success", "message": message, "id": job_id, "fetch_result": fetch_url})


async def _accepted(gateway: Gateway, caller: Caller, sent: Once, spec: LoadSpec) -> int:
    with accepting():
        spec = spec.model_copy(update={"trace": carried()})
        call = ledger.accept(spec, caller.key, gateway.settings, idempotency_key=sent.key, digest=sent.digest)
        accepted = await gateway.ledger.run(call)
        if accepted.is_new:
            job = Job(id=accepted.job_id, tenant=caller.key.tenant, state=JobState.QUEUED, spec=spec)
            tell_accepted(job)
        return accepted.job_id


async def _named(gateway: Gateway, model_id: str) -> list[Entry]:
    """What has this id, of whatever kind."""
    return [entry for entry in (await gateway.registry.look()).all() if entry.model_id == model_id]


def _told(entry: Entry) -> dict[str, str | int]:
    """`load_data` is how the protocol spells it."""
    return {
        "model_id": entry.model_id,
        "load_data": time.strftime("%m/%d/%Y %H:%M:%S", time.gmtime(entry.loaded_at)),
        "model_type": entry.kind,
        "family": entry.family,
        "format": entry.format,
        "revision": entry.revision,
        "source": entry.source,
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "entry_id": entry.entry_id,
    }
