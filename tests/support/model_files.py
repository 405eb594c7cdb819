"""Models in the formats that people share, made of tiny pipelines, and pages that serve files as sites do.

The names are the original ones, in which checkpoints were first published.
"""

import hashlib
import re
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import diffusers
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

Weights = dict[str, Tensor]
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_OPEN_CLIP_TOP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_FLUX_DOUBLE = {
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "attn.norm_q.weight": "img_attn.norm.query_norm.scale",
    "attn.norm_k.weight": "img_attn.norm.key_norm.scale",
    "attn.norm_added_q.weight": "txt_attn.norm.query_norm.scale",
    "attn.norm_added_k.weight": "txt_attn.norm.key_norm.scale",
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
}
_FLUX_SINGLE = {
    "norm.linear": "modulation.lin",
    "attn.norm_q.weight": "norm.query_norm.scale",
    "attn.norm_k.weight": "norm.key_norm.scale",
    "proj_out": "linear2",
}
_FLUX_TOP = {
    "time_text_embed.timestep_embedder": "time_in",
    "time_text_embed.text_embedder": "vector_in",
    "time_text_embed.guidance_embedder": "guidance_in",
    "linear_1": "in_layer",
    "linear_2": "out_layer",
    "context_embedder": "txt_in",
    "x_embedder": "img_in",
    "proj_out": "final_layer.linear",
}
_FLUX_STACKS = {
    "transformer_blocks.{}.attn.to_q": "double_blocks.{}.img_attn.qkv",
    "transformer_blocks.{}.attn.add_q_proj": "double_blocks.{}.txt_attn.qkv",
    "single_transformer_blocks.{}.attn.to_q": "single_blocks.{}.linear1",
}


def save_checkpoint(pipeline: diffusers.DiffusionPipeline, file: Path, *, half: bool = False) -> Path:
    """A whole pipeline in one file, as the first of its family was published."""
    weights = original(pipeline)
    save_file({name: each.half() if half else each for name, each in weights.items()}, file)
    return file


def original(pipeline: diffusers.DiffusionPipeline) -> Weights:
    if isinstance(pipeline, diffusers.FluxPipeline):
        return flux_original(pipeline)
    weights = prefixed("model.diffusion_model.", unet_original(pipeline.unet))
    weights |= prefixed("first_stage_model.", vae_original(pipeline.vae))
    if isinstance(pipeline, diffusers.StableDiffusionXLPipeline):
        weights |= prefixed("conditioner.embedders.0.transformer.", clip_original(pipeline.text_encoder))
        weights |= prefixed("conditioner.embedders.1.model.", open_clip_original(pipeline.text_encoder_2))
        return weights
    if pipeline.scheduler.config.prediction_type == "v_prediction":
        return weights | prefixed("cond_stage_model.model.", open_clip_original(pipeline.text_encoder))
    weights |= prefixed("cond_stage_model.transformer.", clip_original(pipeline.text_encoder))
    # what real files have besides
    weights["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return weights | {"alphas_cumprod": torch.ones(1000), "model_ema.decay": torch.tensor(0.99)}


def flux_original(pipeline: diffusers.FluxPipeline) -> Weights:
    """All its parts, as tools for artists bundle them."""
    weights = prefixed("model.diffusion_model.", flux_transformer_original(pipeline.transformer))
    weights |= prefixed("vae.", vae_original(pipeline.vae))
    weights |= prefixed("text_encoders.clip_l.transformer.", clip_original(pipeline.text_encoder))
    t5 = pipeline.text_encoder_2.state_dict()
    del t5["encoder.embed_tokens.weight"]  # the same as `shared.weight`
    return weights | prefixed("text_encoders.t5xxl.transformer.", t5)


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: tensor.contiguous() for name, tensor in weights.items()}


def unet_original(unet: diffusers.UNet2DConditionModel) -> Weights:
    layers = int(unet.config.layers_per_block) + 1
    attends = {
        name.split(".")[1] for name in unet.state_dict() if re.match(r"up_blocks\.\d+\.attentions", name)
    }
    return {unet_name(name, layers, attends): tensor for name, tensor in unet.state_dict().items()}


def unet_name(name: str, layers: int, attending_ups: set[str]) -> str:
    part, end = name.rsplit(".", 1)
    if part in _UNET:
        return f"{_UNET[part]}.{end}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", name):
        index = 1 if found[1] == "attentions" else 2 * int(found[2])
        return f"middle_block.{index}.{_layer_name(found[3])}"
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name)
    assert found is not None, name
    way, block, kind, layer, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * layers}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        return f"output_blocks.{(block + 1) * layers - 1}.{2 if found[2] in attending_ups else 1}.{rest}"
    index = block * layers + layer + (1 if way == "down" else 0)
    blocks = "input_blocks" if way == "down" else "output_blocks"
    return f"{blocks}.{index}.{1 if kind == 'attentions' else 0}.{_layer_name(rest)}"


def _layer_name(rest: str) -> str:
    first, _, others = rest.partition(".")
    return f"{_RESNET.get(first, first)}.{others}"


def vae_original(vae: diffusers.AutoencoderKL) -> Weights:
    blocks = len(vae.config.block_out_channels)
    weights = {}
    for name, tensor in vae.state_dict().items():
        original_name = _vae_name(name, blocks)
        if ".attn_1." in original_name and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]  # they were convolutions
        weights[original_name] = tensor
    return weights


def _vae_name(name: str, blocks: int) -> str:
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{blocks - 1 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
    name = name.replace("to_out.0", "proj_out").replace("conv_shortcut", "nin_shortcut")
    return re.sub(r"attn_1\.to_([qkv])", r"attn_1.\1", name).replace("conv_norm_out", "norm_out")


def clip_original(encoder: nn.Module) -> Weights:
    return prefixed("text_model.", {_flat(name): each for name, each in encoder.state_dict().items()})


def _flat(name: str) -> str:
    return name.removeprefix("text_model.")


def open_clip_original(encoder: transformers.CLIPTextModel) -> Weights:
    state = {_flat(name): tensor for name, tensor in encoder.state_dict().items()}
    weights = {_OPEN_CLIP_TOP[name]: state.pop(name) for name in _OPEN_CLIP_TOP}
    if "text_projection.weight" in state:
        weights["text_projection"] = state.pop("text_projection.weight").T
    for layer in range(encoder.config.num_hidden_layers):
        ours, theirs = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            projections = [state.pop(f"{ours}self_attn.{each}_proj.{end}") for each in "qkv"]
            weights[f"{theirs}attn.in_proj_{end}"] = torch.cat(projections)
            for name, original_name in _OPEN_CLIP.items():
                weights[f"{theirs}{original_name}.{end}"] = state.pop(f"{ours}{name}.{end}")
    assert not state, state.keys()
    return weights


def flux_transformer_original(transformer: nn.Module) -> Weights:
    state, weights = transformer.state_dict(), {}
    for end in ("weight", "bias"):
        scale, shift = state.pop(f"norm_out.linear.{end}").chunk(2)
        weights[f"final_layer.adaLN_modulation.1.{end}"] = torch.cat([shift, scale])
        for first, stack in _FLUX_STACKS.items():
            for block in range(_count(state, first.partition(".")[0])):
                name = f"{first.format(block)}.{end}"
                names = [name, *(re.sub(r"(_|_to_|to_)q", rf"\g<1>{each}", name) for each in "kv")]
                if stack.endswith("linear1"):
                    names.append(f"single_transformer_blocks.{block}.proj_mlp.{end}")
                weights[f"{stack.format(block)}.{end}"] = torch.cat([state.pop(each) for each in names])
    return weights | {_flux_name(name): tensor for name, tensor in state.items()}


def _count(state: Weights, blocks: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"{blocks}.")})


def _flux_name(name: str) -> str:
    names = _FLUX_TOP
    if found := re.match(r"(single_)?transformer_blocks\.(\d+)\.", name):
        kind, names = ("single", _FLUX_SINGLE) if found[1] else ("double", _FLUX_DOUBLE)
        name = f"{kind}_blocks.{found[2]}." + name[found.end() :]
    for ours, theirs in names.items():
        name = re.sub(rf"(^|\.){re.escape(ours)}(?=\.|$)", rf"\g<1>{theirs}", name)
    return name


class FilePage:
    """Serves a file: with an ETag, in parts where they are asked for, broken off where a test wants it.

    `breaks`: after how many bytes the first connections end. `holds_after`: after how many the rest waits
    for `go_on`.
    """

    def __init__(
        self,
        content: bytes,
        *,
        name: str = "",
        breaks: Sequence[int] = (),
        holds_after: int | None = None,
        etag: str | None = None,
        knows_ranges: bool = True,
    ) -> None:
        self.content = content
        self.etag = f'"{hashlib.sha256(content).hexdigest()}"' if etag is None else etag
        self.breaks = list(breaks)
        self.holds_after = holds_after
        self.go_on = threading.Event()
        self.sent: list[int] = []
        """Bytes of each answer."""
        self.ranges: list[str] = []
        """As they were asked for; empty for all."""
        self._name = name
        self._knows_ranges = knows_ranges

    def __call__(self, handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        start = self._start(handler)
        body, limit = self.content[start:], self.breaks.pop(0) if self.breaks else None
        handler.send_response(206 if start else 200)
        if start:
            last = len(self.content) - 1
            handler.send_header("Content-Range", f"bytes {start}-{last}/{len(self.content)}")
        if self._name:
            handler.send_header("Content-Disposition", f'attachment; filename="{self._name}"')
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        self.sent.append(0)
        for block in self._blocks(body if limit is None else body[:limit]):
            handler.wfile.write(block)
            self.sent[-1] += len(block)
            if self.holds_after is not None and sum(self.sent) >= self.holds_after:
                while not (self.go_on.wait(0.02) or over.is_set()):
                    pass

    def _start(self, handler: BaseHTTPRequestHandler) -> int:
        asked, condition = handler.headers.get("Range", ""), handler.headers.get("If-Range")
        self.ranges.append(asked)
        if not (asked and self._knows_ranges and condition == self.etag):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _blocks(self, body: bytes) -> list[bytes]:
        if self.holds_after is None:
            return [body]
        first = max(0, self.holds_after - sum(self.sent))
        return [block for block in (body[:first], body[first:]) if block]
