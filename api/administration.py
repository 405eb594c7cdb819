"""Who may manage the server."""

from fastapi import Request

from api.body import Caller, authenticate
from api.context import Gateway, gateway_of
from shared.errors import NotAllowed


async def administered(request: Request) -> tuple[Gateway, Caller]:
    """Raises `NotAllowed` for a caller whose key is no admin's, and what `authenticate` does."""
    caller = await authenticate(request)
    if not caller.key.is_admin:
        raise NotAllowed("This API key may not manage the server: use an admin's key.")
    return gateway_of(request), caller
