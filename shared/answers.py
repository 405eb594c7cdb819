"""The wire's body of a finished job: what fetch answers and what the webhook carries."""

from collections.abc import Iterable
from typing import Any

from shared.jobs import Dialect, Job, JobSpec, JobState, Outcome

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
        "nsfw_content_detected": bool(outcome.nsfw),
        "webhook_status": "",
        "tip": outcome.tip,
        "meta": meta(job),
    }


def webhook_body(job: Job) -> Body:
    """What the client's URL receives: the finished body and the client's own id with its JSON type."""
    return finished_body(job) | {"track_id": job.spec.track_id}


def meta(job: Job) -> Body:
    """What was asked for under the documented names, and what really ran once that is known."""
    spec, outcome = job.spec, job.outcome or Outcome()
    asked = _v6(spec) if spec.dialect is Dialect.V6 else _enterprise(spec, outcome.revision)
    return asked | _both(spec) | outcome.ran


def _enterprise(spec: JobSpec, revision: str) -> Body:
    return {
        "prompt": spec.prompt,
        "model_id": spec.model_id,
        "negative_prompt": spec.negative_prompt or "",
        "scheduler": spec.scheduler,
        "revision": revision,
        "safetychecker": _yes(spec.safety_checker),
        "W": spec.width,
        "H": spec.height,
        "enable_attention_slicing": "false",
        "file_prefix": spec.file_prefix,
        "guidance_scale": spec.guidance_scale,
        "seed": spec.seed,
        "steps": spec.steps,
        "n_samples": spec.samples,
        "upscale": _yes(spec.upscale),
        "multi_lingual": _yes(spec.multi_lingual),
        "panorama": _yes(spec.panorama),
        "self_attention": _yes(spec.self_attention),
        "embeddings": _names(spec.embeddings),
        "lora": _names(use.lora_id for use in spec.loras),
        "outdir": "out",
        "vae": spec.vae,
    }


def _v6(spec: JobSpec) -> Body:
    return {
        "prompt": spec.prompt,
        "model_id": spec.model_id,
        "negative_prompt": spec.negative_prompt or "",
        "scheduler": spec.scheduler,
        "safety_checker": _yes(spec.safety_checker),
        "W": spec.width,
        "H": spec.height,
        "guidance_scale": spec.guidance_scale,
        "seed": spec.seed,
        "steps": spec.steps,
        "n_samples": spec.samples,
        "full_url": "no",
        "instant_response": _yes(spec.instant_response),
        "tomesd": _yes(spec.tomesd),
        "ip_adapter_id": None,
        "ip_adapter_scale": 0.6,
        "ip_adapter_image": None,
        "free_u": "no",
        "upscale": _yes(spec.upscale),
        "multi_lingual": _yes(spec.multi_lingual),
        "panorama": _yes(spec.panorama),
        "self_attention": _yes(spec.self_attention),
        "embeddings": _names(spec.embeddings),
        "vae": spec.vae,
        "lora": _names(use.lora_id for use in spec.loras),
        "file_prefix": f"{spec.file_prefix}.png",
    }


def _both(spec: JobSpec) -> Body:
    """What the enterprise pages take but their answers don't show, by the names of the newer ones."""
    return {
        "enhance_prompt": _yes(spec.enhance_prompt),
        "tomesd": _yes(spec.tomesd),
        "use_karras_sigmas": _yes(spec.use_karras_sigmas),
        "algorithm_type": spec.algorithm_type or "no",
        "safety_checker_type": spec.safety_checker_type,
        "lora_strength": _names(f"{use.strength:g}" for use in spec.loras),
        "clip_skip": spec.clip_skip,
        "highres_fix": _yes(spec.highres_fix),
        "temp": _yes(spec.temp),
        "base64": _yes(spec.base64),
        "deterministic": _yes(spec.deterministic),
    }


def _yes(switch: bool) -> str:
    return "yes" if switch else "no"


def _names(names: Iterable[str]) -> str | None:
    return ",".join(names) or None
