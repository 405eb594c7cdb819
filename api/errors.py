"""One place that turns every error into the wire's shape. Nothing internal leaves through it."""

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.context import gateway_of
from api.wire.answers import refusal
from shared.errors import (
    BadPicture,
    BadRequest,
    IdempotencyConflict,
    InvalidKey,
    JobNotFound,
    ModelNotFound,
    NotAllowed,
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
}
"""With `strict_http_status`; without it these are answered 200, as the protocol's clients expect."""

RETRY_AFTER_S = 5


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(PrintworksError, _on_our_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_surprise)


async def _on_our_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PrintworksError)  # noqa: S101 - registered for this class only
    if isinstance(error, UpstreamUnavailable):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return JSONResponse(refusal(error), HTTPStatus.SERVICE_UNAVAILABLE, headers)
    strict = gateway_of(request).settings.strict_http_status
    return JSONResponse(refusal(error), STRICT_STATUS[type(error)] if strict else HTTPStatus.OK)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """No such route, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse(refusal(BadRequest(detail)), error.status_code, error.headers)


async def _on_surprise(request: Request, error: Exception) -> JSONResponse:
    logger.error("unexpected error", extra={"path": request.url.path}, exc_info=error)
    detail = "Internal server error. Please try again."
    return JSONResponse(refusal(PrintworksError(detail)), HTTPStatus.INTERNAL_SERVER_ERROR)
