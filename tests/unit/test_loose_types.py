"""The forms in which clients send things, and the sentences for what can't be read."""

from typing import Any

import pytest

from api.wire.requests import RequestId, Text2Img
from api.wire.sentences import parse
from shared.errors import BadRequest
from shared.schedulers import DEFAULT_SCHEDULER, SCHEDULERS


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
    open_specs = [parse(Text2Img, body(seed=seed)).to_spec("http://x") for seed in (None, -1, "-1", None)]
    given = parse(Text2Img, body(seed="42")).to_spec("http://x")

    assert len({spec.seed for spec in open_specs}) == 4
    assert given.seed == 42


def test_the_defaults_are_the_documented_ones() -> None:
    spec = parse(Text2Img, body()).to_spec("http://x")

    assert (spec.width, spec.height, spec.samples, spec.steps) == (512, 512, 1, 21)
    assert (spec.guidance_scale, spec.scheduler) == (7.5, DEFAULT_SCHEDULER)
    assert (spec.base64, spec.webhook, spec.negative_prompt) == (False, None, "")


@pytest.mark.parametrize("sent", [7, "7", 7.0])
def test_a_request_id_may_be_a_number_or_a_string(sent: Any) -> None:
    assert parse(RequestId, {"request_id": sent}).request_id == 7
