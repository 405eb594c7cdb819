"""The wire's answers, key by key."""

import json

import pytest

from api.wire.answers import fetch_answer, generation_answer, refusal
from shared.answers import finished_body, webhook_body
from shared.errors import BadRequest, InvalidKey, JobNotFound, PrintworksError
from shared.jobs import Job, JobState, LoraUse, Outcome
from tests.support.jobs import make_spec

DOCUMENTED_META = [
    *("prompt", "model_id", "negative_prompt", "scheduler", "revision", "safetychecker", "W", "H"),
    *("enable_attention_slicing", "file_prefix", "guidance_scale", "seed", "steps", "n_samples", "upscale"),
    *("panorama", "self_attention", "embeddings", "lora", "outdir", "vae"),
]

DOCUMENTED_V6_META = [
    *("prompt", "model_id", "negative_prompt", "scheduler", "safety_checker", "W", "H", "guidance_scale"),
    *("seed", "steps", "n_samples", "full_url", "instant_response", "tomesd", "ip_adapter_id"),
    *("ip_adapter_scale", "ip_adapter_image", "free_u", "upscale", "panorama", "self_attention"),
    *("use_karras_sigmas", "algorithm_type", "safety_checker_type", "embeddings", "vae", "lora"),
    *("lora_strength", "clip_skip", "temp", "base64", "file_prefix"),
]


def make_job(state: JobState = JobState.SUCCEEDED, eta_s: float = 0.0, **spec: object) -> Job:
    outcome = Outcome(generation_time_s=2.5, revision="fp32", reason="" if state == "succeeded" else "Why.")
    return Job(
        id=7,
        tenant="t",
        state=state,
        spec=make_spec(**spec),
        eta_s=eta_s,
        outcome=outcome if state.is_terminal else None,
    )


def test_a_finished_job_answers_success_with_the_documented_keys() -> None:
    job = make_job(samples=2)

    answer = generation_answer(job, "http://x/fetch/7")

    prefix = job.spec.file_prefix
    assert answer["status"] == "success"
    assert (answer["id"], answer["generationTime"]) == (7, 2.5)
    assert answer["output"] == [f"http://printworks.test/generations/{prefix}-{i}.png" for i in range(2)]
    assert set(DOCUMENTED_META) <= set(answer["meta"])
    assert [name for name in answer["meta"] if name in DOCUMENTED_META] == DOCUMENTED_META


def test_a_job_that_is_not_done_answers_processing_with_everything_that_clients_look_for() -> None:
    job = make_job(JobState.QUEUED, eta_s=3.2)

    answer = generation_answer(job, "http://x/fetch/7")

    assert answer["status"] == "processing"
    assert (answer["id"], answer["eta"], answer["fetch_result"]) == (7, 4, "http://x/fetch/7")
    assert answer["output"] == []
    assert answer["future_links"] == job.spec.file_urls
    assert answer["message"] == answer["messege"]


def test_fetch_of_a_running_job_keeps_the_literal_words() -> None:
    answer = fetch_answer(make_job(JobState.RUNNING))

    assert (answer["status"], answer["output"], answer["eta"]) == ("processing", "", 1)
    assert answer["messege"] == answer["message"] == "Request processing"


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_job_without_pictures_answers_failed_with_its_reason(state: JobState) -> None:
    answer = finished_body(make_job(state))

    assert answer == {"status": "failed", "id": 7, "message": "Why.", "messege": "Why.", "output": ""}


@pytest.mark.parametrize("track_id", ["7", 7, 7.5, True, None, ""], ids=repr)
def test_the_webhook_carries_the_track_id_with_its_type(track_id: object) -> None:
    job = make_job(track_id=track_id)

    body = json.loads(json.dumps(webhook_body(Job.model_validate_json(job.model_dump_json()))))

    assert body["track_id"] == track_id
    assert type(body["track_id"]) is type(track_id)
    assert {name: value for name, value in body.items() if name != "track_id"} == finished_body(job)


def test_refusals_have_both_spellings_and_no_error_key() -> None:
    for error in (BadRequest("a sentence"), InvalidKey("Invalid Api Key"), PrintworksError("x")):
        answer = refusal(error)
        assert answer["status"] == "error"
        assert answer["message"] == answer["messege"] == error.detail
        assert "error" not in answer


def test_an_unknown_request_is_answered_as_clients_match_it() -> None:
    answer = refusal(JobNotFound("Request not found"))

    assert (answer["status"], answer["id"], answer["output"]) == ("failed", "", "")
    assert answer["message"] == "Request not found"


def test_version_six_has_its_own_meta_and_file_names() -> None:
    loras = (LoraUse(lora_id="cake", strength=0.45), LoraUse(lora_id="art", strength=1.0))
    job = make_job(dialect="v6", samples=2, loras=loras)

    answer = finished_body(job)

    meta, prefix = answer["meta"], job.spec.file_prefix
    assert set(DOCUMENTED_V6_META) <= set(meta)
    assert (meta["lora"], meta["lora_strength"], meta["clip_skip"]) == ("cake,art", "0.45,1", 1)
    assert meta["file_prefix"] == f"{prefix}.png"
    assert answer["output"] == [f"http://printworks.test/generations/{i}-{prefix}.png" for i in range(2)]


def test_what_really_ran_takes_the_place_of_what_was_asked_for() -> None:
    job = make_job(scheduler="DDIMInverseScheduler", prompt="a star")
    ran = Outcome(ran={"scheduler": "DDIMScheduler", "prompt": "a star, sharp"}, nsfw=True, tip="Mind this.")
    job = job.model_copy(update={"outcome": ran})

    answer = finished_body(job)

    assert answer["meta"]["scheduler"] == "DDIMScheduler"
    assert answer["meta"]["prompt"] == "a star, sharp"
    assert (answer["nsfw_content_detected"], answer["tip"]) == (True, "Mind this.")


def test_temporary_files_have_a_folder_of_their_own() -> None:
    assert make_job(temp=True).spec.file_names[0].startswith("temp/")


def test_a_base64_job_names_text_files() -> None:
    assert make_job(base64=True).spec.file_names[0].endswith("-0.base64")
