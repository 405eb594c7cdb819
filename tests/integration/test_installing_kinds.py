"""Files are what their content says: each kind is known in all its formats, and no other passes for it."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.registry import ModelKind
from tests.support import tiny
from tests.support.control_files import save_original
from tests.support.installing import Workshop, from_path, from_url
from tests.support.lora_files import diffusers_lora, kohya_lora, old_diffusers_lora, transformer_lora
from tests.support.model_files import FilePage, original, save_checkpoint
from tests.support.site import running_site
from tests.support.tiny_flux import flux
from tests.support.tiny_ip_adapter import ip_adapter
from tests.support.tiny_upscalers import save_compact_esrgan, save_esrgan
from worker.gpu.models.controlnets import load_controlnet
from worker.gpu.models.embeddings import read_embedding
from worker.gpu.models.precision import Precision

ON_CPU = Precision.choose("cpu", "fp32")
SD1 = {"block_out_channels": (32, 64), "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
PATCH = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight"
Write = Callable[[Path], object]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def weights(**tensors: Tensor) -> Write:
    return lambda file: save_file(tensors, file)


def controlnet() -> diffusers.ControlNetModel:
    torch.manual_seed(0)
    return tiny.outspoken(diffusers.ControlNetModel(cross_attention_dim=768, layers_per_block=2, **SD1))


def with_metadata(file: Path) -> None:
    save_file({PATCH: torch.ones(2, 3)}, file, {"ss_base_model_version": "sdxl_base_v1-0"})


UNET = tiny.stable_diffusion().unet
KNOWN: dict[str, tuple[ModelKind, Write, str]] = {
    "lora of diffusers": (ModelKind.LORA, lambda file: diffusers_lora(file, UNET), ""),
    "lora of old diffusers": (ModelKind.LORA, lambda file: old_diffusers_lora(file, UNET), ""),
    "lora of kohya": (ModelKind.LORA, lambda file: kohya_lora(file, UNET), ""),
    "lora for sd2": (ModelKind.LORA, weights(**{PATCH: torch.ones(2, 1024)}), "sd2"),
    "lora for sdxl": (ModelKind.LORA, weights(**{"lora_te2_x.lora_down.weight": torch.ones(2, 3)}), "sdxl"),
    "lora that names its base": (ModelKind.LORA, with_metadata, "sdxl"),
    "lora for flux": (
        ModelKind.LORA,
        lambda file: transformer_lora(file, flux().transformer, flux().text_encoder),
        "flux",
    ),
    "embedding": (ModelKind.EMBEDDING, weights(**{"<word>": torch.ones(768)}), "sd1"),
    "embedding of the webui": (ModelKind.EMBEDDING, weights(emb_params=torch.ones(3, 1024)), "sd2"),
    "embedding for sdxl": (
        ModelKind.EMBEDDING,
        weights(clip_l=torch.ones(2, 768), clip_g=torch.ones(2, 1280)),
        "sdxl",
    ),
    "controlnet": (ModelKind.CONTROLNET, lambda file: save_file(controlnet().state_dict(), file), "sd1"),
    "original controlnet": (ModelKind.CONTROLNET, lambda file: save_original(controlnet(), file), "sd1"),
    "esrgan": (ModelKind.UPSCALER, save_esrgan, ""),
    "compact esrgan": (ModelKind.UPSCALER, lambda file: save_compact_esrgan(file, 4), ""),
}


@pytest.mark.parametrize(("kind", "write", "family"), KNOWN.values(), ids=KNOWN)
def test_a_file_is_kept_as_it_is_under_its_name(
    workshop: Workshop, tmp_path: Path, kind: ModelKind, write: Write, family: str
) -> None:
    write(file := tmp_path / "file.safetensors")
    with running_site({"/control_shuffle.safetensors": FilePage(file.read_bytes())}) as site:
        entry = workshop.install(from_url(kind, f"{site.url}/control_shuffle.safetensors"))

    place = workshop.installer.place_of(entry)
    assert place.read_bytes() == file.read_bytes()
    assert (place.name, entry.kind, entry.family) == ("control_shuffle.safetensors", kind, family)


def test_a_controlnet_of_one_file_loads(workshop: Workshop) -> None:
    save_original(controlnet(), workshop.models / "control.safetensors")

    place = workshop.place(from_path(ModelKind.CONTROLNET, "control.safetensors"))

    found = load_controlnet("it", place, ON_CPU).network.state_dict()
    assert all(torch.equal(each, controlnet().state_dict()[name]) for name, each in found.items())


FILES: dict[str, Write] = {
    "a checkpoint": lambda file: save_checkpoint(tiny.stable_diffusion(), file),
    "a LoRA": lambda file: diffusers_lora(file, UNET),
    "a textual inversion": weights(emb_params=torch.ones(2, 768)),
    "a VAE": lambda file: save_file(tiny.vae().state_dict(), file),
    "a ControlNet": lambda file: save_file(controlnet().state_dict(), file),
    "an IP-Adapter": lambda file: save_file(ip_adapter(UNET, is_plus=False), file),
}
REMEDIES = {
    "a checkpoint": "custom_ckpt",
    "a LoRA": "lora",
    "a textual inversion": "embeddings",
    "a VAE": "vae",
    "a ControlNet": "controlnet",
    "an IP-Adapter": "ip_adapter",
}
WANTED = (
    *(ModelKind.CHECKPOINT, ModelKind.LORA, ModelKind.EMBEDDING, ModelKind.VAE, ModelKind.CONTROLNET),
    *(ModelKind.UPSCALER, ModelKind.SAFETY),
)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_told_what_it_is(workshop: Workshop, name: str) -> None:
    FILES[name](workshop.models / "file.safetensors")

    sentences = {
        kind: workshop.refusal(from_path(kind, "file.safetensors"))
        for kind in WANTED
        if REMEDIES[name] not in (kind, {"checkpoint": "custom_ckpt", "embedding": "embeddings"}.get(kind))
    }

    for sentence in sentences.values():
        assert sentence.startswith(f"this is {name} and not a")
        assert sentence.endswith(f": send model_type {REMEDIES[name]}.")


def header(content: dict[str, object], size: int = 0) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


WHOLE = header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 16)
UNKNOWN = "it is no safetensors file: send a model whose weights are in safetensors."
BROKEN = "it is broken: its header makes no sense. Send another copy of it."
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is cut off after 0 bytes: send another copy of it."),
    "cut in the numbers": (
        WHOLE[:-5],
        f"it is cut off: it has {len(WHOLE) - 5} of {len(WHOLE)} bytes. Send another copy of it.",
    ),
    "cut in the header": (WHOLE[:30], "it is cut off after 30 bytes: send another copy of it."),
    "too long": (WHOLE + b"x", BROKEN),
    "overlapping": (
        header({name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in "ab"}, 16),
        BROKEN,
    ),
    "wrong shape": (header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 16]}}, 16), BROKEN),
    "no header": (header({}), "it holds no weights: send another copy of it."),
    "nonsense": (b"\x01" + os.urandom(6) + b"\x7f" + bytes(1000), UNKNOWN),
    "a page": (b"  <!DOCTYPE html>", "it is a web page and no model: send the link that downloads"),
    "a message": (b'{"message": "no"}', "its server sent a message in JSON and no model: send the link"),
    "gguf": (
        b"GGUF\x03",
        "it is a GGUF file, whose weights are quantised: send a model whose weights are in",
    ),
    "archive": (b"7z\xbc\xaf", "it is a 7z archive: send a model whose weights are in safetensors."),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1",
        "it is a pointer to a file in Git LFS, and not the file: send a model whose weights are in safeten",
    ),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_what_is_no_whole_file_of_weights_is_refused(workshop: Workshop, content: bytes, reason: str) -> None:
    with running_site({"/file.safetensors": FilePage(content)}) as site:
        sentence = workshop.refusal(from_url(ModelKind.LORA, f"{site.url}/file.safetensors"))

    assert sentence.startswith(reason)


def renamed(**changes: Tensor) -> Write:
    return lambda file: save_file(original(tiny.stable_diffusion()) | changes, file)


USELESS: dict[str, tuple[Write, str]] = {
    "nothing in particular": (
        tiny.save_tensors,
        "it is no kind of model that is known here: send another one",
    ),
    "lycoris": (
        weights(**{"lora_unet_x.hada_w1_a": torch.ones(2)}),
        "it is a LyCORIS model, which can't be used here: send a LoRA",
    ),
    "control-lora": (
        weights(**{"lora_controlnet": torch.ones(1), "x.lora_down.weight": torch.ones(2)}),
        "it is a control-LoRA, which can't be used here: send a whole ControlNet",
    ),
    "controlnet for several types": (
        lambda file: save_file(controlnet().state_dict() | {"task_embedding": torch.ones(2)}, file),
        "it is a ControlNet for several types at once: send one for a single type",
    ),
    "a part of a controlnet": (
        weights(**{"controlnet_cond_embedding.conv_in.weight": torch.ones(2)}),
        "it is only a part of a ControlNet: send a whole one",
    ),
    "another architecture": (
        weights(**{"model.diffusion_model.joint_blocks.37.x_block.mlp.fc1.weight": torch.ones(2)}),
        "it is a sd35_large model that this server can't run: send one of Stable Diffusion 1.x, 2.x, SDXL or",
    ),
    "a refiner": (
        renamed(**{"conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias": torch.ones(2)}),
        "it is a xl_refiner model that this server can't run: send one of Stable Diffusion",
    ),
    "a model that edits pictures": (
        renamed(**{"model.diffusion_model.input_blocks.0.0.weight": torch.ones(2, 8, 3, 3)}),
        "it is a instruct-pix2pix model that this server can't run: send one of",
    ),
    "a vae for videos": (
        weights(
            **{
                "encoder.conv_in.weight": torch.ones(2, 3, 3, 3, 3),
                "decoder.conv_in.weight": torch.ones(2, 4, 3, 3, 3),
            }
        ),
        "it is a VAE for videos: send one for pictures",
    ),
}


@pytest.mark.parametrize(("write", "reason"), USELESS.values(), ids=USELESS)
def test_weights_that_nothing_here_can_use_are_refused(workshop: Workshop, write: Write, reason: str) -> None:
    write(workshop.models / "file.safetensors")

    sentence = workshop.refusal(from_path(ModelKind.CHECKPOINT, "file.safetensors"))

    assert sentence.startswith(reason)


def test_an_ip_adapter_needs_its_image_encoder(workshop: Workshop) -> None:
    FILES["an IP-Adapter"](workshop.models / "file.safetensors")

    sentence = workshop.refusal(from_path(ModelKind.IP_ADAPTER, "file.safetensors"))

    assert sentence.startswith(
        "this is an IP-Adapter without the image encoder that it sees with: send the id"
    )


class Code:
    """Leaves a trace if it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._trace),)


def lora_weights() -> dict[str, Tensor]:
    return {PATCH: torch.ones(2, 768), PATCH.replace("_A", "_B"): torch.ones(768, 2)}


def old_pickle(content: object, file: Path | io.BytesIO) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=False)


def pickled(content: object, save: Callable[[object, io.BytesIO], None] = torch.save) -> bytes:
    save(content, file := io.BytesIO())
    return file.getvalue()


@pytest.mark.parametrize("save", [torch.save, old_pickle], ids=["zip", "old"])
@pytest.mark.parametrize("allowed", [False, True], ids=["refused", "allowed"])
def test_code_in_a_pickle_is_never_run(
    tmp_path: Path, save: Callable[[object, Path], None], allowed: bool
) -> None:
    workshop = Workshop(tmp_path, allow_pickle=allowed)
    save(lora_weights() | {"code": Code(tmp_path / "trace")}, tmp_path / "model.ckpt")
    with running_site({"/model.safetensors": FilePage((tmp_path / "model.ckpt").read_bytes())}) as site:
        sentence = workshop.refusal(from_url(ModelKind.LORA, f"{site.url}/model.safetensors"))

    assert not (tmp_path / "trace").exists()
    assert sentence.startswith(
        "it is a pickle that holds more than weights" if allowed else "its weights are pickles, which can run"
    )


@pytest.mark.parametrize("save", [torch.save, old_pickle], ids=["zip", "old"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_a_pickle_of_weights_becomes_safetensors_where_it_is_allowed(
    tmp_path: Path, save: Callable[[object, Path], None], wrapped: bool
) -> None:
    workshop = Workshop(tmp_path, allow_pickle=True)
    content = {"state_dict": lora_weights(), "epoch": 3} if wrapped else lora_weights()
    save(content, workshop.models / "my lora.pt")

    entry = workshop.install(from_path(ModelKind.LORA, "my lora.pt"))

    place = workshop.installer.place_of(entry)
    found = load_file(place)
    assert all(torch.equal(found[name], tensor) for name, tensor in lora_weights().items())
    assert (place.name, entry.format) == ("my-lora.safetensors", "pt")
    assert (workshop.models / "my lora.pt").exists()


def test_an_embedding_of_the_webui_may_be_a_pickle(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, allow_pickle=True)
    vectors = torch.randn(2, 768)
    content = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "it", "step": 3}
    torch.save(content, workshop.models / "it.pt")

    place = workshop.place(from_path(ModelKind.EMBEDDING, "it.pt"))

    assert torch.equal(read_embedding("it", place).vectors[0], vectors)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"PK\x03\x04" + bytes(100), id="broken zip"),
        pytest.param(pickled(lora_weights()).replace(b"PK\x01\x02", b"PK\x01\x03", 1), id="broken directory"),
        pytest.param(pickled(lora_weights(), old_pickle)[:-9], id="cut off"),
        pytest.param(pickle.dumps([1, 2], 2), id="no weights"),
        pytest.param(pickle.dumps({"a": 1}, 2)[:-3], id="cut off amid words"),
    ],
)
def test_a_pickle_that_is_none_of_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    workshop = Workshop(tmp_path, allow_pickle=True)
    with running_site({"/model.ckpt": FilePage(content)}) as site:
        sentence = workshop.refusal(from_url(ModelKind.CHECKPOINT, f"{site.url}/model.ckpt"))

    assert sentence.startswith("it is a pickle")
