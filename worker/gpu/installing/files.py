"""Tells by its weights' names and shapes what a single file holds, in all the formats that people share."""

import re

from diffusers.loaders.single_file_utils import infer_diffusers_model_type

from shared.errors import GenerationFailed
from shared.registry import ModelKind
from worker.gpu.installing.contents import Contents, Shape
from worker.gpu.installing.found import BY_WORDS_WIDTH, FLUX, SD1, SD2, SDXL, WAN, Found

UNET, TRANSFORMER = "model.diffusion_model.input_blocks.", "double_blocks."
LDM = "model.diffusion_model."
XL_WORDS, XL_REFINER = "conditioner.embedders.1.", "conditioner.embedders.0.model."
OPEN_CLIP, CLIP = "cond_stage_model.model.", "cond_stage_model.transformer."
RUNNABLE = {
    *("v1", "v2", "inpainting", "inpainting_v2", "xl_base", "xl_inpaint", "playground-v2-5"),
    *("flux-dev", "flux-schnell"),
}
"""What of diffusers' model types is drawn with here."""
_OTHERS = (".double_stream_modulation", "distilled_guidance_layer.", "txt_in.individual_token_refiner.")
"""Names in models that have Flux's blocks, and are none."""

_LORA = re.compile(
    r"\.lora_(?:down|up|A|B)\.|_lora\.(?:down|up)\.|\.lora\.(?:down|up)\.|\.lora_linear_layer\.(?:down|up)\."
)
_WORDS_DOWN = re.compile(r"attn2.*to_k.*(?:down|lora_A)")
_LYCORIS = (".hada_w1_a", ".lokr_w1", ".oft_diag", ".oft_blocks", ".glora_")
_LORA_BASES = {"sd_v1": SD1, "sd_v2": SD2, "sdxl": SDXL, "flux1": FLUX, "stable-diffusion-xl": SDXL}
"""By what trainers write beside the weights."""
_QUANTISED = (".scale_weight", ".weight_scale", "scaled_fp8", ".absmax", ".quant_map", ".qweight")
_CONTROL_HINT = ("controlnet_cond_embedding.", "input_hint_block.", "control_model.input_hint_block.")
_CONTROL_UNION = ("task_embedding", "control_add_embedding.", "control_model.task_embedding")
_VAE_NAMES = ("encoder.conv_in.weight", "decoder.conv_in.weight")
VAE_PREFIXES = ("first_stage_model.", "vae.")
"""What a VAE's names begin with in a file that holds more; in one of its own often nothing."""
_EMBEDDING_NAMES = ({"emb_params"}, {"clip_l", "clip_g"})
_MOST_VECTORS = 512

NOT_KNOWN = "it is no kind of model that is known here: send another one"


def recognise_file(contents: Contents, wanted: ModelKind) -> Found:
    """`wanted` decides only where nothing else can tell. Raises `GenerationFailed` for what can't be used."""
    if any(name.endswith(_QUANTISED) for name in contents.shapes):
        raise GenerationFailed("its weights are quantised: send the model in fp16, bf16 or fp32")
    for recognise in (_adapter, _lora, _controlnet, _checkpoint, _vae, _embedding):
        if found := recognise(contents):
            return found
    if wanted is ModelKind.UPSCALER and _sees_pictures(contents):
        return Found((ModelKind.UPSCALER,))
    raise GenerationFailed(NOT_KNOWN)


def _adapter(contents: Contents) -> Found | None:
    if not (contents.has("image_proj.") and contents.has("ip_adapter.")):
        return None
    return Found((ModelKind.IP_ADAPTER,), BY_WORDS_WIDTH.get(_width(contents, "to_k_ip.weight"), ""))


def _lora(contents: Contents) -> Found | None:
    if contents.has_inside(*_LYCORIS):
        raise GenerationFailed("it is a LyCORIS model, which can't be used here: send a LoRA")
    if not any(_LORA.search(name) for name in contents.shapes):
        return None
    if contents.has("lora_controlnet"):
        raise GenerationFailed("it is a control-LoRA, which can't be used here: send a whole ControlNet")
    return Found((ModelKind.LORA,), _lora_family(contents))


def _lora_family(contents: Contents) -> str:
    metadata = contents.metadata
    base = metadata.get("ss_base_model_version") or metadata.get("modelspec.architecture") or ""
    for start, family in _LORA_BASES.items():
        if base.startswith(start):
            return family
    if contents.has_inside("double_blocks", "single_blocks", "single_transformer_blocks"):
        return FLUX
    if contents.has_inside("diffusion_model.blocks.0.", "lora_unet_blocks_0_"):
        return WAN
    if contents.has("lora_te1_", "lora_te2_", "text_encoder_2."):
        return SDXL
    return BY_WORDS_WIDTH.get(_columns(contents.first(lambda name: bool(_WORDS_DOWN.search(name)))), "")


def _embedding(contents: Contents) -> Found | None:
    names, shapes = set(contents.shapes), [*contents.shapes.values()]
    is_single = len(names) == 1 and len(shapes[0]) in (1, 2)
    if not (is_single or names in _EMBEDDING_NAMES):
        return None
    if any(len(shape) == 2 and shape[0] > _MOST_VECTORS for shape in shapes):
        return None
    family = SDXL if len(names) > 1 else BY_WORDS_WIDTH.get(shapes[0][-1], "")
    return Found((ModelKind.EMBEDDING,), family)


def _controlnet(contents: Contents) -> Found | None:
    if not contents.has(*_CONTROL_HINT):
        return None
    if contents.has(*_CONTROL_UNION):
        raise GenerationFailed("it is a ControlNet for several types at once: send one for a single type")
    if not contents.has("controlnet_down_blocks.", "control_model.zero_convs.", "zero_convs."):
        raise GenerationFailed("it is only a part of a ControlNet: send a whole one")
    if contents.has("add_embedding."):
        return Found((ModelKind.CONTROLNET,), SDXL)
    return Found((ModelKind.CONTROLNET,), BY_WORDS_WIDTH.get(_width(contents, "attn2.to_k.weight"), ""))


def _checkpoint(contents: Contents) -> Found | None:
    is_flux = contents.has(TRANSFORMER, LDM + TRANSFORMER)
    if not (is_flux or contents.has(UNET)):
        if contents.has(LDM):
            raise _not_run(_type(contents))
        return None
    model_type = _type(contents)
    if model_type not in RUNNABLE or contents.has(XL_REFINER) or contents.has_inside(*_OTHERS):
        raise _not_run(model_type)
    family = FLUX if is_flux else _sd_family(contents)
    # a motion adapter makes it a video model
    kinds = (ModelKind.CHECKPOINT, *((ModelKind.VIDEO,) if family == SD1 else ()))
    return Found(kinds, family)


def _sd_family(contents: Contents) -> str:
    for prefix, family in ((XL_WORDS, SDXL), (OPEN_CLIP, SD2), (CLIP, SD1)):
        if contents.has(prefix):
            return family
    return BY_WORDS_WIDTH.get(_width(contents, "attn2.to_k.weight"), "")


def _type(contents: Contents) -> str:
    """As diffusers tells it."""
    return str(infer_diffusers_model_type(contents.outline))


def _not_run(model_type: str) -> GenerationFailed:
    what = "model of a kind" if model_type == "v1" else f"{model_type} model"
    return GenerationFailed(
        f"it is a {what} that this server can't run: send one of Stable Diffusion 1.x, 2.x, SDXL or Flux"
    )


def _vae(contents: Contents) -> Found | None:
    for prefix in ("", *VAE_PREFIXES):
        if all(prefix + name in contents.shapes for name in _VAE_NAMES):
            if len(contents.shapes[prefix + _VAE_NAMES[0]]) != 4:
                raise GenerationFailed("it is a VAE for videos: send one for pictures")
            channels = contents.shapes[prefix + _VAE_NAMES[1]][1]
            return Found((ModelKind.VAE,), FLUX if channels == 16 else "")
    return None


def _sees_pictures(contents: Contents) -> bool:
    """Whether something in it takes the three colours, of one pixel or of a square of them."""
    return any(len(shape) == 4 and shape[1] in (3, 12, 48) for shape in contents.shapes.values())


def _width(contents: Contents, end: str) -> int:
    """Columns of the first weight whose name ends so."""
    return _columns(contents.first(lambda name: name.endswith(end)))


def _columns(shape: Shape) -> int:
    return shape[1] if len(shape) > 1 else 0
