"""Every call of the package `modelslab_py`, unmodified: by its base URL alone it talks to this server.

It raises on any HTTP status but 200, so that what is not here has to be answered with that.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Coroutine
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tests.support.clients import (
    KEY,
    Servers,
    a_png,
    finished,
    imported,
    in_base64,
    public_calls,
    submodules,
)
from tests.support.outcomes import (
    MANAGED,
    SIDE,
    Outcome,
    Said,
    a_film,
    a_picture,
    a_result,
    details,
    no_such_endpoint,
    refused,
)

pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

Client = imported("modelslab_py.core.client").Client
BASE = imported("modelslab_py.core.apis.base").BaseAPI
submodules(imported("modelslab_py"))
CLASSES: dict[str, type] = {kind.__name__: kind for kind in BASE.__subclasses__()}

Expected = Outcome | type[Exception]
"""Of the answer; or what the client raises itself, before anything is sent."""

MANAGING = ("system_details", "restart", "update", "clear_cache", "clear_queue")
FAMILY: dict[str, Expected] = {
    "fetch": a_result,
    "system_details": details,
    "restart": MANAGED["restart_server"],
    "update": MANAGED["update_server"],
    "clear_cache": MANAGED["clear_cache"],
    "clear_queue": MANAGED["clear_queue"],
}
ENTERPRISE_ONLY: dict[str, Expected] = dict.fromkeys(MANAGING, ValueError)
COMMUNITY: dict[str, Expected] = {
    **dict.fromkeys(("text_to_image", "image_to_image", "inpainting", "controlnet"), a_picture),
    "z_image_turbo": refused("Model not found: z-image-turbo"),
    "flux_2_dev": refused("Model not found: flux-2-dev"),
}
REALTIME: dict[str, Expected] = dict.fromkeys(("text_to_image", "image_to_image", "inpainting"), a_picture)
OTHER_FILMS = ("image_to_video", "text_to_video_ultra", "image_to_video_ultra", "watermark_remover")
VIDEO: dict[str, Expected] = {
    "text_to_video": a_film,
    **dict.fromkeys(OTHER_FILMS, no_such_endpoint),
}
ELSEWHERE = {
    "Audio": (
        *("text_to_audio", "text_to_speech", "voice2voice", "voice_cover", "music_gen", "lyrics_gen"),
        *("song_generator", "speech_to_text", "sfx_gen"),
    ),
    "DeepFake": ("specific_face_swap", "multiple_face_swap", "multiple_video_swap", "single_video_swap"),
    "Image_editing": (
        *("outpainting", "background_remover", "super_resolution", "fashion", "object_remover", "facegen"),
        *("inpainting", "headshot", "flux_headshot", "qwen_edit", "caption"),
    ),
    "Interior": (
        *("interior", "room_decorator", "floor", "scenario", "exterior_restorer", "object_removal"),
        "interior_mixer",
    ),
    "Three_D": ("text_to_3d", "image_to_3d"),
}
"""What this server does not do."""
PAINTING_MODELS = {
    "BFLProvider": (
        *("flux_pro_1752000026", "flux_pro_11", "flux_pro_11_ultra", "flux_kontext_pro", "flux_2_pro"),
        "flux_2_pro_image_editing",
    ),
    "BytePlusProvider": (
        *("seedream_t2i", "seededit_i2i", "seedream_4", "seedream_4_i2i", "seedream_45", "seedream_45_i2i"),
    ),
    "GoogleProvider": (
        *("imagen_4", "imagen_3", "imagen_40_fast_generate", "imagen_40_ultra", "nano_banana_t2i"),
        *("nano_banana", "nano_banana_pro", "nano_banana_pro_image_edit"),
    ),
    "RunwayProvider": ("gen4_image", "gen4_image_turbo"),
}
"""Models that others keep, behind endpoints that are here."""
OTHER_MODELS = {
    "AlibabaProvider": ("wan25_i2v", "wan25_t2v"),
    "BytePlusProvider": (
        *("seedance_t2v", "seedance_i2v", "seedance_10_pro_i2v", "omni_human", "omni_human_15"),
        *("seedance_10_pro_fast_i2v", "seedance_10_pro_fast_t2v"),
    ),
    "ElevenLabsProvider": (
        *("scribe_v1", "eleven_multilingual_v2", "eleven_english_sts_v2", "eleven_sound_effect", "music_v1"),
    ),
    "InworldProvider": ("inworld_tts_1",),
    "KlingAIProvider": (
        *("kling_v21_i2v", "kling_v25_turbo_i2v", "kling_v25_turbo_t2v", "kling_v2_master_t2v"),
        *("kling_v2_master_i2v", "kling_v21_master_t2v", "kling_v21_master_i2v"),
    ),
    "MinimaxProvider": (
        *("hailuo_23_t2v", "hailuo_02_t2v", "hailuo_23_i2v", "hailuo_23_fast_i2v", "hailuo_02_i2v"),
        "hailuo_02_start_end_frame",
    ),
    "OpenAIProvider": ("sora_2",),
    "RunwayProvider": ("gen4_aleph",),
    "SonautoProvider": ("sonauto_song", "song_extender", "song_inpaint"),
    "SyncProvider": ("lipsync_2",),
}
PROVIDERS = sorted({*PAINTING_MODELS, *OTHER_MODELS})


def _described() -> dict[tuple[str, bool], dict[str, Expected]]:
    """By class, and whether it is made for an enterprise: what each call gets."""
    table: dict[tuple[str, bool], dict[str, Expected]] = {
        ("Community", True): COMMUNITY | FAMILY | {"qwen_text_to_image": no_such_endpoint},
        ("Community", False): COMMUNITY
        | ENTERPRISE_ONLY
        | {"fetch": a_result, "qwen_text_to_image": ValueError},
        ("Realtime", True): REALTIME | FAMILY,
        ("Realtime", False): REALTIME | ENTERPRISE_ONLY | {"fetch": a_result},
        ("Video", True): VIDEO | FAMILY,
        ("Video", False): VIDEO | ENTERPRISE_ONLY | {"fetch": a_result},
    }
    for name, calls in ELSEWHERE.items():
        nothing: dict[str, Expected] = dict.fromkeys((*calls, *FAMILY), no_such_endpoint)
        table |= {(name, True): nothing, (name, False): nothing | ENTERPRISE_ONLY}
    for name in PROVIDERS:
        table[name, False] = {
            **dict.fromkeys(PAINTING_MODELS.get(name, ()), refused("Model not found: ")),
            **dict.fromkeys(OTHER_MODELS.get(name, ()), no_such_endpoint),
            **ENTERPRISE_ONLY,
            "fetch": TypeError,  # it has no base URL
        }
    return table


DESCRIBED = _described()
PICTURE = in_base64(a_png())
SENT: dict[str, Any] = {
    **{"prompt": "a red circle", "model_id": "demo", "width": SIDE, "height": SIDE, "num_frames": 2},
    **{"num_inference_steps": 2, "init_image": PICTURE, "mask_image": PICTURE},
    **{"controlnet_model": "demo-canny", "controlnet_type": "canny", "lora_strength": 0.5},
}
CALLS = [(name, enterprise, call) for name, enterprise in DESCRIBED for call in public_calls(CLASSES[name])]


def filled(schema: type[BaseModel]) -> BaseModel:
    """With what is sent here, and anything where something is required."""
    fields = schema.model_fields.items()
    return schema(**{name: _value(name, field) for name, field in fields if _is_sent(name, field)})


def _is_sent(name: str, field: FieldInfo) -> bool:
    has_a_model_of_its_own = name == "model_id" and isinstance(field.default, str)
    return field.is_required() or (name in SENT and not has_a_model_of_its_own)


def _value(name: str, field: FieldInfo) -> object:
    accepts = TypeAdapter[Any](field.annotation or str)
    for value in (SENT.get(name, "1"), 1, [PICTURE], *get_args(field.annotation)):
        with contextlib.suppress(ValidationError):
            return accepts.validate_python(value)
    raise AssertionError(field)


def said_by(servers: Servers, name: str, enterprise: bool, call: str) -> Said:
    client = Client(api_key=KEY, fetch_retry=1, fetch_timeout=0)
    url = servers.for_call(call)
    client.base_url = f"{url}/api/"
    method = getattr(CLASSES[name](client=client, enterprise=enterprise), call)
    said = method(*_arguments(method, servers))
    if inspect.iscoroutine(said):
        said = asyncio.run(_awaited(client, said))
    return finished(said, url)


def _arguments(method: object, servers: Servers) -> list[object]:
    assert callable(method)
    parameters = inspect.signature(method).parameters
    if "id" in parameters:
        return [str(servers.done)]
    return [filled(parameters["schema"].annotation)] if "schema" in parameters else []


async def _awaited(client: Any, said: Coroutine[Any, Any, Said]) -> Said:
    async with client:
        return await said


def test_every_class_and_call_of_the_library_is_described() -> None:
    assert {name for name, _ in DESCRIBED} == set(CLASSES)
    for (name, _), calls in DESCRIBED.items():
        assert {call.removeprefix("async_") for call in public_calls(CLASSES[name])} == set(calls), name


@pytest.mark.parametrize(
    ("name", "enterprise", "call"),
    CALLS,
    ids=[f"{name}{'-enterprise' * enterprise}-{call}" for name, enterprise, call in CALLS],
)
def test_a_call_gets_its_answer(servers: Servers, name: str, enterprise: bool, call: str) -> None:
    expected = DESCRIBED[name, enterprise][call.removeprefix("async_")]

    if isinstance(expected, type):
        with pytest.raises(expected):
            said_by(servers, name, enterprise, call)
    else:
        expected(said_by(servers, name, enterprise, call))
