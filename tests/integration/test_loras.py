"""LoRAs: every format means what it means in diffusers, and no job hears another's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest

from shared.errors import GenerationFailed
from shared.jobs import LoraUse
from tests.support import tiny
from tests.support.lora_files import diffusers_lora, kohya_lora, old_diffusers_lora
from tests.support.painting import assert_same, painted, request, stock_picture, submit
from worker.gpu.engine import Engine
from worker.gpu.models import adapters
from worker.gpu.models.adapters import Lora, read_lora
from worker.gpu.models.loaded import LoadedModel, from_pipeline
from worker.gpu.painting import Kit, PictureRequest


@pytest.fixture(scope="module")
def pipeline() -> diffusers.StableDiffusionPipeline:
    return tiny.stable_diffusion()


@pytest.fixture(scope="module")
def model(pipeline: diffusers.StableDiffusionPipeline) -> LoadedModel:
    return from_pipeline("tiny", pipeline)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, pipeline: Any) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("loras")
    unet, words = pipeline.unet, pipeline.text_encoder
    return {
        "peft": diffusers_lora(folder / "peft.safetensors", unet),
        "peft-words": diffusers_lora(folder / "peft-words.safetensors", unet, words, seed=1),
        "kohya": kohya_lora(folder / "kohya.safetensors", unet, seed=2),
        "kohya-words": kohya_lora(folder / "kohya-words.safetensors", unet, words, seed=3),
        "old": old_diffusers_lora(folder / "old.safetensors", unet, seed=4),
    }


def kit_with(model: LoadedModel, *loras: Lora) -> Kit:
    return Kit(model=model, vae=model.vae, loras=loras)


def wanted(*uses: tuple[str, float], **changes: Any) -> PictureRequest:
    loras = tuple(LoraUse(lora_id=lora_id, strength=strength) for lora_id, strength in uses)
    return request(loras=loras, **changes)


def in_diffusers(files: dict[str, Path], *uses: tuple[str, float]) -> Any:
    """The picture that a pipeline of its own makes with these LoRAs, loaded by diffusers from the files."""
    pipeline = tiny.stable_diffusion()
    for lora_id, _ in uses:
        pipeline.load_lora_weights(str(files[lora_id]), adapter_name=lora_id)
    if uses:
        pipeline.set_adapters([lora_id for lora_id, _ in uses], [strength for _, strength in uses])
    return stock_picture(pipeline, wanted())


@pytest.mark.parametrize("lora_id", ["peft", "peft-words", "kohya", "kohya-words", "old"])
def test_every_format_means_what_diffusers_reads_in_it(
    engine: Engine, model: LoadedModel, files: dict[str, Path], lora_id: str
) -> None:
    kit = kit_with(model, read_lora(lora_id, files[lora_id]))

    made, plain = painted(engine, kit, wanted((lora_id, 0.8))), painted(engine, kit, wanted())

    assert_same(made, in_diffusers(files, (lora_id, 0.8)))
    assert abs(made.astype(int) - plain.astype(int)).max() > 8


def test_several_loras_act_together_each_with_its_strength(
    engine: Engine, model: LoadedModel, files: dict[str, Path]
) -> None:
    uses = (("peft-words", 0.3), ("kohya", 0.9))
    kit = kit_with(model, *(read_lora(lora_id, files[lora_id]) for lora_id, _ in uses))

    assert_same(painted(engine, kit, wanted(*uses)), in_diffusers(files, *uses))


def test_jobs_with_other_loras_never_hear_each_others(
    engine: Engine, model: LoadedModel, files: dict[str, Path]
) -> None:
    sets: list[tuple[tuple[str, float], ...]] = [
        (),
        (("peft", 1.0),),
        (("kohya-words", 0.5), ("peft", 0.4)),
        (("peft-words", 0.7),),
    ]
    kits = [kit_with(model, *(read_lora(name, files[name]) for name, _ in uses)) for uses in sets]

    crowd = [
        submit(engine, kit, wanted(*uses, steps=5), wanted(*uses, steps=9, seed=seed))
        for seed in range(3)
        for kit, uses in zip(kits, sets, strict=True)
    ]

    for index, rendering in enumerate(crowd):
        assert_same(rendering.result()[0].develop(), in_diffusers(files, *sets[index % len(sets)]))


def test_an_sdxl_lora_is_heard(engine: Engine, tmp_path: Path) -> None:
    pipeline = tiny.stable_diffusion_xl()
    file = diffusers_lora(tmp_path / "xl.safetensors", pipeline.unet, pipeline.text_encoder)
    kit = kit_with(from_pipeline("xl", pipeline), read_lora("xl", file))
    stock = tiny.stable_diffusion_xl()
    stock.load_lora_weights(str(file), adapter_name="xl")

    assert_same(painted(engine, kit, wanted(("xl", 1.0))), stock_picture(stock, wanted()))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda file: diffusers_lora(file, tiny.stable_diffusion_xl().unet), id="of another family"
        ),
        pytest.param(lambda file: tiny.save_tensors(file), id="of nothing known"),
    ],
)
def test_a_lora_that_does_not_fit_fails_its_job_and_no_other(
    engine: Engine, files: dict[str, Path], tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    model = from_pipeline("fresh", tiny.stable_diffusion())
    misfit = read_lora("misfit", make(tmp_path / "misfit.safetensors"))
    bad = submit(engine, kit_with(model, misfit), wanted(("misfit", 1.0)))
    good = submit(engine, kit_with(model), wanted())

    with pytest.raises(GenerationFailed, match="misfit does not fit this model"):
        bad.result()
    assert_same(good.result()[0].develop(), in_diffusers(files))


def test_a_refused_lora_leaves_nothing_switched_on(
    engine: Engine, files: dict[str, Path], tmp_path: Path
) -> None:
    """Neither the one that was on before nor what was loaded of the refused one: its UNet part fits."""
    pipeline = tiny.stable_diffusion()
    model = from_pipeline("strict", pipeline)
    half = tmp_path / "half.safetensors"
    diffusers_lora(half, pipeline.unet, tiny.stable_diffusion(words_width=64).text_encoder)
    for before in ((), (("peft", 1.0),)):
        kit = kit_with(model, *(read_lora(name, files[name]) for name, _ in before))
        painted(engine, kit, wanted(*before))

        with pytest.raises(GenerationFailed, match="half does not fit"):
            painted(engine, kit_with(model, read_lora("half", half)), wanted(("half", 1.0)))

        assert_same(painted(engine, kit_with(model), wanted()), in_diffusers(files))
        assert_same(painted(engine, kit, wanted(*before)), in_diffusers(files, *before))


def test_a_file_that_is_no_lora_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"not one")

    with pytest.raises(GenerationFailed, match="can't be read"):
        read_lora("x", tmp_path / "x.safetensors")


def test_loras_that_nobody_uses_are_let_go_oldest_first(
    engine: Engine, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "MOST_ATTACHED", 1)
    pipeline = tiny.stable_diffusion()
    model = from_pipeline("small", pipeline)

    for lora_id in ("peft", "kohya", "peft", "old"):
        kit = kit_with(model, read_lora(lora_id, files[lora_id]))
        assert_same(painted(engine, kit, wanted((lora_id, 1.0))), in_diffusers(files, (lora_id, 1.0)))

    assert len(pipeline.unet.peft_config) == 1
    assert_same(painted(engine, kit_with(model), wanted()), in_diffusers(files))
