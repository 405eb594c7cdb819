"""The pictures of one request, on their way to becoming a job's. How they are read is the intake's matter."""

from collections.abc import Mapping

from fastapi import Request

from api.body import Caller
from api.context import Gateway
from api.public_url import public_url
from api.wire.requests import GivenPicture
from shared.jobs import InputPicture, Role


async def take_inputs(
    gateway: Gateway, request: Request, caller: Caller, file_prefix: str, given: Mapping[Role, GivenPicture]
) -> dict[Role, InputPicture]:
    """Stored for the worker. Raises `BadPicture` or `StorageUnavailable`; nothing is stored then."""
    reached_at = public_url(gateway, request)
    return await gateway.intake.take(
        given, tenant=caller.key.tenant, file_prefix=file_prefix, public_url=reached_at
    )
