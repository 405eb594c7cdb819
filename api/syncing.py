"""Copies the models of another server of ours: each one that is not here becomes a load from there."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from api.context import Gateway
from api.routes.families import ENTERPRISE
from shared import ledger
from shared.answers import Body
from shared.api_keys import ApiKey
from shared.errors import BadRequest
from shared.jobs import Job, JobState, LoadSpec, ModelSource, Origin
from shared.registry import ModelKind
from shared.sealing import Sealer

ASK_TIMEOUT_S = 10.0
NO_PEERS = "This server has no peers to copy from: ask the operator to set PRINTWORKS_PEERS."


class PeersModel(BaseModel):
    """One model as another server's `get_all_models` tells of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_id: str
    model_type: ModelKind
    entry_id: str


_MODELS: TypeAdapter[list[PeersModel]] = TypeAdapter(list[PeersModel])


@dataclass(frozen=True)
class Syncing:
    """One request to copy."""

    gateway: Gateway
    key: ApiKey
    public_url: str

    async def answer(self, sync_key: str) -> Body:
        """Waits as long as any request may for what it has started. Raises `BadRequest`."""
        url, models = await self._source(sync_key)
        here = await self.gateway.registry.look()
        sealed = Sealer(self.gateway.settings).seal(sync_key)
        source = ModelSource(origin=Origin.PEER, shown=url, sealed=sealed)
        lacking = [each for each in models if not here.has(each.model_type, each.model_id)]
        jobs = [await self._load(each, source) for each in lacking]
        wait_s = self.gateway.settings.sync_wait_s
        ended = await asyncio.gather(*(self.gateway.waiter.wait(job, wait_s) for job in jobs))
        return _told(list(ended))

    async def _source(self, sync_key: str) -> tuple[str, list[PeersModel]]:
        """The peer whose key this is, and what it has."""
        peers = self.gateway.settings.peers
        if not peers:
            raise BadRequest(NO_PEERS)
        async with httpx.AsyncClient(timeout=ASK_TIMEOUT_S, trust_env=False) as client:
            for url in peers.values():
                models = await _ask(client, url.rstrip("/"), sync_key)
                if models is not None:
                    return url.rstrip("/"), models
        raise BadRequest(f"sync_key is a key of none of this server's peers that answer: {', '.join(peers)}")

    async def _load(self, model: PeersModel, source: ModelSource) -> Job:
        spec = LoadSpec(
            model_id=model.model_id,
            model_kind=model.model_type,
            source=source,
            peer_entry=model.entry_id,
            file_prefix=str(uuid.uuid4()),
            public_url=self.public_url,
        )
        call = ledger.accept(spec, self.key, self.gateway.settings, idempotency_key=None, digest="")
        job_id = (await self.gateway.ledger.run(call)).job_id
        return Job(id=job_id, tenant=self.key.tenant, state=JobState.QUEUED, spec=spec)


async def _ask(client: httpx.AsyncClient, url: str, sync_key: str) -> list[PeersModel] | None:
    """None if it does not answer, or not to this key."""
    try:
        answer = await client.post(f"{url}{ENTERPRISE}/get_all_models", json={"key": sync_key})
        body: dict[str, Any] = answer.json()
        return _MODELS.validate_python(body["models"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError, ValidationError):
        return None


def _told(jobs: list[Job]) -> Body:
    """As the protocol words it, if all is done; else what is, and what is not."""
    names = {state: [job.spec.model_id for job in jobs if job.state is state] for state in JobState}
    done = names[JobState.SUCCEEDED]
    failed = [
        f"{job.spec.model_id}: {job.outcome.reason}"
        for job in jobs
        if job.outcome is not None and job.state is not JobState.SUCCEEDED
    ]
    tips = [f"Not copied: {'; '.join(failed)}"] if failed else []
    if waiting := len(jobs) - len(done) - len(failed):
        tips.append(f"{waiting} more are still being copied; get_all_models shows them when they are here.")
    return {
        "status": "success",
        "message": f"{len(done)} Models synced successfully",
        "model_list": done,
        **({"tip": " ".join(tips)} if tips else {}),
    }
