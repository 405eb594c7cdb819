"""What the bodies of the endpoints become, and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from api.wire.requests import (
    ControlNet,
    Enlarge,
    FluxImg2Img,
    FluxText2Img,
    Img2Img,
    Inpaint,
    JobBody,
    NsfwImageCheck,
    SuperResolution,
    Text2Img,
    Text2Video,
)
from api.wire.sentences import parse
from shared.errors import BadRequest
from shared.jobs import ControlUse, Dialect, IpAdapterUse, Kind, Role, Webhook
from shared.missing import NO_FACE_ENHANCER, NO_UPSCALER, NOTHING_TO_CHECK_WITH
from shared.settings import Settings
from tests.support.wire import here, terms

URL = "https://pictures.test/one.png"
WORDS = {"model_id": "demo", "prompt": "a red circle"}
SMALLEST: dict[type[JobBody], dict[str, Any]] = {
    Text2Img: WORDS,
    Img2Img: WORDS | {"init_image": URL},
    Inpaint: WORDS | {"init_image": URL, "mask_image": URL},
    ControlNet: WORDS | {"init_image": URL, "controlnet_model": "canny"},
    Text2Video: WORDS,
    SuperResolution: {"url": URL, "scale": 2},
    Enlarge: {"init_image": URL},
    NsfwImageCheck: {"init_image": URL},
    FluxText2Img: {"prompt": "a red circle"},
    FluxImg2Img: {"prompt": "a red circle", "init_image": URL},
}
"""What each endpoint needs at least."""


def refusal(kind: type[JobBody], body: dict[str, Any]) -> str:
    with pytest.raises(BadRequest) as refused:
        parse(kind, body)
    return refused.value.detail


@pytest.mark.parametrize("kind", SMALLEST, ids=lambda kind: kind.__name__)
def test_an_endpoint_takes_its_required_fields_and_no_less(kind: type[JobBody]) -> None:
    smallest = SMALLEST[kind]

    parse(kind, smallest).to_spec(terms())

    for field in smallest:
        left = {name: value for name, value in smallest.items() if name != field}
        if (kind, field) != (ControlNet, "init_image"):
            assert f"{field} is required" in refusal(kind, left)
    assert "control_image" in refusal(ControlNet, WORDS | {"controlnet_model": "canny"})


@pytest.mark.parametrize("kind", SMALLEST, ids=lambda kind: kind.__name__)
def test_every_job_carries_webhook_track_id_and_life(kind: type[JobBody]) -> None:
    extra = {"webhook": "https://hooks.test/", "track_id": 7, "temp": "yes", "instant_response": True}
    kept = Webhook(receiver="hooks.test", url="https://hooks.test/")

    wanted = parse(kind, SMALLEST[kind] | extra)
    spec = wanted.to_spec(replace(terms(), webhook=kept))

    assert (wanted.webhook, spec.webhook) == (kept.url, kept)
    assert (spec.track_id, spec.temp, spec.instant_response) == (7, True, True)
    assert all(name.startswith("temp/") for name in spec.file_names)
    assert spec.cost >= 1


def test_a_pictures_field_may_hold_a_list_of_one() -> None:
    wanted = parse(Img2Img, WORDS | {"init_image": [URL]})

    assert wanted.pictures[Role.INIT].value == URL
    assert "one picture" in refusal(Img2Img, WORDS | {"init_image": [URL, URL]})
    assert "URL" in refusal(Img2Img, WORDS | {"init_image": 7})


def test_all_pictures_of_a_request_are_told_by_role_and_field() -> None:
    wanted = parse(
        Inpaint,
        SMALLEST[Inpaint] | {"ip_adapter_id": "ip-adapter_sd15", "ip_adapter_image": URL},
    )

    assert {role: picture.field for role, picture in wanted.pictures.items()} == {
        Role.INIT: "init_image",
        Role.MASK: "mask_image",
        Role.IP_ADAPTER: "ip_adapter_image",
    }


def test_an_ip_adapter_needs_its_picture_and_a_picture_its_adapter() -> None:
    start = SMALLEST[Img2Img]

    assert "ip_adapter_image is required" in refusal(Img2Img, start | {"ip_adapter_id": "ip-adapter_sd15"})
    assert "ip_adapter_id is required" in refusal(Img2Img, start | {"ip_adapter_image": URL})
    assert "ip-adapter_sdxl" in refusal(Img2Img, start | {"ip_adapter_id": "other", "ip_adapter_image": URL})


def test_an_ip_adapter_acts_at_six_tenths_unless_it_is_told() -> None:
    adapter = {"ip_adapter_id": "ip-adapter_sdxl", "ip_adapter_image": URL}

    usual = parse(Img2Img, SMALLEST[Img2Img] | adapter).to_spec(terms())
    told = parse(Img2Img, SMALLEST[Img2Img] | adapter | {"ip_adapter_scale": "0.2"}).to_spec(terms())

    assert usual.ip_adapter == IpAdapterUse(adapter_id="ip-adapter_sdxl", scale=0.6)
    assert told.ip_adapter == IpAdapterUse(adapter_id="ip-adapter_sdxl", scale=0.2)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"controlnet_model": "canny"}, [("canny", "canny", 1.0)]),
        ({"controlnet_model": "mine", "controlnet_type": "depth"}, [("mine", "depth", 1.0)]),
        (
            {
                "controlnet_model": "a,b",
                "controlnet_type": "canny,depth",
                "controlnet_conditioning_scale": 0.5,
            },
            [("a", "canny", 0.5), ("b", "depth", 0.5)],
        ),
        (
            {
                "controlnet_model": "a,b",
                "controlnet_type": "canny",
                "controlnet_conditioning_scale": "0.5,1.5",
            },
            [("a", "canny", 0.5), ("b", "canny", 1.5)],
        ),
    ],
    ids=["type by id", "own id", "one scale for both", "one type for both"],
)
def test_lists_of_controlnets_are_matched(
    fields: dict[str, Any], expected: list[tuple[str, str, float]]
) -> None:
    spec = parse(ControlNet, WORDS | {"init_image": URL} | fields).to_spec(terms())

    assert spec.hint is not None
    assert spec.hint.controls == tuple(
        ControlUse(control_id=control_id, hint_type=hint_type, scale=scale)
        for control_id, hint_type, scale in expected
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"controlnet_model": "a,b", "controlnet_type": "canny,depth,hed"}, "one for each of the 2"),
        ({"controlnet_model": "a,b,c", "controlnet_conditioning_scale": "1,2"}, "one for each of the 3"),
        ({"controlnet_model": "a,a"}, "twice"),
        ({"controlnet_type": "hologram"}, "must be of"),
        ({"controlnet_conditioning_scale": 21}, "between 0 and 20"),
        ({"controlnet_type": "inpaint"}, "mask_image is required"),
        ({"controlnet_model": "mine", "auto_hint": "yes"}, "controlnet_type must be of"),
        ({"init_image": None, "control_image": URL, "mask_image": URL}, "init_image is required"),
        ({"strength": 1.5}, "strength must be between 0 and 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_controlnet_request_that_makes_no_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(ControlNet, SMALLEST[ControlNet] | fields)


@pytest.mark.parametrize(
    ("dialect", "sent", "expected"),
    [
        (Dialect.ENTERPRISE, {}, False),
        (Dialect.V6, {}, True),
        (Dialect.V6, {"auto_hint": "no"}, False),
        (Dialect.ENTERPRISE, {"auto_hint": "yes", "controlnet_type": "canny"}, True),
    ],
)
def test_the_hint_is_made_by_default_on_the_newer_routes_only(
    dialect: Dialect, sent: dict[str, Any], expected: bool
) -> None:
    spec = parse(ControlNet, SMALLEST[ControlNet] | sent).to_spec(terms(dialect))

    assert spec.hint is not None
    assert spec.hint.auto_hint is expected


def test_steps_is_another_name_for_num_inference_steps() -> None:
    assert parse(Inpaint, SMALLEST[Inpaint] | {"steps": "31"}).num_inference_steps == 31
    both = SMALLEST[Inpaint] | {"steps": "31", "num_inference_steps": 21}
    assert parse(Inpaint, both).num_inference_steps == 21


def test_flux_has_defaults_of_its_own_and_heeds_the_negative_prompt() -> None:
    plain = parse(FluxText2Img, SMALLEST[FluxText2Img]).to_spec(terms(Dialect.FLUX))
    negative = parse(FluxText2Img, SMALLEST[FluxText2Img] | {"negative_prompt": "bad"}).to_spec(
        terms(Dialect.FLUX)
    )

    assert (plain.model_id, plain.steps, plain.guidance_scale) == ("flux", 10, 3.5)
    assert (plain.true_cfg_scale, negative.true_cfg_scale) == (1.0, 2.0)
    assert plain.enhance_prompt is False
    assert plain.file_names[0].startswith("temp/")


def test_a_video_has_as_many_frames_as_are_asked_for_within_the_servers_limit() -> None:
    spec = parse(Text2Video, WORDS | {"num_frames": "24", "fps": 12}).to_spec(terms())

    assert (spec.kind, spec.frames, spec.fps, spec.suffix) == (Kind.TEXT2VIDEO, 24, 12, "mp4")
    assert "num_frames must be between 1 and 64" in refusal(Text2Video, WORDS | {"num_frames": 65})
    small = WORDS | {"width": 128, "height": 128}
    assert parse(Text2Video, small | {"num_frames": 65}, Settings(max_frames=80)).num_frames == 65


def test_the_scale_is_bounded_by_what_the_endpoint_documents() -> None:
    assert "scale must be between 1 and 4" in refusal(SuperResolution, {"url": URL, "scale": 5})
    assert "scale must be between 1 and 8" in refusal(Enlarge, {"init_image": URL, "scale": 9})
    assert parse(Enlarge, {"init_image": URL}).scale == 2


def test_what_is_not_installed_is_said() -> None:
    bare = here(upscalers={})

    assert parse(SuperResolution, SMALLEST[SuperResolution]).missing(bare) == NO_UPSCALER
    faces = SMALLEST[SuperResolution] | {"face_enhance": True}
    assert parse(SuperResolution, faces).missing(bare) == NO_FACE_ENHANCER
    assert parse(NsfwImageCheck, SMALLEST[NsfwImageCheck]).missing(bare) == NOTHING_TO_CHECK_WITH


def test_an_upscaler_that_nobody_names_is_the_servers_own() -> None:
    spec = parse(SuperResolution, SMALLEST[SuperResolution]).to_spec(terms())

    assert spec.model_id == "demo-swin2sr"


def test_who_sends_the_documented_upscaler_gets_the_servers_own() -> None:
    wanted = parse(SuperResolution, SMALLEST[SuperResolution] | {"model_id": "realesr-general-x4v3"})

    assert wanted.to_spec(terms()).model_id == "demo-swin2sr"
    assert [need.ids for need in wanted.needed(here())] == [("demo-swin2sr",)]
    other = parse(SuperResolution, SMALLEST[SuperResolution] | {"model_id": "x"})
    assert [need.ids for need in other.needed(here())] == [("x",)]


@pytest.mark.parametrize("nothing", [[""], [], [None], "no", " "], ids=repr)
def test_a_picture_that_is_required_cannot_be_nothing(nothing: object) -> None:
    assert "init_image" in refusal(Img2Img, SMALLEST[Img2Img] | {"init_image": nothing})
    optional = SMALLEST[ControlNet] | {"control_image": nothing}
    assert Role.CONTROL not in parse(ControlNet, optional).pictures


def test_an_empty_field_leaves_its_other_spelling_to_speak() -> None:
    assert (
        parse(Inpaint, SMALLEST[Inpaint] | {"steps": "31", "num_inference_steps": None}).num_inference_steps
        == 31
    )
    assert parse(SuperResolution, {"url": None, "init_image": URL, "scale": 2}).url == URL


def test_a_number_without_an_upper_bound_is_refused_with_its_lower_one() -> None:
    assert refusal(Text2Video, WORDS | {"num_frames": 0}) == "num_frames must be at least 1"


def test_what_comes_back_has_a_length_limit() -> None:
    assert "at most 1000 characters" in refusal(Text2Img, WORDS | {"track_id": "x" * 1001})
    long = "https://pictures.test/" + "x" * 9000
    assert "at most 8192 characters" in refusal(Img2Img, WORDS | {"init_image": long})


@pytest.mark.parametrize(("dialect", "is_refused"), [(Dialect.ENTERPRISE, False), (Dialect.V6, True)])
def test_a_hint_that_nobody_can_make_is_refused_where_it_would_be_made(
    dialect: Dialect, is_refused: bool
) -> None:
    wanted = parse(ControlNet, SMALLEST[ControlNet] | {"controlnet_type": "depth"})

    missing = wanted.missing(here(dialect))

    assert (missing is not None) is is_refused


def test_a_video_has_a_bounded_number_of_pixels() -> None:
    large = WORDS | {"width": 1024, "height": 1024}

    assert parse(Text2Video, large | {"num_frames": 8}).num_frames == 8
    assert "num_frames must be at most 8 at this size" in refusal(Text2Video, large | {"num_frames": 9})
