"""The wire's body of a finished job: what fetch answers and what the webhook carries."""

from typing import Any

from shared.jobs import (
    CheckSpec,
    EnlargementSpec,
    FilmSpec,
    Job,
    JobState,
    LoadSpec,
    Outcome,
    PictureSpec,
    Role,
)
from shared.meta import meta

Body = dict[str, Any]


def inline_body(job: Job) -> Body:
    """The answer to the request itself, if the job has ended by then."""
    if isinstance(job.spec, CheckSpec) and job.state is JobState.SUCCEEDED:
        return _seen(job)  # as documented: without status and id, which clients that ask later need
    return finished_body(job)


def finished_body(job: Job) -> Body:
    """The body of a terminal job, without `track_id`: what fetch answers."""
    outcome = job.outcome or Outcome()
    if job.state is not JobState.SUCCEEDED:
        return {
            "status": "failed",
            "id": job.id,
            "message": outcome.reason,
            "messege": outcome.reason,
            "output": "",
            **(particulars(job) if isinstance(job.spec, LoadSpec) else {}),
        }
    if isinstance(job.spec, LoadSpec):
        return {
            "status": "success",
            "id": job.id,
            "message": "model loaded",
            "output": [],
            **particulars(job),
        }
    if isinstance(job.spec, CheckSpec):
        return {"status": "success", "id": job.id, "output": [], **_seen(job)}
    urls = job.spec.file_urls
    return {
        "status": "success",
        "generationTime": round(outcome.generation_time_s, 3),
        "id": job.id,
        "output": urls[0] if isinstance(job.spec, EnlargementSpec) else urls,
        "proxy_links": urls,
        "nsfw_content_detected": bool(outcome.nsfw),
        "webhook_status": "",
        "tip": outcome.tip,
        **particulars(job),
    }


def _seen(job: Job) -> Body:
    outcome = job.outcome or Outcome()
    return {"images": job.spec.told(Role.INIT), "has_nsfw_concept": [bool(outcome.nsfw)]}


def webhook_body(job: Job) -> Body:
    """What the client's URL receives: the finished body and the client's own id with its JSON type."""
    return finished_body(job) | {"track_id": job.spec.track_id}


def particulars(job: Job) -> Body:
    """What an answer tells of how the job is done: pictures have their `meta`; of a video the protocol shows
    none, but nobody could repeat one whose seed was drawn here."""
    match job.spec:
        case PictureSpec():
            return {"meta": meta(job.spec, job.outcome or Outcome())}
        case FilmSpec():
            return {"seed": job.spec.seed}
        case LoadSpec():
            return {"model_id": job.spec.model_id}
        case _:
            return {}
