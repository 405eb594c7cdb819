"""The wire's body of a finished job: what fetch answers and what the webhook carries."""

from typing import Any

from shared.jobs import Job, JobState, Outcome

Body = dict[str, Any]


def finished_body(job: Job) -> Body:
    """The body of a terminal job, without `track_id`."""
    outcome = job.outcome or Outcome()
    if job.state is not JobState.SUCCEEDED:
        return {
            "status": "failed",
            "id": job.id,
            "message": outcome.reason,
            "messege": outcome.reason,
            "output": "",
        }
    return {
        "status": "success",
        "generationTime": round(outcome.generation_time_s, 3),
        "id": job.id,
        "output": job.spec.file_urls,
        "proxy_links": job.spec.file_urls,
        "webhook_status": "",
        "meta": meta(job),
    }


def webhook_body(job: Job) -> Body:
    """What the client's URL receives: the finished body and the client's own id with its JSON type."""
    return finished_body(job) | {"track_id": job.spec.track_id}


def meta(job: Job) -> Body:
    """What really ran, under the documented names. A feature that was not used says so."""
    spec = job.spec
    return {
        "prompt": spec.prompt,
        "model_id": spec.model_id,
        "negative_prompt": spec.negative_prompt,
        "scheduler": spec.scheduler,
        "revision": job.outcome.revision if job.outcome else "",
        "safetychecker": "no",
        "W": spec.width,
        "H": spec.height,
        "enable_attention_slicing": "false",
        "file_prefix": spec.file_prefix,
        "guidance_scale": spec.guidance_scale,
        "seed": spec.seed,
        "steps": spec.steps,
        "n_samples": spec.samples,
        "upscale": "no",
        "multi_lingual": "no",
        "panorama": "no",
        "self_attention": "no",
        "embeddings": None,
        "lora": None,
        "outdir": "out",
        "vae": None,
    }
