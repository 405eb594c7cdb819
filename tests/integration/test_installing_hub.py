"""Models of a hub: the files that are needed and no others, whatever a repository has besides."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from shared.errors import Cancelled
from shared.hints import Tool
from shared.registry import ModelKind
from tests.support import tiny, tiny_flux, tiny_video
from tests.support.hub import FakeHub, running_hub
from tests.support.installing import Workshop, from_hub
from tests.support.lora_files import diffusers_lora
from tests.support.tiny_finishing import save_safety_checker, save_swin2sr
from tests.support.tiny_hints import save_depth_estimator
from tests.support.tiny_ip_adapter import save_ip_adapters
from tests.support.tiny_language import save_translator, save_writer
from tests.support.tiny_upscalers import save_latent_upscaler
from worker.gpu.enlarging import load_upscaler
from worker.gpu.filming import load_video_model
from worker.gpu.finishing.safety import SafetyChecker
from worker.gpu.hints import load_network
from worker.gpu.installing import Effort
from worker.gpu.models.controlnets import load_controlnet
from worker.gpu.models.ip_files import load_image_encoder, load_ip_weights
from worker.gpu.models.loading import QUIETLY, load_vae
from worker.gpu.models.precision import Precision
from worker.gpu.words.translate import Translator
from worker.gpu.words.writer import PromptWriter

REPO = "someone/model"
CHECKPOINT = ModelKind.CHECKPOINT
ON_CPU = Precision.choose("cpu", "fp32")
CPU = torch.device("cpu")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    return folder


@pytest.fixture
def hub(repo: Path) -> Iterator[FakeHub]:
    with running_hub({REPO: repo}) as hub:
        yield hub


@pytest.fixture
def workshop(tmp_path: Path, hub: FakeHub) -> Workshop:
    return Workshop(tmp_path, hub_url=hub.url, allow_private_hosts=())


def assert_same(
    loaded: diffusers.DiffusionPipeline, expected: diffusers.DiffusionPipeline, dtype: Any
) -> None:
    for name, part in expected.components.items():
        if isinstance(part, nn.Module):
            found = getattr(loaded, name).state_dict()
            for key, tensor in part.state_dict().items():
                assert torch.equal(found[key], tensor.to(dtype).float()), (name, key)


def with_everything(repo: Path) -> diffusers.StableDiffusionPipeline:
    """As repositories are: every weight several times over."""
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(repo, safe_serialization=True)
    halves = tiny.stable_diffusion().to(torch.float16)
    halves.save_pretrained(repo, safe_serialization=True, variant="fp16")
    index = json.loads((repo / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (repo / "model_index.json").write_text(json.dumps(index))
    for part, name in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model")):
        for suffix in (".bin", ".fp16.bin", ".non_ema.safetensors"):
            (repo / part / f"{name}{suffix}").write_bytes(b"x")
    for name in ("text_encoder/flax_model.msgpack", "unet/model.onnx", "unet/pipeline.py", "README.md"):
        (repo / name).write_bytes(b"x")
    (repo / "safety_checker").mkdir()
    for name in ("v1-5-pruned.safetensors", "v1-5-pruned.ckpt", "safety_checker/model.safetensors"):
        (repo / name).write_bytes(b"x")
    return pipeline


@pytest.mark.parametrize(("revision", "variant"), [("", ""), ("fp32", ""), ("fp16", ".fp16")])
def test_each_weight_is_fetched_once_in_the_form_that_is_wanted(
    workshop: Workshop, hub: FakeHub, repo: Path, revision: str, variant: str
) -> None:
    pipeline = with_everything(repo)

    entry = workshop.install(from_hub(CHECKPOINT, REPO, revision=revision))

    weights = [name for name in hub.fetched(REPO) if not name.endswith((".json", ".txt"))]
    assert weights == [
        f"text_encoder/model{variant}.safetensors",
        f"unet/diffusion_pytorch_model{variant}.safetensors",
        f"vae/diffusion_pytorch_model{variant}.safetensors",
    ]
    dtype = torch.float16 if variant else torch.float32
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(workshop.installer.place_of(entry), **QUIETLY)
    assert_same(loaded, pipeline, dtype)
    assert (entry.family, entry.format) == ("sd1", "diffusers")
    assert re.fullmatch(rf"{REPO}@[0-9a-f]{{40}}", entry.source)  # what main holds tomorrow is another thing
    assert entry.revision == ("fp16" if variant else "fp32")


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_weights_in_several_files_come_with_what_says_where_each_lies(
    workshop: Workshop, repo: Path, variant: str | None
) -> None:
    pipeline = tiny_flux.flux()
    pipeline.save_pretrained(repo, safe_serialization=True, max_shard_size="100KB", variant=variant)

    place = workshop.place(from_hub(CHECKPOINT, REPO))

    loaded = diffusers.FluxPipeline.from_pretrained(place, **QUIETLY)
    assert_same(loaded, pipeline, torch.float32)
    assert len([*place.glob("transformer/*.safetensors")]) > 1


def test_another_revision_is_named_behind_an_at(workshop: Workshop, hub: FakeHub, tmp_path: Path) -> None:
    hub.repos[f"{REPO}@v2"] = tmp_path / "v2"
    diffusers_lora(tmp_path / "lora.safetensors", tiny.stable_diffusion().unet, seed=2)
    (tmp_path / "v2").mkdir()
    shutil.move(tmp_path / "lora.safetensors", tmp_path / "v2" / "lora.safetensors")

    place = workshop.place(from_hub(ModelKind.LORA, f"{REPO}@v2"))

    assert place.read_bytes() == (tmp_path / "v2" / "lora.safetensors").read_bytes()


def pickled(repo: Path) -> diffusers.StableDiffusionPipeline:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(repo, safe_serialization=True)
    for file in repo.rglob("*.safetensors"):
        name = "pytorch_model.bin" if file.stem == "model" else f"{file.stem}.bin"
        torch.save(load_file(file), file.with_name(name))
        file.unlink()
    return pipeline


def test_pickles_are_left_on_the_hub(workshop: Workshop, hub: FakeHub, repo: Path) -> None:
    pickled(repo)

    sentence = workshop.refusal(from_hub(CHECKPOINT, REPO))

    assert sentence.startswith("its weights are pickles, which can run code when they are read: send a model")
    assert not any(name.endswith(".bin") for name in hub.fetched(REPO))


def test_pickles_become_safetensors_where_the_operator_allows_them(
    tmp_path: Path, hub: FakeHub, repo: Path
) -> None:
    pipeline = pickled(repo)

    place = Workshop(tmp_path, hub_url=hub.url, allow_pickle=True).place(from_hub(CHECKPOINT, REPO))

    assert_same(diffusers.StableDiffusionPipeline.from_pretrained(place, **QUIETLY), pipeline, torch.float32)
    assert not [*place.rglob("*.bin")]


def test_a_repository_of_one_file_is_that_file(workshop: Workshop, hub: FakeHub, repo: Path) -> None:
    diffusers_lora(repo / "my style.safetensors", tiny.stable_diffusion().unet)
    (repo / "README.md").write_text("# My style")
    (repo / "picture.png").write_bytes(b"x")

    entry = workshop.install(from_hub(ModelKind.LORA, REPO))

    assert entry.path == "my-style.safetensors"
    assert hub.fetched(REPO) == ["my style.safetensors"]


def test_of_several_files_the_usual_one_is_taken_and_else_the_client_is_asked(
    workshop: Workshop, repo: Path
) -> None:
    unet = tiny.stable_diffusion().unet
    for name in ("a", "b"):
        diffusers_lora(repo / f"{name}.safetensors", unet)
    sentence = workshop.refusal(from_hub(ModelKind.LORA, REPO))
    diffusers_lora(repo / "pytorch_lora_weights.safetensors", unet, seed=7)

    place = workshop.place(from_hub(ModelKind.LORA, REPO))

    assert sentence == (
        "its repository holds 2 models (a.safetensors, b.safetensors): send the download link of one of them."
    )
    assert place.read_bytes() == (repo / "pytorch_lora_weights.safetensors").read_bytes()


def save_controlnet(folder: Path) -> None:
    tiny.controlnet(tiny.stable_diffusion().unet).save_pretrained(folder)


def save_video(folder: Path) -> None:
    tiny_video.wan().save_pretrained(folder, safe_serialization=True)


def as_animatediff(folder: Path) -> None:
    tiny_video.animatediff().save_pretrained(folder, safe_serialization=True)


def load_adapters(place: Path) -> object:
    name = "ip-adapter_sd15"
    return load_ip_weights(name, place, ON_CPU), load_image_encoder(name, place, ON_CPU)


KINDS: dict[str, tuple[ModelKind, Callable[[Path], object], Callable[[Path], object], str]] = {
    "vae": (
        ModelKind.VAE,
        lambda folder: tiny.vae().save_pretrained(folder),
        lambda place: load_vae("it", place, ON_CPU),
        "",
    ),
    "controlnet": (
        ModelKind.CONTROLNET,
        save_controlnet,
        lambda place: load_controlnet("it", place, ON_CPU),
        "",
    ),
    "swin2sr": (
        ModelKind.UPSCALER,
        lambda folder: save_swin2sr(folder, 2),
        lambda place: load_upscaler("it", str(place), CPU, torch.float32),
        "",
    ),
    "upscaling pipeline": (
        ModelKind.UPSCALER,
        save_latent_upscaler,
        lambda place: load_upscaler("it", str(place), CPU, torch.float32),
        "",
    ),
    "wan": (ModelKind.VIDEO, save_video, lambda place: load_video_model("it", place, ON_CPU), "wan"),
    "animatediff": (
        ModelKind.VIDEO,
        as_animatediff,
        lambda place: load_video_model("it", place, ON_CPU),
        "sd1",
    ),
    "safety checker": (
        ModelKind.SAFETY,
        save_safety_checker,
        lambda place: SafetyChecker.load(str(place), CPU, torch.float32),
        "",
    ),
    "translator": (
        ModelKind.TRANSLATOR,
        lambda folder: save_translator(folder, as_on_hub=True),
        lambda place: Translator.load(str(place), CPU),
        "",
    ),
    "prompt writer": (
        ModelKind.ENHANCER,
        save_writer,
        lambda place: PromptWriter.load(str(place), CPU),
        "",
    ),
    "ip adapters": (ModelKind.IP_ADAPTER, save_ip_adapters, load_adapters, ""),
    "motion": (
        ModelKind.MOTION,
        lambda folder: tiny_video.motion_adapter().save_pretrained(folder),
        lambda place: diffusers.MotionAdapter.from_pretrained(place, **QUIETLY),
        "",
    ),
    "depth": (
        ModelKind.DEPTH,
        save_depth_estimator,
        lambda place: load_network(Tool.DEPTH_ESTIMATOR, str(place), CPU, torch.float32),
        "",
    ),
}


@pytest.mark.parametrize(("kind", "save", "load", "family"), KINDS.values(), ids=KINDS)
def test_what_is_no_checkpoint_loads_too(
    workshop: Workshop,
    hub: FakeHub,
    repo: Path,
    kind: ModelKind,
    save: Callable[[Path], object],
    load: Callable[[Path], object],
    family: str,
) -> None:
    save(repo)
    (repo / "README.md").write_text("# A model")

    entry = workshop.install(from_hub(kind, REPO))

    assert load(workshop.installer.place_of(entry))
    assert (entry.kind, entry.family) == (kind, family)
    assert "README.md" not in hub.fetched(REPO)
    assert entry.bytes == sum(
        path.stat().st_size for path in workshop.installer.place_of(entry).rglob("*") if path.is_file()
    )


def test_a_part_of_a_pipeline_can_be_loaded_alone(workshop: Workshop, hub: FakeHub, repo: Path) -> None:
    pipeline = with_everything(repo)

    place = workshop.place(from_hub(ModelKind.VAE, REPO))

    found = load_vae("it", place, ON_CPU).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in pipeline.vae.state_dict().items())
    assert {name.partition("/")[0] for name in hub.fetched(REPO)} == {"model_index.json", "vae"}


def test_one_ip_adapter_comes_without_the_others(workshop: Workshop, hub: FakeHub, repo: Path) -> None:
    save_ip_adapters(repo)

    workshop.install(from_hub(ModelKind.IP_ADAPTER, REPO, model_id="ip-adapter_sd15"))

    assert hub.fetched(REPO) == [
        "models/image_encoder/config.json",
        "models/image_encoder/model.safetensors",
        "models/ip-adapter_sd15.safetensors",
    ]


def test_a_model_of_another_kind_is_refused_before_its_weights_are_fetched(
    workshop: Workshop, hub: FakeHub, repo: Path
) -> None:
    tiny.save_stable_diffusion(repo)
    unknown = json.loads((repo / "model_index.json").read_text()) | {
        "_class_name": "StableDiffusion3Pipeline"
    }

    sentence = workshop.refusal(from_hub(ModelKind.CONTROLNET, REPO))
    (repo / "model_index.json").write_text(json.dumps(unknown))
    other = workshop.refusal(from_hub(CHECKPOINT, REPO))

    assert sentence == "this is a checkpoint and not a ControlNet: send model_type custom_ckpt."
    assert other.startswith("it is a StableDiffusion3Pipeline, which this server can't run: send one of")
    assert not any(name.endswith(".safetensors") for name in hub.fetched(REPO))


def test_a_model_that_is_too_large_is_refused_before_anything_is_fetched(
    tmp_path: Path, hub: FakeHub, repo: Path
) -> None:
    diffusers_lora(repo / "lora.safetensors", tiny.stable_diffusion().unet)

    sentence = Workshop(tmp_path, hub_url=hub.url, model_max_bytes=1000).refusal(
        from_hub(ModelKind.LORA, REPO)
    )

    assert sentence == "it is larger than 1,000 bytes."
    assert hub.fetched(REPO) == []


ADDRESSES = {
    "unknown": (
        "someone/else",
        "the hub shows no repository someone/else: check its id; for a private one ask the operator to set "
        "HF_TOKEN.",
    ),
    "revision": (
        f"{REPO}@v7",
        f"repository {REPO} has no revision v7: send another one behind the @, or none.",
    ),
    "no id": ("some one/x", "that is no id of a repository of the hub: send owner/name."),
    "a way out": ("../../etc", "that is no id of a repository of the hub: send owner/name."),
    "empty": (REPO, "its repository holds no weights that are known here: send another model."),
}


@pytest.mark.parametrize(("address", "reason"), ADDRESSES.values(), ids=ADDRESSES)
def test_what_the_hub_does_not_have_is_told(workshop: Workshop, address: str, reason: str) -> None:
    assert workshop.refusal(from_hub(ModelKind.LORA, address)) == reason


def test_a_hub_out_of_reach_is_told(tmp_path: Path) -> None:
    sentence = Workshop(tmp_path).refusal(from_hub(CHECKPOINT, REPO))

    assert sentence == "the hub can't be reached."


def test_a_gated_repository_needs_a_token_that_only_the_hub_gets(
    workshop: Workshop, hub: FakeHub, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diffusers_lora(repo / "lora.safetensors", tiny.stable_diffusion().unet)
    hub.gated.add(REPO)
    hub.token = "hf_secret"
    monkeypatch.delenv("HF_TOKEN", raising=False)
    sentence = workshop.refusal(from_hub(ModelKind.LORA, REPO))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    workshop.install(from_hub(ModelKind.LORA, REPO))

    assert sentence.startswith("its repository is gated: accept its terms on the hub, and ask the operator")


class Impatient(Effort):
    """Gives up once most of it has come."""

    def report(self, progress: float) -> None:
        super().report(progress)
        if progress > 0.6:
            self.cancel(keeping_files=True)


def test_files_that_came_are_not_fetched_again_by_the_next_attempt(
    workshop: Workshop, hub: FakeHub, repo: Path
) -> None:
    pipeline = tiny.stable_diffusion()
    pipeline.save_pretrained(repo, safe_serialization=True)
    spec = from_hub(CHECKPOINT, REPO)
    with pytest.raises(Cancelled):
        workshop.install(spec, Impatient())
    first = set(hub.fetched(REPO))
    hub.requests.clear()

    place = workshop.place(spec)

    assert_same(diffusers.StableDiffusionPipeline.from_pretrained(place, **QUIETLY), pipeline, torch.float32)
    assert len(first & set(hub.fetched(REPO))) <= 1
    assert any(name.endswith(".safetensors") for name in first)


def test_a_file_that_is_not_what_the_hub_says_is_refused(
    workshop: Workshop, hub: FakeHub, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = diffusers_lora(repo / "lora.safetensors", tiny.stable_diffusion().unet)
    monkeypatch.setattr("tests.support.hub._etag", lambda file: "0" * 64)

    sentence = workshop.refusal(from_hub(ModelKind.LORA, REPO))

    assert file.exists()
    assert sentence.startswith("what came is not what its server announced: its SHA-256 is another")


def test_the_hub_of_the_tests_speaks_the_librarys_language(hub: FakeHub, repo: Path, tmp_path: Path) -> None:
    tiny.save_stable_diffusion(repo)

    found = huggingface_hub.snapshot_download(REPO, endpoint=hub.url, cache_dir=tmp_path / "cache")

    names = sorted(path.relative_to(repo) for path in repo.rglob("*") if path.is_file())
    assert sorted(path.relative_to(found) for path in Path(found).rglob("*") if path.is_file()) == names
    for name in names:
        assert (Path(found) / name).read_bytes() == (repo / name).read_bytes()
