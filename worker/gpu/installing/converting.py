"""Makes folders in diffusers' layout of checkpoints and autoencoders that are one file with original names.

Weights are only renamed, and each is compared with what the config says must be there: no network is built,
which diffusers' own reading of such files does in a way that would empty others that are built meanwhile.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from shared.errors import GenerationFailed
from shared.registry import ModelKind
from worker.gpu.exclusive import LOADING
from worker.gpu.installing import flux_names
from worker.gpu.installing.choosing import NETWORK, PIPELINE, parts_of, small_files
from worker.gpu.installing.contents import Contents
from worker.gpu.installing.effort import Effort
from worker.gpu.installing.files import CLIP, LDM, OPEN_CLIP, VAE_PREFIXES
from worker.gpu.installing.json_files import change_json, read_json

Weights = dict[str, Tensor]
OF_DIFFUSERS = {each.__name__: each for each in (UNet2DConditionModel, AutoencoderKL, FluxTransformer2DModel)}
OF_TRANSFORMERS = {
    each.__name__: each for each in (CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel)
}
SCHEDULER = Path("scheduler", "scheduler_config.json")
_TEXT_MODEL = "text_model."
_EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
_PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction"}

SEND_CONFIG = (
    "send in config the hub id, or the path below the models folder, of a model in diffusers' layout that is "
    "built like this one"
)


class Configs(Protocol):
    """A folder in diffusers' layout that describes a checkpoint."""

    @property
    def folder(self) -> Path:
        """Its configs and tokenizers."""

    def add(self, part: str, place: Path) -> bool:
        """Put the folder of a part, with its weights, into the place; tells whether there are any."""


class Converter:
    """Of one checkpoint."""

    def __init__(self, contents: Contents, configs: Configs, *, half: bool) -> None:
        self._contents = contents
        self._configs = configs
        self._half = half

    def convert(self, place: Path, effort: Effort) -> None:
        """Raises `GenerationFailed` if the weights and the configs do not belong together."""
        index = read_json(self._configs.folder / PIPELINE)
        parts = parts_of(index, ModelKind.CHECKPOINT)
        place.mkdir()
        for part in parts:
            effort.check()
            self._place(part, str(index[part][1]), place)
        unused = {
            name: [None, None]
            for name, value in index.items()
            if isinstance(value, list) and name not in parts
        }
        (place / PIPELINE).write_text(json.dumps(index | unused, indent=2) + "\n")
        if noise := _noise(self._contents):
            change_json(place / SCHEDULER, **noise)

    def _place(self, part: str, class_name: str, place: Path) -> None:
        source, target = self._configs.folder / part, place / part
        if not source.is_dir():
            raise GenerationFailed(f"the config has no {part}/: {SEND_CONFIG}")
        is_network = class_name in OF_DIFFUSERS or class_name in OF_TRANSFORMERS
        weights = self._weights(part, source) if is_network else {}
        if (is_network or (source / NETWORK).is_file()) and not weights:
            if not self._configs.add(part, place):
                raise GenerationFailed(f"it holds no {part}, and neither does the config: {SEND_CONFIG}")
            return
        copy_small(source, target)
        if weights:
            save(weights, class_name, target, half=self._half)

    def _weights(self, part: str, config: Path) -> Weights:
        """By diffusers' names; empty if the file has none of this part."""
        if part == "unet":
            found = self._contents.weights(LDM)
            return _renamed(convert_ldm_unet_checkpoint, found, read_json(config / NETWORK)) if found else {}
        if part == "transformer":
            return flux_names.renamed(self._contents.weights(*flux_names.prefixes(self._contents.shapes)))
        if part == "vae":
            found = self._contents.weights(*VAE_PREFIXES)
            return _renamed(convert_ldm_vae_checkpoint, found, read_json(config / NETWORK)) if found else {}
        for prefix, read in _WORDS.get(part, {}).items():
            if self._contents.has(prefix):
                return read(self._contents.weights(prefix), prefix)
        return {}


def convert_vae(contents: Contents, config: Mapping[str, Any], place: Path, *, half: bool) -> None:
    """A VAE by itself, with the original names or diffusers' own."""
    place.mkdir(parents=True)
    (place / NETWORK).write_text(json.dumps(dict(config), indent=2) + "\n")
    weights = contents.weights(*VAE_PREFIXES) or contents.weights()
    if not contents.has_inside("mid_block."):
        weights = _renamed(convert_ldm_vae_checkpoint, weights, config)
    save(weights, AutoencoderKL.__name__, place, half=half)


def outline(class_name: str, folder: Path) -> list[dict[str, torch.Size]]:
    """The shapes of the weights that a network with this config has; several names for one that is shared.

    The network is made without numbers, which takes no memory, and in this thread alone.
    """
    try:
        with LOADING, torch.device("meta"):
            network = _make(class_name, folder)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError) as exc:
        raise GenerationFailed(f"the config of its {folder.name} can't be used: {SEND_CONFIG}") from exc
    shared: dict[int, dict[str, torch.Size]] = {}
    for name, weight in network.state_dict(keep_vars=True).items():
        shared.setdefault(id(weight), {})[_bare(name)] = weight.shape
    return [*shared.values()]


def save(weights: Weights, class_name: str, place: Path, *, half: bool) -> None:
    """Those that the network needs whose config lies in the place.

    Raises `GenerationFailed` if one is missing, or has another shape.
    """
    given = {_bare(name): name for name in weights}
    chosen: Weights = {}
    for names in outline(class_name, place):
        name = next((name for name in names if name in given), None)
        if name is None or weights[given[name]].shape != names[name]:
            raise GenerationFailed(f"its {place.name} is not what the config describes: {SEND_CONFIG}")
        chosen[given[name]] = _stored(weights[given[name]], half)
    file = f"{'diffusion_pytorch_' if class_name in OF_DIFFUSERS else ''}model.safetensors"
    save_file(chosen, place / file, metadata={"format": "pt"})


def copy_small(source: Path, target: Path) -> None:
    """Configs and tokenizers."""
    target.mkdir()
    for name in small_files("", [file.name for file in source.iterdir() if file.is_file()]):
        shutil.copyfile(source / name, target / name)


def _make(class_name: str, folder: Path) -> nn.Module:
    if class_name in OF_DIFFUSERS:
        kind = OF_DIFFUSERS[class_name]
        network: nn.Module = kind.from_config(kind.load_config(folder))
        return network
    kind = OF_TRANSFORMERS[class_name]
    network = kind(kind.config_class.from_pretrained(folder, local_files_only=True))
    return network  # noqa: RET504 - its type is not known before


def _renamed(convert: Callable[..., Weights], weights: Weights, config: Mapping[str, Any]) -> Weights:
    """By diffusers' conversion, which puts None where a weight is missing."""
    return {name: tensor for name, tensor in convert(weights, config).items() if tensor is not None}


def _clip(weights: Weights, prefix: str) -> Weights:
    """Some checkpoints lack `text_model.` in the names."""
    bare = {name.removeprefix(prefix).removeprefix(_TEXT_MODEL): tensor for name, tensor in weights.items()}
    return {name if name.startswith("text_projection") else _TEXT_MODEL + name: t for name, t in bare.items()}


def _open_clip(weights: Weights, prefix: str) -> Weights:
    width = weights[f"{prefix}token_embedding.weight"].shape[1]
    shape = SimpleNamespace(config=SimpleNamespace(hidden_size=width))
    converted: Weights = convert_open_clip_checkpoint(shape, weights, prefix=prefix)
    return converted


def _t5(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}


_WORDS: dict[str, dict[str, Callable[[Weights, str], Weights]]] = {
    "text_encoder": {
        CLIP: _clip,
        "conditioner.embedders.0.transformer.": _clip,
        "text_encoders.clip_l.transformer.": _clip,
        OPEN_CLIP: _open_clip,
    },
    "text_encoder_2": {
        "conditioner.embedders.1.model.": _open_clip,
        "text_encoders.t5xxl.transformer.": _t5,
    },
}
"""Where each text encoder may lie in a file, and how it is read there."""


def _noise(contents: Contents) -> dict[str, Any]:
    """What the file says of the noise that it was trained with; few do."""
    said = _PREDICTIONS.get(contents.metadata.get("modelspec.prediction_type", ""))
    changes: dict[str, Any] = {"prediction_type": said} if said else {}
    if "v_pred" in contents.shapes:
        changes["prediction_type"] = "v_prediction"
    if "ztsnr" in contents.shapes:
        changes["rescale_betas_zero_snr"] = True
    return changes


def _bare(name: str) -> str:
    """transformers dropped `text_model.` from the names of some networks, and reads both."""
    return name.removeprefix(_TEXT_MODEL)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    if half and tensor.is_floating_point():
        return tensor.half().contiguous()
    return tensor.to(torch.bfloat16 if tensor.dtype in _EIGHT_BITS else tensor.dtype).contiguous()
