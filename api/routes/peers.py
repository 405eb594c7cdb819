"""Routes by which admins say which other servers there are."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from api.administration import administered
from api.balancing.neighbour import Neighbour
from api.balancing.peers import Peers
from api.context import Gateway
from api.routes.documented import json_body
from api.wire.sentences import parse
from shared.settings import Peer, ServerName, ServerUrl

router = APIRouter()


class PeerName(BaseModel):
    """Body of `remove_peer`."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    name: ServerName
    """What this server calls it."""


class AddPeer(PeerName):
    """Body of `add_peer`."""

    url: ServerUrl
    """Scheme, host and, if need be, port."""
    peer_key: Annotated[SecretStr, Field(min_length=1, max_length=1000)]
    """A peer's or an admin's key over there."""


@router.post("/peers", openapi_extra=json_body(), summary="The other servers, and how they are")
async def peers(request: Request) -> JSONResponse:
    gateway, _ = await administered(request)
    await gateway.balancer.neighbourhood.look()
    shown = [_shown(each) for each in gateway.balancer.neighbourhood.all]
    return JSONResponse({"status": "success", "name": gateway.settings.server_name, "peers": shown})


@router.post("/add_peer", openapi_extra=json_body(AddPeer), summary="Give jobs to another server too")
async def add_peer(request: Request) -> JSONResponse:
    """Jobs go there once it has answered; `peers` tells."""
    gateway, caller = await administered(request)
    wanted = parse(AddPeer, caller.body)
    await _peers(gateway).add(wanted.name, Peer(url=wanted.url, key=wanted.peer_key))
    await gateway.balancer.neighbourhood.look()
    return JSONResponse({"status": "success", "message": "Peer added successfully"})


@router.post("/remove_peer", openapi_extra=json_body(PeerName), summary="Give no more jobs to a server")
async def remove_peer(request: Request) -> JSONResponse:
    """What it has is taken back."""
    gateway, caller = await administered(request)
    await _peers(gateway).remove(parse(PeerName, caller.body).name)
    await gateway.balancer.neighbourhood.look()
    return JSONResponse({"status": "success", "message": "Peer removed successfully"})


def _peers(gateway: Gateway) -> Peers:
    return Peers(gateway.settings.peers, gateway.sealer, gateway.ledger)


def _shown(neighbour: Neighbour) -> dict[str, object]:
    """Never its key."""
    load = neighbour.state.load if neighbour.state else None
    return {
        "name": neighbour.name,
        "url": neighbour.peer.url,
        "in_rotation": neighbour.is_in_rotation,
        "reason": neighbour.flaw,
        "jobs_there": len(neighbour.carried),
        "open_jobs": load.open_jobs if load else None,
        "slots": load.slots if load else None,
        "loaded": sorted(load.warmth) if load else [],
    }
