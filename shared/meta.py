"""The `meta` of an answer: facts about a job under the names, and in the order, that its endpoint documents.

What ran otherwise than it was asked for (`Outcome.ran`) replaces the fact of the same name.
"""

from collections.abc import Iterable

from shared.jobs import IP_ADAPTER_SCALE, Dialect, Kind, Outcome, PictureSpec, Role, Scalar

Facts = dict[str, Scalar]

WIRE_NAMES = {
    "W": "width",
    "H": "height",
    "steps": "num_inference_steps",
    "n_samples": "samples",
    "safetychecker": "safety_checker",
    "init_image": "init",
    "mask_image": "mask",
    "control_image": "control",
}
"""Names in `meta` whose fact is called otherwise here."""

_TEXT2IMG = (
    *("prompt", "model_id", "negative_prompt", "scheduler", "revision", "safetychecker", "W", "H"),
    *("enable_attention_slicing", "file_prefix", "guidance_scale", "seed", "steps", "n_samples", "upscale"),
    *("multi_lingual", "panorama", "self_attention", "embeddings", "lora", "outdir", "vae"),
)
_IMG2IMG = (
    *("prompt", "model_id", "scheduler", "safetychecker", "negative_prompt", "W", "H", "guidance_scale"),
    *("init_image", "steps", "n_samples", "strength", "multi_lingual", "full_url", "upscale", "seed"),
    *("outdir", "file_prefix"),
)
_INPAINT = (
    *("prompt", "model_id", "scheduler", "safetychecker", "negative_prompt", "W", "H", "guidance_scale"),
    *("init_image", "mask_image", "multi_lingual", "steps", "n_samples", "full_url", "upscale", "seed"),
    *("outdir", "file_prefix"),
)
_CONTROLNET = (
    *("prompt", "model_id", "controlnet_model", "controlnet_type", "negative_prompt", "scheduler"),
    *("safetychecker", "auto_hint", "guess_mode", "strength", "W", "H", "guidance_scale", "seed"),
    *("multi_lingual", "init_image", "mask_image", "steps", "full_url", "upscale", "n_samples"),
    *("embeddings", "lora", "outdir", "file_prefix"),
)
_V6 = (
    *("prompt", "model_id", "negative_prompt", "scheduler", "safety_checker", "W", "H", "guidance_scale"),
    *("seed", "steps", "n_samples", "full_url", "instant_response", "tomesd", "ip_adapter_id"),
    *("ip_adapter_scale", "ip_adapter_image", "free_u", "upscale", "multi_lingual", "panorama"),
    *("self_attention", "use_karras_sigmas", "algorithm_type", "safety_checker_type", "embeddings", "vae"),
    *("lora", "lora_strength", "clip_skip", "temp", "base64", "file_prefix"),
)
_FLUX = (
    *("base64", "clip_skip", "file_prefix", "guidance_scale", "height", "instant_response", "model_id"),
    *("n_samples", "negative_prompt", "num_inference_steps", "opacity", "output_type", "padding_down"),
    *("padding_right", "prompt", "rescale", "scale_down", "seed", "temp", "watermark", "width"),
)
_START = ("init_image", "strength")
_HOLE = ("init_image", "mask_image")
_HINT = (
    *("controlnet_model", "controlnet_type", "auto_hint", "guess_mode", "strength", "init_image"),
    *("mask_image",),
)
_ENTERPRISE = {
    Kind.TEXT2IMG: _TEXT2IMG,
    Kind.IMG2IMG: _IMG2IMG,
    Kind.INPAINT: _INPAINT,
    Kind.CONTROLNET: _CONTROLNET,
}
_ADDED = {Kind.TEXT2IMG: (), Kind.IMG2IMG: _START, Kind.INPAINT: _HOLE, Kind.CONTROLNET: _HINT}
DOCUMENTED: dict[tuple[Dialect, Kind], tuple[str, ...]] = {
    **{(Dialect.ENTERPRISE, kind): names for kind, names in _ENTERPRISE.items()},
    **{(Dialect.V6, kind): (*_V6, *names) for kind, names in _ADDED.items()},
    **{(Dialect.FLUX, kind): (*_FLUX, *names) for kind, names in _ADDED.items()},
}
_MORE = (
    *("enhance_prompt", "tomesd", "use_karras_sigmas", "algorithm_type", "safety_checker_type", "vae"),
    *("embeddings", "lora", "lora_strength", "clip_skip", "temp", "base64", "deterministic"),
)
MORE: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT2IMG: (*_MORE, "highres_fix", "self_attention_method", "upscaler"),
    Kind.IMG2IMG: (*_MORE, "ip_adapter_id", "ip_adapter_scale", "ip_adapter_image", "upscaler"),
    Kind.INPAINT: (*_MORE, "strength", "ip_adapter_id", "ip_adapter_scale", "ip_adapter_image", "upscaler"),
    Kind.CONTROLNET: (*_MORE, "controlnet_conditioning_scale", "control_image", "upscaler"),
}
"""What the pages take but their answers don't show, by the names of the newer ones."""
MORE_OF_FLUX = ("scheduler", "safety_checker", "true_cfg_scale")


def meta(spec: PictureSpec, outcome: Outcome) -> Facts:
    """What was asked for under the documented names, and what really ran once that is known."""
    facts = _facts(spec, outcome.revision) | outcome.ran
    more = MORE_OF_FLUX if spec.dialect is Dialect.FLUX else MORE[spec.kind]
    names = dict.fromkeys((*DOCUMENTED[spec.dialect, spec.kind], *more, *(("server",) if spec.home else ())))
    return {name: facts.get(WIRE_NAMES.get(name, name)) for name in names}


def _facts(spec: PictureSpec, revision: str) -> Facts:
    return {
        **_words_and_size(spec, revision),
        **_switches(spec),
        **_extras(spec),
        **_given_pictures(spec),
        **CONSTANTS,
        "server": spec.home,
        "file_prefix": f"{spec.file_prefix}.png" if spec.dialect is Dialect.V6 else spec.file_prefix,
    }


CONSTANTS: Facts = {
    "enable_attention_slicing": "false",
    "outdir": "out",
    "full_url": "no",
    "free_u": "no",
    "output_type": "png",
    # of a watermark, which is never drawn
    "watermark": "no",
    "opacity": 0.8,
    "padding_down": 10,
    "padding_right": 10,
    "rescale": "yes",
    "scale_down": 6,
}


def _words_and_size(spec: PictureSpec, revision: str) -> Facts:
    return {
        "prompt": spec.prompt,
        "negative_prompt": spec.negative_prompt or "",
        "model_id": spec.model_id,
        "revision": revision,
        "width": spec.width,
        "height": spec.height,
        "samples": spec.samples,
        "num_inference_steps": spec.steps,
        "guidance_scale": spec.guidance_scale,
        "true_cfg_scale": spec.true_cfg_scale,
        "seed": spec.seed,
        "scheduler": spec.scheduler,
        "algorithm_type": spec.algorithm_type or "no",
        "safety_checker_type": spec.safety_checker_type,
        "clip_skip": spec.clip_skip if spec.dialect is not Dialect.FLUX else None,
    }


def _switches(spec: PictureSpec) -> Facts:
    switches = {
        name: getattr(spec, name)
        for name in (
            *("safety_checker", "enhance_prompt", "multi_lingual", "panorama", "self_attention", "upscale"),
            *("tomesd", "use_karras_sigmas", "highres_fix", "temp", "base64", "deterministic"),
            "instant_response",
        )
    }
    return {name: yes(switch) for name, switch in switches.items()}


def _extras(spec: PictureSpec) -> Facts:
    return {
        "vae": spec.vae,
        "embeddings": _listed(spec.embeddings),
        "lora": _listed(use.lora_id for use in spec.loras),
        "lora_strength": _listed(f"{use.strength:g}" for use in spec.loras),
        "ip_adapter_id": spec.ip_adapter.adapter_id if spec.ip_adapter else None,
        "ip_adapter_scale": spec.ip_adapter.scale if spec.ip_adapter else IP_ADAPTER_SCALE,
    }


def _given_pictures(spec: PictureSpec) -> Facts:
    told: Facts = {str(role): spec.told(role) for role in Role}
    facts = told | {"ip_adapter_image": told[Role.IP_ADAPTER], "strength": spec.strength}
    if spec.hint is None:
        return facts
    return facts | {
        "controlnet_model": _listed(use.control_id for use in spec.hint.controls),
        "controlnet_type": _listed(use.hint_type for use in spec.hint.controls),
        "controlnet_conditioning_scale": _listed(f"{use.scale:g}" for use in spec.hint.controls),
        "auto_hint": yes(spec.hint.auto_hint),
        "guess_mode": yes(spec.hint.guess_mode),
    }


def yes(switch: bool) -> str:
    return "yes" if switch else "no"


def _listed(names: Iterable[str]) -> str | None:
    return ",".join(names) or None
