"""What a worker makes pictures with: read from real folders, kept within memory, loaded beside the work."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import Cancelled, GenerationFailed
from shared.jobs import PictureSpec
from shared.schedulers import SCHEDULERS
from tests.support import tiny
from tests.support.studio import demo_spec, make_all, running_studio
from tests.support.waiting import wait_until
from worker.gpu.engine import Rendering
from worker.gpu.models import catalogue, loading
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.studio import Studio


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    tiny.stable_diffusion_xl().save_pretrained(folder / "xl")
    return {
        "one": tiny.save_stable_diffusion(folder / "one", seed=1),
        "two": tiny.save_stable_diffusion(folder / "two", seed=2),
        "xl": folder / "xl",
    }


@pytest.fixture
def studio(folders: dict[str, Path]) -> Iterator[Studio]:
    with running_studio(models=folders) as studio:
        yield studio


def small_spec(model_id: str, **changes: Any) -> PictureSpec:
    values = {"prompt": "a red circle", "width": 64, "height": 64, "steps": 3}
    return demo_spec(model_id=model_id, **(values | changes))


def test_models_of_every_family_are_told_apart_by_their_folders(studio: Studio) -> None:
    made = make_all(studio, [small_spec(name) for name in ("one", "two", "xl")])

    pictures = [each.pictures[0] for each in made]
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert set(studio.library.loaded_ids) == {"one", "two", "xl"}


def test_a_cold_model_is_loaded_once_for_all_that_want_it(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted(monkeypatch)
    with running_studio(models=folders) as studio:
        make_all(studio, [small_spec("one", seed=seed) for seed in range(6)])

    assert loads == ["one"]


def test_pictures_go_on_while_another_model_is_loading(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    with running_studio(models=folders) as studio:
        studio.library.preload("one")
        counted(monkeypatch, before=lambda: gate.wait(20))
        late = threading.Thread(target=studio.make, args=[small_spec("two")])
        late.start()

        made = studio.make(small_spec("one", steps=20))

        assert late.is_alive()
        assert made.pictures[0].shape == (64, 64, 3)
        gate.set()
        late.join(20)


def test_models_leave_when_there_is_no_room_for_all_and_come_back(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = counted(monkeypatch)
    with running_studio(models=folders, model_memory_bytes=1_000_000) as studio:
        first = studio.make(small_spec("one", deterministic=True)).pictures[0]
        for name in ("two", "one", "two"):
            made = studio.make(small_spec(name, deterministic=True)).pictures[0]
            assert (made.tobytes() == first.tobytes()) == (name == "one")
            assert studio.library.loaded_ids == (name,)

    assert loads == ["one", "two", "one", "two"]


def test_jobs_of_models_that_do_not_fit_together_are_all_done(folders: dict[str, Path]) -> None:
    with running_studio(models=folders, model_memory_bytes=1_000_000) as studio:
        made = make_all(
            studio, [small_spec(("one", "two", "xl")[index % 3], seed=index) for index in range(9)]
        )

    assert all(each.pictures[0].shape == (64, 64, 3) for each in made)


def test_a_model_that_is_being_used_stays(folders: dict[str, Path]) -> None:
    with running_studio(models=folders) as studio:
        begun: list[Rendering] = []
        busy = threading.Thread(target=make_until_cancelled, args=[studio, begun])
        busy.start()
        wait_until(lambda: begun and begun[0].progress > 0)

        has_made_room = [studio.library.make_room()]
        begun[0].cancel()
        busy.join(10)
        has_made_room.append(studio.library.make_room())

        assert has_made_room == [False, True]


def make_until_cancelled(studio: Studio, begun: list[Rendering]) -> None:
    with pytest.raises(Cancelled):
        studio.make(small_spec("one", steps=900), on_begin=begun.append)


def test_a_compiled_model_makes_the_same_picture(folders: dict[str, Path], studio: Studio) -> None:
    with running_studio(models=folders, compile_backend="aot_eager") as compiled:
        pictures = [each.make(small_spec("one")).pictures[0].astype(int) for each in (studio, compiled)]

    assert np.abs(pictures[0] - pictures[1]).max() <= 1


@pytest.mark.parametrize(("dtype", "apart"), [("bf16", 20), ("fp16", 8)])
def test_half_precision_makes_nearly_the_same_picture_of_every_family(
    folders: dict[str, Path], studio: Studio, dtype: str, apart: float
) -> None:
    with running_studio(models=folders, dtype=dtype) as half:
        for name in ("one", "xl"):
            spec = small_spec(name, clip_skip=2, prompt="a (red:1.3) circle")
            exact, rough = studio.make(spec), half.make(spec)
            assert rough.outcome.revision == dtype
            assert np.abs(exact.pictures[0].astype(int) - rough.pictures[0].astype(int)).mean() < apart


FEATURES: list[dict[str, Any]] = [
    *({"scheduler": name, "use_karras_sigmas": True} for name in SCHEDULERS),
    {"self_attention": True, "scheduler": "DDIMScheduler"},
    {"self_attention": True, "scheduler": "EulerDiscreteScheduler"},
    {"panorama": True, "width": 96},
    {"highres_fix": True, "width": 128, "height": 128},
    {"tomesd": True, "width": 384, "height": 384},
    {"upscale": True},
]


@pytest.mark.parametrize("name", ["one", "xl"])
def test_every_feature_runs_in_half_precision(folders: dict[str, Path], name: str) -> None:
    with running_studio(models=folders, dtype="fp16") as studio:
        made = make_all(studio, [small_spec(name, **feature) for feature in FEATURES])

    assert all(each.pictures[0].std() > 1 for each in made)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda folder: (folder / "model_index.json").unlink(), id="no index"),
        pytest.param(lambda folder: (folder / "model_index.json").write_text("{"), id="broken index"),
        pytest.param(
            lambda folder: (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'),
            id="another family",
        ),
        pytest.param(
            lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"short"),
            id="truncated weights",
        ),
        pytest.param(
            lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(), id="no weights"
        ),
    ],
)
def test_a_model_that_cannot_be_read_fails_with_a_sentence(
    tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    folder = tiny.save_stable_diffusion(tmp_path / "spoilt")
    spoil(folder)

    with (
        running_studio(models={"spoilt": folder}) as studio,
        pytest.raises(GenerationFailed, match="Model spoilt can't be loaded on the server"),
    ):
        studio.make(small_spec("spoilt"))


def test_a_vae_that_is_none_fails_with_a_sentence(folders: dict[str, Path], tmp_path: Path) -> None:
    with (
        running_studio(models=folders, vaes={"none": tmp_path}) as studio,
        pytest.raises(GenerationFailed, match="VAE none can't be loaded"),
    ):
        studio.make(small_spec("one", vae="none"))


def counted(monkeypatch: pytest.MonkeyPatch, before: Callable[[], object] = lambda: None) -> list[str]:
    """Ids of the checkpoints as they are loaded from now on."""
    loads: list[str] = []
    load = loading.load_checkpoint

    def counting(model_id: str, *rest: Any) -> LoadedModel:
        before()
        loads.append(model_id)
        return load(model_id, *rest)

    monkeypatch.setattr(catalogue, "load_checkpoint", counting)
    return loads
