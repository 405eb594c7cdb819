"""One place that turns every error into the wire's shape. Nothing internal leaves through it."""

import logging
import math
import time
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.context import gateway_of
from api.signpost import WIRE, no_endpoint, wrong_method
from api.wire.answers import refusal
from shared.errors import (
    BadPicture,
    BadRequest,
    EntryGone,
    IdempotencyConflict,
    InvalidKey,
    JobNotFound,
    ModelNotFound,
    NotAllowed,
    Overloaded,
    PrintworksError,
    UpstreamUnavailable,
)

logger = logging.getLogger(__name__)

STRICT_STATUS: dict[type[PrintworksError], HTTPStatus] = {
    BadRequest: HTTPStatus.BAD_REQUEST,
    BadPicture: HTTPStatus.BAD_REQUEST,
    InvalidKey: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    ModelNotFound: HTTPStatus.NOT_FOUND,
    JobNotFound: HTTPStatus.NOT_FOUND,
    IdempotencyConflict: HTTPStatus.CONFLICT,
    EntryGone: HTTPStatus.CONFLICT,
}
"""With `strict_http_status`; without it these are answered 200, as the protocol's clients expect. What is not
here is a bad request."""

RETRY_AFTER_S = 5
"""When what we stand on is missing."""


class ForPrograms(APIRoute):
    """A route that programs of our own ask: its errors always have a status of their own."""


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(PrintworksError, _on_our_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_surprise)


async def _on_our_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PrintworksError)  # noqa: S101 - registered for this class only
    if isinstance(error, UpstreamUnavailable):
        wait = {"Retry-After": str(RETRY_AFTER_S)}
        return JSONResponse(refusal(error), HTTPStatus.SERVICE_UNAVAILABLE, wait)
    if isinstance(error, Overloaded):
        return _overloaded(error)
    is_strict = gateway_of(request).settings.strict_http_status
    is_strict = is_strict or isinstance(request.scope.get("route"), ForPrograms)
    return JSONResponse(refusal(error), strict_status(error) if is_strict else HTTPStatus.OK)


def _overloaded(error: Overloaded) -> JSONResponse:
    wait_s = error.retry_after_s
    # clients of this protocol read either: the seconds, or the moment in Unix time
    headers = {"Retry-After": str(wait_s), "X-RateLimit-Reset": str(math.ceil(time.time()) + wait_s)}
    return JSONResponse(refusal(error) | {"retry_after": wait_s}, HTTPStatus.TOO_MANY_REQUESTS, headers)


def strict_status(error: PrintworksError) -> HTTPStatus:
    return STRICT_STATUS.get(type(error), HTTPStatus.BAD_REQUEST)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """No such route, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    path, method, allowed = request.url.path, request.method, (error.headers or {}).get("Allow")
    if allowed:
        detail = wrong_method(method, path, allowed)
    else:
        detail = no_endpoint(path, request.app.openapi()["paths"])
    lenient = path.startswith(WIRE) and not gateway_of(request).settings.strict_http_status
    lenient = lenient and method != "CONNECT"  # to which 200 would mean that there is a tunnel now
    status = HTTPStatus.OK if lenient else error.status_code
    return JSONResponse(refusal(BadRequest(detail)), status, error.headers)


async def _on_surprise(request: Request, error: Exception) -> JSONResponse:
    logger.error("unexpected error", extra={"path": request.url.path}, exc_info=error)
    detail = "Internal server error. Please try again."
    return JSONResponse(refusal(PrintworksError(detail)), HTTPStatus.INTERNAL_SERVER_ERROR)
