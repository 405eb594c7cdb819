"""stub"""

from collections.abc import Mapping

from fastapi import Request

from api.context import Gateway
from api.wire.requests import GivenPicture
from shared.jobs import InputPicture, Role


async def take_inputs(
    gateway: Gateway, request: Request, file_prefix: str, given: Mapping[Role, GivenPicture]
) -> dict[Role, InputPicture]:
    return {}
