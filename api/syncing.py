"""Copies the models of another server of ours: each one that is not here becomes a load from there.

Sent again, it starts nothing that is being loaded, and anew what has failed or was deleted since.
"""

import asyncio
import itertools
import json
import uuid
from dataclasses import dataclass

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from api.accepting import accepting, tell_accepted
from api.context import Gateway
from api.routes.families import ENTERPRISE
from shared import ledger
from shared.answers import Body
from shared.api_keys import ApiKey
from shared.errors import BadRequest, JobNotFound, TooManyJobs
from shared.jobs import Job, JobState, LoadSpec, ModelSource, Origin
from shared.registry import EntryId, ModelId, ModelKind
from shared.spans import carried

ASK_TIMEOUT_S = 10.0
MOST_ANSWER_BYTES = 8 * 1024 * 1024
NO_PEERS = "This server has no peers to copy from: add one with add_peer, or set PRINTWORKS_PEERS."


class PeersModel(BaseModel):
    """One model as another server's `get_all_models` tells of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model_id: ModelId
    model_type: ModelKind
    entry_id: EntryId


class PeersAnswer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    models: tuple[PeersModel, ...]


@dataclass(frozen=True)
class Started:
    """The loads that bring what is lacking: those of this request, and those that were open already."""

    jobs: list[Job]
    left: int = 0
    """Models of which there is none, and why."""
    reason: str = ""


@dataclass(frozen=True)
class Syncing:
    """One request to copy."""

    gateway: Gateway
    key: ApiKey
    public_url: str

    async def answer(self, sync_key: str) -> Body:
        """Waits as long as any request may for what it has started. Raises `BadRequest`, and `TooManyJobs` if
        it could start nothing. Every peer is asked with the key, because it does not say whose it is."""
        url, models = await self._source(sync_key)
        here = await self.gateway.registry.look()
        sealed = self.gateway.sealer.seal(json.dumps([url, sync_key]))
        source = ModelSource(origin=Origin.PEER, shown=url, sealed=sealed)
        started = await self._started(
            [each for each in models if not here.has(each.model_type, each.model_id)], source
        )
        wait_s = self.gateway.settings.sync_wait_s
        ended = await asyncio.gather(*(self.gateway.waiter.wait(job, wait_s) for job in started.jobs))
        return _told(list(ended), started)

    async def _source(self, sync_key: str) -> tuple[str, tuple[PeersModel, ...]]:
        """The peer whose key this is, and what it has. The others are not waited for."""
        peers = {each.name: each.peer for each in self.gateway.balancer.neighbourhood.all}
        if not peers:
            raise BadRequest(NO_PEERS)
        async with httpx.AsyncClient(timeout=ASK_TIMEOUT_S, trust_env=False) as client:
            asking = [asyncio.create_task(_ask(client, peer.url, sync_key)) for peer in peers.values()]
            try:
                for answer in asyncio.as_completed(asking):
                    url, models = await answer
                    if models is not None:
                        return url, models
            finally:
                for task in asking:
                    task.cancel()
        raise BadRequest(f"sync_key is a key of none of this server's peers that answer: {', '.join(peers)}")

    async def _started(self, lacking: list[PeersModel], source: ModelSource) -> Started:
        jobs: list[Job] = []
        for model in lacking:
            try:
                job = await self._load(model, source)
            except TooManyJobs as exc:
                if not jobs:
                    raise
                return Started(jobs, left=len(lacking) - len(jobs), reason=exc.detail)
            jobs.append(job)
        return Started(jobs)

    async def _load(self, model: PeersModel, source: ModelSource) -> Job:
        """The one that is open, or brought it just now; else a new one."""
        spec = LoadSpec(
            model_id=model.model_id,
            model_kind=model.model_type,
            source=source,
            peer_entry=model.entry_id,
            file_prefix=str(uuid.uuid4()),
            public_url=self.public_url,
        )
        settings, tenant = self.gateway.settings, self.key.tenant
        for attempt in itertools.count():
            key = f"sync {source.shown} {model.entry_id} {attempt}"
            with accepting():
                spec = spec.model_copy(update={"trace": carried()})
                call = ledger.accept(spec, self.key, settings, idempotency_key=key, digest="")
                accepted = await self.gateway.ledger.run(call)
                if accepted.is_new:
                    job = Job(id=accepted.job_id, tenant=tenant, state=JobState.QUEUED, spec=spec)
                    tell_accepted(job)
                    return job
            known = await self._known(accepted.job_id)
            if known is not None and (not known.state.is_terminal or await self._brought(model, known)):
                return known
        raise AssertionError  # there is always another attempt

    async def _known(self, job_id: int) -> Job | None:
        """None if its record has expired."""
        try:
            return await self.gateway.ledger.run(ledger.read(job_id, self.key.tenant))
        except JobNotFound:
            return None

    async def _brought(self, model: PeersModel, load: Job) -> bool:
        """Whether the load has ended well, and the model was not deleted since."""
        here = await self.gateway.registry.look()
        return load.state is JobState.SUCCEEDED and here.has(model.model_type, model.model_id)


async def _ask(
    client: httpx.AsyncClient, url: str, sync_key: str
) -> tuple[str, tuple[PeersModel, ...] | None]:
    """The URL, and None if it does not answer in time and size, or not to this key."""
    headers, body = {"Accept-Encoding": "identity"}, bytearray()
    try:
        async with (
            asyncio.timeout(ASK_TIMEOUT_S),
            client.stream(
                "POST", f"{url}{ENTERPRISE}/get_all_models", json={"key": sync_key}, headers=headers
            ) as answer,
        ):
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MOST_ANSWER_BYTES:
                    return url, None
        return url, PeersAnswer.model_validate_json(body).models
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValidationError):
        return url, None


def _told(jobs: list[Job], started: Started) -> Body:
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
    if started.left:
        tips.append(f"{started.left} more were not begun: {started.reason} Send this again later.")
    return {
        "status": "success",
        "message": f"{len(done)} Models synced successfully",
        "model_list": done,
        **({"tip": " ".join(tips)} if tips else {}),
    }
