"""The wire's answers, key by key."""

import json

import pytest

from api.wire.answers import fetch_answer, generation_answer, refusal
from shared.answers import finished_body, webhook_body
from shared.errors import BadRequest, InvalidKey, JobNotFound, PrintworksError
from shared.jobs import (
    CheckSpec,
    ControlUse,
    Dialect,
    EnlargementSpec,
    FilmSpec,
    HintUse,
    InputPicture,
    Job,
    JobSpec,
    JobState,
    Kind,
    LoraUse,
    Outcome,
    Role,
)
from tests.support import documented
from tests.support.jobs import make_spec


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
    assert set(documented.TEXT2IMG_META) <= set(answer["meta"])
    assert [name for name in answer["meta"] if name in documented.TEXT2IMG_META] == documented.TEXT2IMG_META


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
    assert set(documented.V6_META) <= set(meta)
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


INPUTS = {
    role: InputPicture(name=f"x-{role}", told=f"http://pictures.test/{role}.png", width=8, height=8)
    for role in Role
}
HINT = HintUse(controls=(ControlUse(control_id="mine", hint_type="canny", scale=0.5),), auto_hint=True)


@pytest.mark.parametrize(
    ("dialect", "kind", "keys"),
    [
        (Dialect.ENTERPRISE, Kind.TEXT2IMG, documented.TEXT2IMG_META),
        (Dialect.ENTERPRISE, Kind.IMG2IMG, documented.IMG2IMG_META),
        (Dialect.ENTERPRISE, Kind.INPAINT, documented.INPAINT_META),
        (Dialect.ENTERPRISE, Kind.CONTROLNET, documented.CONTROLNET_META),
        (Dialect.V6, Kind.TEXT2IMG, documented.V6_META),
        (Dialect.V6, Kind.IMG2IMG, [*documented.V6_META, "init_image", "strength"]),
        (Dialect.V6, Kind.INPAINT, [*documented.V6_META, "init_image", "mask_image"]),
        (Dialect.V6, Kind.CONTROLNET, [*documented.V6_META, "controlnet_model", "controlnet_type"]),
        (Dialect.FLUX, Kind.TEXT2IMG, documented.FLUX_META),
        (Dialect.FLUX, Kind.IMG2IMG, [*documented.FLUX_META, "init_image", "strength"]),
    ],
)
def test_the_meta_of_each_endpoint_has_the_documented_keys_in_their_order(
    dialect: Dialect, kind: Kind, keys: list[str]
) -> None:
    hint = HINT if kind is Kind.CONTROLNET else None
    job = make_job(dialect=dialect, kind=kind, inputs=INPUTS, strength=0.7, hint=hint)

    meta = finished_body(job)["meta"]

    assert [name for name in meta if name in keys] == keys
    assert meta["seed"] == 7
    for name in {"init_image", "mask_image"} & set(keys):
        assert meta[name] == f"http://pictures.test/{name.removesuffix('_image')}.png"
    assert meta.get("controlnet_model") == ("mine" if kind is Kind.CONTROLNET else None)
    assert meta.get("width", meta.get("W")) == 64


def finished(spec: JobSpec, **outcome: object) -> dict[str, object]:
    job = {"id": 7, "tenant": "t", "state": "succeeded", "spec": spec.model_dump(), "outcome": outcome}
    return finished_body(Job.model_validate(job))


PLACE = {"file_prefix": "prefix", "public_url": "http://printworks.test", "model_id": "m"}


def test_a_video_is_answered_without_meta() -> None:
    spec = FilmSpec(
        **PLACE,
        prompt="a star",
        width=64,
        height=64,
        frames=8,
        fps=8,
        steps=2,
        guidance_scale=7.5,
        scheduler="DDIMScheduler",
        seed=3,
    )

    answer = finished(spec, generation_time_s=8.9)

    assert {"status", "generationTime", "id", "output", "seed"} <= set(answer)
    assert "meta" not in answer
    assert answer["output"] == ["http://printworks.test/generations/prefix-0.mp4"]


def test_an_enlarged_picture_is_answered_with_one_url_that_is_no_list() -> None:
    answer = finished(EnlargementSpec(**PLACE, scale=2))

    assert answer["output"] == "http://printworks.test/generations/prefix-0.png"
    assert "meta" not in answer


@pytest.mark.parametrize("flag", [True, False])
def test_a_checked_picture_is_answered_without_status_only_in_line(flag: bool) -> None:
    spec = CheckSpec(**PLACE, inputs={Role.INIT: INPUTS[Role.INIT]})
    seen = {"images": "http://pictures.test/init.png", "has_nsfw_concept": [flag]}
    record = {
        "id": 7,
        "tenant": "t",
        "state": "succeeded",
        "spec": spec.model_dump(),
        "outcome": {"nsfw": flag},
    }
    job = Job.model_validate(record)

    assert generation_answer(job, "http://x/fetch/7") == seen
    assert fetch_answer(job) == {"status": "success", "id": 7, "output": [], **seen}
