"""Answers of the gateway that are not a finished job's: processing, refused, unknown."""

import math

from shared.answers import Body, finished_body, inline_body, particulars
from shared.errors import InvalidKey, JobNotFound, PrintworksError
from shared.jobs import Job

_JSON_TIPS = (
    "1. Make sure you are passing Content-Type: application/json in header. "
    "2. Make sure you are doing POST request with valid JSON. "
    "3. Make sure your JSON does not have error, use jsonlint to validate json array"
)
INVALID_REQUEST = "Invalid API Request"
_TIPS = {INVALID_REQUEST: _JSON_TIPS}
_SOON = "Try to fetch request after seconds estimated"
_IN_BACKGROUND = "Your image is processing in background, you can get this image using fetch API"


def generation_answer(job: Job, fetch_url: str) -> Body:
    """The answer to a generation request: the pictures, or where they will be."""
    if job.state.is_terminal:
        return inline_body(job)
    return {
        "status": "processing",
        "tip": _IN_BACKGROUND,
        "tip_1": "",
        "eta": eta(job),
        "message": _SOON,
        "messege": _SOON,
        "webhook_status": "",
        "fetch_result": fetch_url,
        "id": job.id,
        "output": [],
        **particulars(job),
        "future_links": job.spec.file_urls,
    }


def fetch_answer(job: Job) -> Body:
    if job.state.is_terminal:
        return finished_body(job)
    message = "Request processing"
    return {
        "status": "processing",
        "id": job.id,
        "message": message,
        "messege": message,
        "output": "",
        "eta": eta(job),
    }


def refusal(error: PrintworksError) -> Body:
    """The wire's body of an error; both spellings, because clients look for either."""
    body: Body = {
        "status": "error",
        "message": error.detail,
        "messege": error.detail,
        "code": error.code,
    }
    if isinstance(error, JobNotFound):
        return body | {"status": "failed", "id": "", "output": ""}
    if isinstance(error, InvalidKey):
        return body | {"tip": f"{_JSON_TIPS}. 4. Make sure you have valid API key."}
    return body | ({"tip": _TIPS[error.detail]} if error.detail in _TIPS else {})


def eta(job: Job) -> int:
    """Whole seconds, at least one: clients wait this long before they ask again."""
    return max(1, math.ceil(job.eta_s))
