"""Sees a job through that a peer makes: there with it, and back with its pictures, or back into the queue."""

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Callable

from opentelemetry import trace

from api.balancing.carried import Carried, End, How
from api.balancing.neighbour import Neighbour
from api.balancing.neighbourhood import Neighbourhood
from api.balancing.wire import PATH, Callback, HandOver, Told
from api.context import Gateway
from shared import ledger
from shared.download import download
from shared.errors import (
    DownloadFailed,
    InputGone,
    LedgerUnavailable,
    PeerAway,
    PeerRefused,
    RefusedAddress,
    UpstreamUnavailable,
)
from shared.jobs import OF_ITS_CLIENT, JobSpec, JobState, Outcome
from shared.ledger import Claim
from shared.ledger.calls import Call, Finished
from shared.storage import Storage

logger = logging.getLogger(__name__)

UNWANTED = (How.CANCELLED, How.LOST, How.GONE)
RETRY_S = 1.0
FETCH_S = 60.0
KEPT_HERE: dict[str, object] = {**OF_ITS_CLIENT, "home": "", "files_url": ""}
"""The trace goes there as all traces do, in the headers of the request."""
MOST_FILE_BYTES = 128 * 1024 * 1024


class Carrier:
    """What all jobs that are carried by this gateway share."""

    def __init__(
        self,
        gateway: Callable[[], Gateway],
        refused: Callable[[Claim, str], None],
        neighbourhood: Neighbourhood,
    ) -> None:
        """`refused`: the job is not to go to that peer again."""
        self._gateway = gateway
        self._refused = refused
        self._neighbourhood = neighbourhood

    async def see_through(self, carried: Carried, neighbour: Neighbour) -> None:
        """Returns when the job has ended here, or somebody else has it."""
        claim, remote_id = carried.claim, None
        fields = {"peer": neighbour.name}
        try:
            remote_id = await neighbour.hand_over(await self._order(claim), claim.token)
        except (PeerRefused, PeerAway, InputGone, OSError) as exc:
            end = End(How.GONE, str(exc))
        else:
            logger.info("job given to a peer", extra=fields | {"remote_id": remote_id})
            end = await self._end_of(carried, neighbour, remote_id)
        trace.get_current_span().set_attribute("printworks.end", end.how.name.lower())
        logger.info("job left the peer", extra=fields | {"how": end.how.name, "reason": end.reason})
        self._gateway().metrics.jobs_given.labels(peer=neighbour.name, end=end.how.name.lower()).inc()
        await self._settle(claim, end, neighbour)
        if remote_id is not None and end.how in UNWANTED:
            await neighbour.cancel(remote_id)

    async def _end_of(self, carried: Carried, neighbour: Neighbour, remote_id: int) -> End:
        neighbour.carried[remote_id] = carried
        try:
            end = await carried.ended
        finally:
            del neighbour.carried[remote_id]
        if end.how is How.MADE and end.told is not None:
            return await self._bring(carried, neighbour, end.told)
        return end

    async def _settle(self, claim: Claim, end: End, neighbour: Neighbour) -> None:
        """What is to be said to the ledger, if nothing was said yet."""
        if end.how is How.CANCELLED:
            await self._finish(claim, JobState.CANCELLED, ledger.CANCELLED)
        elif end.how is How.GONE:  # what the peer may still make of it is not waited for
            self._refused(claim, neighbour.name)
            await self.give_back(claim)
        elif end.how in (How.NOT_MADE, How.CLOSING):
            await self.give_back(claim, stays=end.how is How.NOT_MADE)

    async def _order(self, claim: Claim) -> HandOver:
        """Nothing of the client's goes there but what makes the pictures."""
        spec, storage = claim.spec, self._gateway().storage
        pictures = {
            role: base64.b64encode(await asyncio.to_thread(storage.read_input, picture.name)).decode()
            for role, picture in spec.inputs.items()
        }
        url = f"{spec.public_url}{PATH}/back/{claim.job_id}"
        return HandOver(
            spec=spec.model_copy(update=KEPT_HERE),
            pictures=pictures,
            callback=Callback(url=url, secret=callback_secret(claim.token)),
        )

    async def _bring(self, carried: Carried, neighbour: Neighbour, told: Told) -> End:
        """Store the files where ours would lie, and say that the job is done."""
        try:
            if told.files:  # else they lie there already
                await self._copy(carried, neighbour, told.files)
        except (DownloadFailed, RefusedAddress) as exc:
            return End(How.GONE, f"its files can't be fetched: {exc.detail}")
        outcome = told.outcome or Outcome()
        made = outcome.model_copy(update={"ran": outcome.ran | {"server": neighbour.name}})
        await self._finish(carried.claim, JobState.SUCCEEDED, made)
        return End(How.MADE)

    async def _copy(self, carried: Carried, neighbour: Neighbour, urls: tuple[str, ...]) -> None:
        spec = carried.claim.spec
        if len(urls) != len(spec.file_names):
            raise DownloadFailed(f"there are {len(urls)} of them, not {len(spec.file_names)}")
        contents = await self._fetched(neighbour, urls)
        while not carried.is_lost:
            try:
                storage = await self._storage(spec)
                for name, content in zip(spec.file_names, contents, strict=True):
                    await asyncio.to_thread(storage.write, name, content)
            except (OSError, UpstreamUnavailable) as exc:  # a full disk, or S3 is away: as a worker, it waits
                logger.error("pictures not stored yet", extra={"reason": str(exc)})
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _fetched(self, neighbour: Neighbour, urls: tuple[str, ...]) -> list[bytes]:
        hosts, outbound = await self._neighbourhood.outbound()
        limits = self._gateway().settings.model_copy(
            update={
                "allow_private_hosts": hosts,
                "input_max_bytes": MOST_FILE_BYTES,
                "input_timeout_s": FETCH_S,
            }
        )
        at_peer = [f"{neighbour.peer.url}{url}" if url.startswith("/") else url for url in urls]
        return [await download(outbound, url, limits) for url in at_peer]

    async def _storage(self, spec: JobSpec) -> Storage:
        gateway = self._gateway()
        if spec.target is None:
            return gateway.storage
        return await asyncio.to_thread(gateway.links.storage, await gateway.registry.look(), spec.target)

    async def _finish(self, claim: Claim, state: JobState, outcome: Outcome) -> None:
        finished = await self._insist(ledger.finish(claim.job_id, claim.token, state, outcome))
        gateway = self._gateway()
        gateway.bell.ring(finished.bells)
        if finished.is_mine:
            await asyncio.to_thread(gateway.storage.drop_inputs, claim.spec.file_prefix)

    async def give_back(self, claim: Claim, *, stays: bool = False) -> None:
        """Into this server's queue. `stays`: no other server is to make it."""
        released = await self._insist(ledger.release(claim.job_id, claim.token, stays=stays))
        self._gateway().bell.ring(released.bells)

    async def _insist(self, call: Call[Finished]) -> Finished:
        """Only the ledger knows what has become of a job: it is waited for."""
        while True:
            try:
                return await self._gateway().ledger.run(call)
            except LedgerUnavailable:
                await asyncio.sleep(RETRY_S)


def callback_secret(token: str) -> str:
    """Of the lease's own: any gateway of this server can tell whether a call is signed with it."""
    digest = hmac.new(token.encode(), b"callback", hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(digest).decode()}"
