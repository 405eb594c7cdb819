"""diffusers' upscalers: the stock pipelines' pictures, tile by tile, between the steps of others."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionLatentUpscalePipeline, StableDiffusionUpscalePipeline
from PIL import Image

from shared.errors import GenerationFailed
from tests.support import tiny
from tests.support.painting import assert_same, painted, request, running_engine
from tests.support.tiny_finishing import drawing
from tests.support.tiny_upscalers import enlarge, run, save_image_upscaler, save_latent_upscaler
from worker.gpu.engine import Pixels
from worker.gpu.enlarging import EnlargeRequest, enlarge_picture, load_upscaler
from worker.gpu.enlarging.diffusion import SEED, Diffusion
from worker.gpu.enlarging.tiling import cut
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.models.loading import timed
from worker.gpu.painting import Kit

CPU = torch.device("cpu")
LATENT = 8
"""Pixels of the larger one of the tiny autoencoders' latents."""


class Kind(NamedTuple):
    save: Callable[[Path], Path]
    family: type[DiffusionPipeline]
    scale: int


KINDS = {
    "twice": Kind(save_latent_upscaler, StableDiffusionLatentUpscalePipeline, 2),
    "four times": Kind(save_image_upscaler, StableDiffusionUpscalePipeline, 4),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def folder(kind: Kind, tmp_path: Path) -> Path:
    return kind.save(tmp_path / "upscaler")


@pytest.fixture
def upscaler(kind: Kind, folder: Path) -> Diffusion:
    """In fewer steps than usual."""
    loaded = load_upscaler("mine", str(folder), CPU, torch.float32)
    assert isinstance(loaded, Diffusion)
    assert (loaded.name, loaded.scale) == ("mine", kind.scale)
    loaded.num_steps = 3
    return loaded


def in_small_tiles(upscaler: Diffusion, overlap: int) -> Diffusion:
    upscaler.side, upscaler.overlap = 64, overlap
    return upscaler


def enlarged(upscaler: Diffusion, *requests: EnlargeRequest) -> list[Pixels]:
    with running_engine() as engine:
        rendering = engine.submit([partial(enlarge_picture, upscaler, each) for each in requests])
        return [picture.develop() for picture in rendering.result()]


def stock(kind: Kind, folder: Path, picture: Pixels, **options: Any) -> Pixels:
    pipeline = kind.family.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        prompt="",
        image=Image.fromarray(picture),
        generator=torch.Generator().manual_seed(SEED),
        output_type="np",
        **options,
    ).images[0]
    return (made * 255).round().astype(np.uint8)  # type: ignore[no-any-return]


@pytest.mark.parametrize("guidance", [None, 7.5], ids=["unguided", "guided"])
def test_a_picture_of_one_tile_is_the_stock_pipelines(
    kind: Kind, folder: Path, upscaler: Diffusion, guidance: float | None
) -> None:
    """Guided or not: guidance leads away from an empty prompt, and the prompt is empty."""
    picture = np.array(drawing(0, 64))
    options = upscaler.options if guidance is None else upscaler.options | {"guidance_scale": guidance}

    (made,) = enlarged(upscaler, EnlargeRequest(picture, kind.scale))

    assert_same(made, stock(kind, folder, picture, num_inference_steps=3, **options))


@pytest.mark.parametrize("scale", [1, 2.5, 4])
def test_a_picture_has_the_size_that_was_asked_for(upscaler: Diffusion, scale: float) -> None:
    picture = np.array(drawing(1, 128))[:70, :50]

    (made,) = enlarged(in_small_tiles(upscaler, overlap=16), EnlargeRequest(picture, scale))

    assert made.shape == (round(70 * scale), round(50 * scale), 3)


def test_a_tile_comes_out_the_same_each_time_and_beside_others(upscaler: Diffusion) -> None:
    wanted = EnlargeRequest(np.array(drawing(2, 64)), 2)
    (alone,) = enlarged(upscaler, wanted)

    together = enlarged(upscaler, EnlargeRequest(np.array(drawing(3, 64)), 2), wanted, wanted)

    assert np.array_equal(together[1], alone)
    assert np.array_equal(together[2], alone)
    assert not np.array_equal(together[0], alone)


def test_pictures_are_painted_between_the_steps_of_a_tile(upscaler: Diffusion) -> None:
    kit = Kit.plain(from_pipeline("tiny", tiny.stable_diffusion()))
    upscaler.num_steps = 900
    program = partial(enlarge_picture, upscaler, EnlargeRequest(np.array(drawing(2, 64)), 2))
    with running_engine() as engine:
        large = engine.submit([program])

        painted(engine, kit, request())

        assert not large.is_over
        assert 0 <= large.progress < 1
        large.cancel()


def strangeness(upscaler: Diffusion, overlap: int) -> tuple[float, float]:
    """The steps from column to column of an even picture: where tiles begin or end, and elsewhere. There too
    only where one latent's pixels meet the next one's, as they do at the tiles' borders."""
    picture = np.full((64, 64 * 4, 3), (90, 140, 200), dtype=np.uint8)
    in_small_tiles(upscaler, overlap)
    (made,) = enlarged(upscaler, EnlargeRequest(picture, upscaler.scale))
    steps = np.abs(np.diff(made.astype(int), axis=1)).mean(axis=(0, 2))
    lefts = cut(picture, upscaler.side, overlap).lefts
    edges = {*lefts[1:], *(left + upscaler.side for left in lefts[:-1])}
    borders = [upscaler.scale * edge - 1 for edge in edges]
    others = sorted({*range(LATENT - 1, len(steps), LATENT)} - {*borders})
    return float(steps[borders].mean()), float(steps[others].mean())


def test_no_seam_shows_in_an_even_picture(upscaler: Diffusion) -> None:
    at_borders, elsewhere = strangeness(upscaler, overlap=32)

    assert at_borders <= 1.1 * elsewhere


def likeness(upscaler: Diffusion, place: tuple[int, int]) -> float:
    """Correlation, in an even picture, of a tile at the first pixel and one at `place`, where both are."""
    tile, (top, left) = np.full((64, 64, 3), (90, 140, 200), dtype=np.uint8), place
    first, second = run(upscaler.steps([tile, tile], [(0, 0), place], None, lambda _: None))
    height, width = (64 - top) * upscaler.scale, (64 - left) * upscaler.scale
    shared = first[-height:, -width:].ravel(), second[:height, :width].ravel()
    return float(np.corrcoef(*shared)[0, 1])


@pytest.mark.parametrize("place", [(0, 24), (16, 0)], ids=str)
def test_tiles_agree_where_they_overlap(upscaler: Diffusion, place: tuple[int, int]) -> None:
    """So fading one into the other blurs nothing."""
    assert likeness(upscaler, place) > 0.5


@pytest.mark.parametrize("kind", [KINDS["twice"]], ids=["twice"])
def test_seams_would_show_if_tiles_were_laid_side_by_side(upscaler: Diffusion) -> None:
    """So the measure of the test above is able to see one, in a picture that is not all noise by itself."""
    at_borders, elsewhere = strangeness(upscaler, overlap=0)

    assert at_borders > 1.2 * elsewhere


def test_half_precision_gives_nearly_the_same_picture(folder: Path, upscaler: Diffusion) -> None:
    picture = np.array(drawing(0, 64))
    halved = load_upscaler("mine", str(folder), CPU, torch.bfloat16)
    assert isinstance(halved, Diffusion)
    halved.num_steps = upscaler.num_steps

    difference = enlarge(halved, [picture])[0].astype(int) - enlarge(upscaler, [picture])[0]

    assert np.abs(difference).mean() <= 4


def test_numbers_out_of_range_are_told(upscaler: Diffusion) -> None:
    with torch.no_grad():
        upscaler._pipeline.unet.conv_out.weight.fill_(float("nan"))

    with pytest.raises(GenerationFailed, match="ran out of range"):
        enlarged(upscaler, EnlargeRequest(np.array(drawing(0, 64)), 2))


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_pipeline_without_weights_is_refused(folder: Path, part: str) -> None:
    (folder / part / "diffusion_pytorch_model.safetensors").unlink()

    with pytest.raises(GenerationFailed, match=r"^Upscaler mine can't be loaded"):
        timed("Upscaler mine", lambda: load_upscaler("mine", str(folder), CPU, torch.float32))


def test_a_pipeline_that_does_not_enlarge_is_refused(tmp_path: Path) -> None:
    folder = tiny.save_stable_diffusion(tmp_path / "model")

    with pytest.raises(GenerationFailed, match="is a StableDiffusionPipeline, which enlarges no pictures"):
        load_upscaler("mine", str(folder), CPU, torch.float32)
