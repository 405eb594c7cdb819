"""The forms in which clients send things, and the sentences for what can't be read."""

from typing import Any

import pytest

from api.wire.requests import RequestId, Text2Img
from api.wire.sentences import parse
from shared.errors import BadRequest
from shared.jobs import LoraUse
from shared.schedulers import ALGORITHMS, DEFAULT_SCHEDULER, SCHEDULERS
from shared.settings import Settings
from tests.support.wire import terms


def body(**fields: Any) -> dict[str, Any]:
    return {"model_id": "demo", "prompt": "a red circle"} | fields


@pytest.mark.parametrize(
    ("field", "sent", "understood"),
    [
        ("width", "512", 512),
        ("width", 512, 512),
        ("width", 512.0, 512),
        ("width", " 256, ", 256),
        ("width", None, 512),
        ("width", "", 512),
        ("samples", "4", 4),
        ("num_inference_steps", "31", 31),
        ("guidance_scale", "7.5", 7.5),
        ("guidance_scale", 3, 3.0),
        ("seed", "123", 123),
        ("seed", 2**40, 2**40),
        ("base64", "yes", True),
        ("base64", "no", False),
        ("base64", True, True),
        ("base64", "FALSE", False),
        ("base64", 1, True),
        ("negative_prompt", "no", None),
        ("negative_prompt", "blurry", "blurry"),
        ("webhook", "", None),
        ("webhook", "none", None),
        ("scheduler", None, None),
        ("lora_model", "a,b", ("a", "b")),
        ("lora_model", " a , b, ", ("a", "b")),
        ("lora_model", "no", ()),
        ("lora_model", None, ()),
        ("lora_model", ["a", "b"], ("a", "b")),
        ("lora_strength", "0.45", (0.45,)),
        ("lora_strength", "0.45,", (0.45,)),
        ("lora_strength", 0.45, (0.45,)),
        ("lora_strength", None, ()),
        ("embeddings_model", "no", ()),
        ("embeddings_model", "x", ("x",)),
        ("vae", "none", None),
        ("clip_skip", "2", 2),
        ("safety_checker", False, False),
        ("tomesd", "yes", True),
        ("algorithm_type", "none", None),
        ("algorithm_type", "dpmsolver+++", "dpmsolver+++"),
        ("track_id", "no", "no"),
        ("track_id", "", ""),
        ("track_id", 12, 12),
        ("track_id", 1.5, 1.5),
        ("track_id", True, True),
        ("track_id", None, None),
    ],
)
def test_every_form_that_clients_send_is_understood(field: str, sent: Any, understood: Any) -> None:
    value = getattr(parse(Text2Img, body(**{field: sent})), field)

    assert value == understood
    assert type(value) is type(understood)


@pytest.mark.parametrize(
    ("field", "sent", "sentence"),
    [
        ("width", "wide", "width must be a whole number"),
        ("width", 100.5, "width must be a whole number"),
        ("width", True, "width must be a whole number"),
        ("width", "1e400", "width must be a whole number"),
        ("width", [512], "width must be a whole number"),
        ("width", 10**400, "width must be a whole number"),
        ("guidance_scale", 10**400, "guidance_scale must be a number"),
        ("track_id", 10**400, "track_id must be a number of ordinary size"),
        ("track_id", float("inf"), "track_id must be a number of ordinary size"),
        ("width", 0, "width must be between 64 and 1024"),
        ("height", 4096, "height must be between 64 and 1024"),
        ("height", 500, "height must be divisible by 8"),
        ("samples", 5, "samples must be between 1 and 4"),
        ("num_inference_steps", 51, "num_inference_steps must be between 1 and 50"),
        ("guidance_scale", 0.5, "guidance_scale must be between 1 and 20"),
        ("guidance_scale", "nan", "guidance_scale must be a number"),
        ("guidance_scale", {}, "guidance_scale must be a number"),
        ("base64", "maybe", "base64 must be yes or no"),
        ("prompt", 7, "prompt must be a string"),
        ("prompt", None, "prompt is required"),
        ("prompt", "x" * 10_001, "prompt must be at most 10000 characters"),
        ("model_id", None, "Model id not found: model_id is required"),
        ("scheduler", "Magic", f"scheduler must be one of {', '.join(SCHEDULERS)}"),
        ("clip_skip", 0, "clip_skip must be between 1 and 8"),
        ("clip_skip", 9, "clip_skip must be between 1 and 8"),
        ("lora_model", [1], "lora_model must be ids separated by commas"),
        ("lora_model", "a,a", "lora_model names the same model twice"),
        ("lora_model", ",".join("abcdefghijklmnopq"), "lora_model must hold at most 16 ids"),
        ("lora_strength", "strong", "lora_strength must be numbers separated by commas"),
        ("lora_strength", "0.05", "lora_strength must be between 0.1 and 1"),
        ("lora_strength", 1.5, "lora_strength must be between 0.1 and 1"),
        ("embeddings_model", {"a": 1}, "embeddings_model must be ids separated by commas"),
        ("vae", 7, "vae must be a string"),
        (
            "safety_checker_type",
            "cover",
            "safety_checker_type must be one of sensitive_content_text, blur, pixelate, black",
        ),
        (
            "algorithm_type",
            "euler",
            f"algorithm_type must be one of {', '.join(ALGORITHMS)}",
        ),
        *(
            (switch, "perhaps", f"{switch} must be yes or no")
            for switch in (
                *(
                    "safety_checker",
                    "enhance_prompt",
                    "multi_lingual",
                    "panorama",
                    "self_attention",
                    "upscale",
                ),
                *("tomesd", "use_karras_sigmas", "highres_fix", "temp", "deterministic", "instant_response"),
            )
        ),
        ("seed", -5, "seed must be between -1 and 9.22337e+18"),
    ],
)
def test_every_wrong_value_gets_a_sentence_that_says_what_to_send(
    field: str, sent: Any, sentence: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(Text2Img, body(**{field: sent}))

    assert caught.value.detail == sentence


def test_several_wrong_fields_get_a_sentence_each() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(Text2Img, body(samples=0, width="x"))

    assert caught.value.detail == "width must be a whole number; samples must be between 1 and 4"


def test_a_track_id_that_is_no_scalar_is_refused() -> None:
    with pytest.raises(BadRequest, match="track_id must be a string, a number, a boolean or null"):
        parse(Text2Img, body(track_id={"a": 1}))


def test_unknown_fields_are_ignored() -> None:
    parse(Text2Img, body(hologram="yes", safety_checker="no"))


def test_an_open_seed_is_drawn_and_a_given_one_is_kept() -> None:
    open_specs = [parse(Text2Img, body(seed=seed)).to_spec(terms()) for seed in (None, -1, "-1", None)]
    given = parse(Text2Img, body(seed="42")).to_spec(terms())

    assert len({spec.seed for spec in open_specs}) == 4
    assert given.seed == 42


def test_the_defaults_are_the_documented_ones() -> None:
    spec = parse(Text2Img, body()).to_spec(terms())

    assert (spec.width, spec.height, spec.samples, spec.steps) == (512, 512, 1, 21)
    assert (spec.guidance_scale, spec.scheduler, spec.clip_skip) == (7.5, DEFAULT_SCHEDULER, 1)
    assert (spec.webhook, spec.negative_prompt, spec.vae, spec.algorithm_type) == (None, None, None, None)
    assert (spec.loras, spec.embeddings) == ((), ())
    assert all((spec.safety_checker, spec.enhance_prompt, spec.tomesd, spec.use_karras_sigmas))
    assert spec.safety_checker_type == "sensitive_content_text"
    assert not any((spec.multi_lingual, spec.panorama, spec.self_attention, spec.upscale, spec.highres_fix))
    assert not any((spec.base64, spec.temp, spec.deterministic))


@pytest.mark.parametrize(
    ("strengths", "understood"),
    [
        (None, (1.0, 1.0)),
        ("0.5", (0.5, 0.5)),
        (0.5, (0.5, 0.5)),
        ("0.5,0.7", (0.5, 0.7)),
        ("0.5,", (0.5, 0.5)),
    ],
)
def test_one_strength_is_for_all_loras_and_several_are_one_for_each(
    strengths: object, understood: tuple[float, ...]
) -> None:
    spec = parse(Text2Img, body(lora_model="a,b", lora_strength=strengths)).to_spec(terms())

    assert spec.loras == tuple(
        LoraUse(lora_id=lora_id, strength=strength)
        for lora_id, strength in zip("ab", understood, strict=True)
    )


def test_more_strengths_than_loras_are_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        parse(Text2Img, body(lora_model="a,b", lora_strength="0.1,0.2,0.3"))

    assert caught.value.detail == (
        "lora_strength must hold one value, or one for each of the 2 models in lora_model"
    )


def test_the_settings_bound_the_size(settings_of_a_large_server: Settings) -> None:
    large = settings_of_a_large_server

    assert parse(Text2Img, body(width=2048, height=1536), large).width == 2048
    assert parse(Text2Img, body(width=4096, panorama="yes"), large).width == 4096
    for refused, sentence in (
        ({"width": 2056}, "width must be between 64 and 2048"),
        ({"height": 4096, "panorama": "yes"}, "height must be between 64 and 2048"),
        ({"width": 8192, "panorama": "yes"}, "width must be between 64 and 4096"),
    ):
        with pytest.raises(BadRequest, match=sentence):
            parse(Text2Img, body(**refused), large)


@pytest.fixture
def settings_of_a_large_server() -> Settings:
    return Settings(max_side=2048, max_panorama_width=4096)


@pytest.mark.parametrize("spelling", ["dpmsolver+++", "dpmsolver++"])
def test_the_protocols_spelling_of_the_algorithm_is_understood(spelling: str) -> None:
    assert parse(Text2Img, body(algorithm_type=spelling)).to_spec(terms()).algorithm_type == "dpmsolver++"


@pytest.mark.parametrize("sent", [7, "7", 7.0])
def test_a_request_id_may_be_a_number_or_a_string(sent: Any) -> None:
    assert parse(RequestId, {"request_id": sent}).request_id == 7
