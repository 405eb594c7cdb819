"""Every call of the package `modelslab`, unmodified: by its base URL alone it talks to this server.

It hands out whatever text the server answers. Where it has bugs of its own, that text must still be clear.
"""

import inspect
import json
from typing import Any

import pytest

from tests.support.clients import (
    KEY,
    ROOT,
    Servers,
    a_png,
    finished,
    imported,
    in_base64,
    public_calls,
)
from tests.support.outcomes import (
    ABOUT_MODELS,
    MANAGED,
    SIDE,
    Outcome,
    Said,
    a_check,
    a_film,
    a_picture,
    a_result,
    a_sentence,
    an_upload,
    no_such_endpoint,
    refused,
    succeeds,
)

LIBRARY = imported("modelslab")
CLASSES: dict[str, type] = {
    name: getattr(LIBRARY, name) for name in LIBRARY.__all__ if public_calls(getattr(LIBRARY, name))
}
MAKER = "https://modelslab.com"

Expected = Outcome | type[Exception]
"""Of the answer; or what the client raises itself, before anything is sent."""

MANAGED_FAMILY = {name: MANAGED[name] for name in MANAGED if name != "clear_queue"}
DESCRIBED: dict[str, dict[str, Expected]] = {
    "EPTxt2Img": {
        **MANAGED_FAMILY,
        **{name: ABOUT_MODELS[name] for name in ("schedulers_list", "verify_model", "get_all_models")},
        **{name: ABOUT_MODELS[name] for name in ("delete_model", "sync_models", "load_vae")},
        "load_model": a_sentence,  # it sends the endpoint's own URL as the model's
        "load_model_v2": a_sentence,  # the same
        "super_resolution": refused("url: the file is JSON; send a PNG"),  # the same
        "controlnet": NameError,  # it sends fields that it does not take
        "inpaint": a_picture,
        "upload_image": an_upload,
        "nsfw_image_check": a_check,
        "fetch_queued": a_result,
    },
    "EPGeneral": {"update_s3": ABOUT_MODELS["update_s3"]},
    "EPRealtime": {
        **MANAGED_FAMILY,
        **dict.fromkeys(("text2img", "img2img", "inpaint"), a_picture),
        "fetch_queued": a_result,
    },
    "EPVideo": {
        **MANAGED_FAMILY,
        **dict.fromkeys(("img2video", "video2video", "open_sora", "scene_creator"), no_such_endpoint),
        "txt2video": a_film,
        "fetch_queued": a_result,
    },
    "CommunityModels": {
        **dict.fromkeys(("txt2img", "lora", "lora_multi", "img2img", "inpaint"), a_picture),
        "reload_model": succeeds("Model is reloaded when it is used next"),
        "fetch_queued": a_result,
    },
    "ControlNet": dict.fromkeys(("controlnet_main", "controlnet_multi"), a_picture),
    "AIVideo": {
        **dict.fromkeys(MANAGED_FAMILY, no_such_endpoint),
        **dict.fromkeys(("open_sora", "scene_creator", "img2video"), no_such_endpoint),
        "text2video": a_film,
        "fetch_queued": a_result,
    },
}
ELSEWHERE = {
    "AIChatLLM": ("chat", "get_chat", "get_queued_response", "uncensored_chat"),
    "AIVoiceAndAudio": (
        *("text_to_audio", "voice_to_voice", "fetch_queued", "voice_cover", "voice_upload", "music_gen"),
    ),
    "Deepfake": (
        *("single_face_swap", "multiple_face_swap", "single_video_swap", "specific_video_swap"),
        "fetch_queued",
    ),
    "EPImageEdit": (
        *("outpaint", "blip_diffusion", "magic_mix", "removebg_mask", "multi_view", "fashion", "face_gen"),
        *("head_shot", "relighting", "fetched_queue", *MANAGED_FAMILY),
    ),
    "EPVoiceCloning": (
        *("text_to_audio", "voice_to_voice", "voice_cover", "voice_upload", "music_gen", "fetch_queued"),
        *MANAGED_FAMILY,
    ),
    "ImageEditing": (
        *("super_resolution", "outpaint", "magic_mix", "depth2img", "img_mixer", "pix2pix", "removebg"),
        *("mixture_canvas", "multiview", "fashion", "img_to_text", "face_gen", "head_shot", "inf_edit"),
        *("inpaint", "relight", "fetch"),
    ),
    "Miscs": (
        *("base64_crop", "delete_image", "finetune_list", "dreambooth_model_list", "clear_cache"),
        *("buy_dreambooth_model", "buy_subscription", "cancel_subscription", "nsfw_image_check"),
        *("load_model", "interior"),
    ),
    "TextTo3D": ("txt_to_3d", "img_to_3d"),
    "TrainModel": (
        *("lora_training", "fetch_queued", "finetune_list", "delete_training", "cancel_training"),
        "base64_crop",
    ),
}
"""What this server does not do, or not under that name."""
DESCRIBED |= {name: dict.fromkeys(calls, no_such_endpoint) for name, calls in ELSEWHERE.items()}

PICTURE = in_base64(a_png())
SENT: dict[str, Any] = {
    **{"key": KEY, "model_id": "demo", "prompt": "a red circle", "negative_prompt": None, "seed": None},
    **{"width": str(SIDE), "height": str(SIDE), "samples": "1", "num_inference_steps": "2", "steps": "2"},
    **{"init_image": PICTURE, "mask_image": PICTURE, "base64_image": PICTURE, "image_type": "png"},
    **{"guidance_scale": 7.5, "strength": 0.7, "scheduler": "UniPCMultistepScheduler", "num_frames": 2},
    **dict.fromkeys(("safety_checker", "enhance_prompt", "multi_lingual", "panorama", "upscale"), "no"),
    **dict.fromkeys(("self_attention", "tomesd", "use_karras_sigmas", "auto_hint", "guess_mode"), "yes"),
    **dict.fromkeys(("embeddings_model", "lora_model", "lora_strength", "vae"), None),
    **{"controlnet_model": "demo-canny", "controlnet_type": "canny", "webhook": None, "track_id": None},
    **{"face_enhance": False, "scale": 3, "revision": "fp32"},
    **{"model_type": "custom_ckpt", "from_safetensors": "yes", "upcast_attention": "no"},
    **{"model_category": "stable_diffusion", "model_format": "safetensors"},
    **{"vae_id": "a-vae", "vae_url": "https://example.com/vae.safetensors", "vae_type": "safetensors"},
}
"""By parameter, whichever call it belongs to."""
SENT_BY = {
    "lora": {"lora_model": "demo-floor", "lora_strength": "0.45"},
    "lora_multi": {"lora_model": "demo-floor,demo-frame", "lora_strength": "0.45,0.5"},
    "delete_model": {"model_id": "never-loaded"},
}
IDS = ("id", "request_id", "fetch_id")
CALLS = [(name, call) for name in DESCRIBED for call in public_calls(CLASSES[name])]


def said_by(servers: Servers, name: str, call: str, base: str) -> Said:
    """`base`: instead of the path that the class has for its endpoints."""
    client, url = CLASSES[name](), servers.for_call(call)
    for address, value in vars(client).items():
        if isinstance(value, str) and value.startswith(MAKER):
            setattr(client, address, f"{url}{base}" if base else value.replace(MAKER, url))
    said: Said = json.loads(getattr(client, call)(**_arguments(servers, getattr(client, call), call)))
    return finished(said, url)


def _arguments(servers: Servers, method: object, call: str) -> dict[str, object]:
    assert callable(method)
    sent = {**SENT, **servers.bucket, **dict.fromkeys(IDS, servers.done), **SENT_BY.get(call, {})}
    parameters = inspect.signature(method).parameters.values()
    required = {parameter.name: "1" for parameter in parameters if parameter.default is parameter.empty}
    return required | {
        name: sent[name] for name in (parameter.name for parameter in parameters) if name in sent
    }


def _is_right(servers: Servers, name: str, call: str, base: str = "") -> None:
    expected = DESCRIBED[name][call]
    if isinstance(expected, type):
        with pytest.raises(expected):
            said_by(servers, name, call, base)
    else:
        expected(said_by(servers, name, call, base))


def test_every_class_and_call_of_the_library_is_described() -> None:
    assert set(DESCRIBED) == set(CLASSES)
    for name, calls in DESCRIBED.items():
        assert set(public_calls(CLASSES[name])) == set(calls), name


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[f"{name}-{call}" for name, call in CALLS])
def test_a_call_gets_its_answer(servers: Servers, name: str, call: str) -> None:
    _is_right(servers, name, call)


@pytest.mark.parametrize("call", DESCRIBED["EPTxt2Img"])
def test_an_enterprise_call_gets_it_under_the_documented_path_too(servers: Servers, call: str) -> None:
    _is_right(servers, "EPTxt2Img", call, ROOT)
