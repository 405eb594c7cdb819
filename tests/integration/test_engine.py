"""The engine: who shares forwards with whom, who goes when, and what happens when something breaks."""

import dataclasses
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from shared.errors import Cancelled, GenerationFailed
from shared.jobs import LoraUse
from tests.support import tiny
from tests.support.painting import painted, request, running_engine, submit
from tests.support.waiting import wait_until
from worker.gpu.engine import Engine, Note, Picture, Rendering, Steps, one
from worker.gpu.engine.batching import DeviceLost, run_split
from worker.gpu.models.loaded import LoadedModel, from_pipeline
from worker.gpu.painting import Kit, SelfAttention
from worker.gpu.painting.decoding import Decode


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return from_pipeline("tiny", tiny.stable_diffusion())


@pytest.fixture
def kit(model: LoadedModel) -> Kit:
    return Kit.plain(model)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with running_engine() as engine:
        yield engine


class Watched:
    """The model's UNet with something done before each forward; counts the rows of every forward."""

    def __init__(
        self, model: LoadedModel, before: Callable[[torch.Tensor], object] = lambda inputs: None
    ) -> None:
        self._unet, self._before = model.unet, before
        self.config = model.unet.config
        self.rows: list[int] = []

    def __call__(self, inputs: torch.Tensor, *args: Any, **options: Any) -> Any:
        self.rows.append(len(inputs))
        self._before(inputs)
        return self._unet(inputs, *args, **options)


def watched_kit(model: LoadedModel, unet: Watched) -> Kit:
    return Kit.plain(dataclasses.replace(model, unet=unet))


def rows_of(engine: Engine, model: LoadedModel, *crowd: Any) -> list[int]:
    """Rows of each forward when all of `crowd` wait at the moment when the first forward ends."""
    gate = threading.Event()
    unet = Watched(model, before=lambda _: gate.wait(10))
    kit = watched_kit(model, unet)
    renderings = [submit(engine, kit, crowd[0])]
    wait_until(lambda: unet.rows)
    renderings += [submit(engine, kit, each) for each in crowd[1:]]
    gate.set()
    for rendering in renderings:
        rendering.result()
    return unet.rows


def test_jobs_with_other_steps_guidance_and_schedulers_share_forwards(
    engine: Engine, model: LoadedModel
) -> None:
    painted(engine, Kit.plain(model), request())  # so that the memory of this size is known

    rows = rows_of(
        engine,
        model,
        request(steps=3),
        request(steps=5, guidance_scale=3.0, scheduler="DDIMScheduler"),
        request(steps=9, guidance_scale=1.0),
    )

    assert rows == [2, 5, 5, 3, 3, 3, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(request(steps=3, width=96), id="another size"),
        pytest.param(request(steps=3, prompt="word " * 90), id="more tokens"),
        pytest.param(request(steps=3, tomesd=True), id="merged tokens"),
        pytest.param(request(steps=3, deterministic=True), id="deterministic"),
    ],
)
def test_what_cannot_be_stacked_takes_turns(engine: Engine, model: LoadedModel, other: Any) -> None:
    rows = rows_of(engine, model, request(steps=3), other)

    assert rows == [2] * 6


def test_guidance_by_self_attention_shares_forwards_with_plain_pictures(
    engine: Engine, model: LoadedModel
) -> None:
    painted(engine, Kit.plain(model), request())

    rows = rows_of(engine, model, request(steps=3), request(steps=3, self_attention=SelfAttention.PAG))

    assert rows == [2, 5, 5, 3]


def test_the_first_forward_of_a_size_is_measured_alone(engine: Engine, model: LoadedModel) -> None:
    unet = Watched(model)

    submit(engine, watched_kit(model, unet), *[request(steps=2, seed=seed) for seed in range(4)]).result()

    assert unet.rows[0] == 2
    assert max(unet.rows) == 8


def test_pictures_that_are_finished_together_are_decoded_together(engine: Engine, model: LoadedModel) -> None:
    batches: list[int] = []
    hook = model.vae.decoder.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    kit = Kit.plain(model)
    painted(engine, kit, request())  # so that the memory of a decoding is known

    submit(engine, kit, *[request(seed=seed) for seed in range(4)]).result()

    hook.remove()
    assert batches == [1, 4]


def test_a_cancelled_rendering_leaves_at_the_next_step_and_the_others_go_on(engine: Engine, kit: Kit) -> None:
    doomed, other = (
        submit(engine, kit, request(steps=900), request(steps=900)),
        submit(engine, kit, request(steps=20)),
    )
    wait_until(lambda: doomed.progress > 0)

    doomed.cancel()

    with pytest.raises(Cancelled):
        doomed.result()
    assert doomed.progress < 1
    assert other.result()[0].develop().shape == (64, 64, 3)


def test_a_rendering_cancelled_during_its_last_step_is_not_kept_waiting(
    engine: Engine, model: LoadedModel
) -> None:
    renderings: list[Rendering] = []
    begun = threading.Event()

    def cancel_in_the_forward(_: torch.Tensor) -> None:
        begun.wait(10)
        renderings[0].cancel()

    unet = Watched(model, before=cancel_in_the_forward)
    renderings.append(submit(engine, watched_kit(model, unet), request(steps=1)))
    begun.set()

    with pytest.raises(Cancelled):
        renderings[0].result()


def test_a_steady_stream_of_short_jobs_does_not_hold_up_a_long_one(engine: Engine, kit: Kit) -> None:
    long_one = submit(engine, kit, request(steps=30))
    wait_until(lambda: long_one.progress > 0)

    shorts = 0
    while long_one.progress < 1:
        submit(engine, kit, request(steps=1, width=96)).result()
        shorts += 1
        assert shorts < 100

    assert len(long_one.result()) == 1


def test_a_short_job_of_another_size_is_not_kept_behind_long_ones(engine: Engine, kit: Kit) -> None:
    long_ones = [submit(engine, kit, request(steps=900, seed=seed)) for seed in range(24)]
    wait_until(lambda: long_ones[-1].progress > 0)
    steps_before = max(rendering.progress for rendering in long_ones) * 900

    submit(engine, kit, request(steps=2, width=96)).result()

    steps_after = max(rendering.progress for rendering in long_ones) * 900
    assert steps_after - steps_before <= 8  # its own two turns, and what lay around them
    for rendering in long_ones:
        rendering.cancel()


def test_a_panorama_does_not_starve_the_pictures_beside_it(engine: Engine, kit: Kit) -> None:
    panorama = submit(engine, kit, request(panorama=True, width=512, steps=20))
    wait_until(lambda: panorama.progress > 0)

    submit(engine, kit, request(steps=2, width=96)).result()

    assert panorama.progress < 0.9
    panorama.cancel()


def test_a_panorama_does_not_starve_its_own_lane(engine: Engine, kit: Kit) -> None:
    panorama = submit(engine, kit, request(panorama=True, width=1024, steps=4))  # 121 windows of 64 px
    wait_until(lambda: panorama.progress > 0)
    before = panorama.progress

    submit(engine, kit, request(steps=4)).result()

    assert panorama.progress - before <= 0.5
    panorama.cancel()


def test_running_out_of_memory_narrows_the_lane_and_fails_nobody(engine: Engine, model: LoadedModel) -> None:
    def refuse_more_than_four_rows(inputs: torch.Tensor) -> None:
        if len(inputs) > 4:
            raise torch.OutOfMemoryError("too wide")

    unet = Watched(model, before=refuse_more_than_four_rows)
    crowd = submit(engine, watched_kit(model, unet), *[request(steps=4, seed=seed) for seed in range(6)])

    assert len(crowd.result()) == 6
    refused = [index for index, rows in enumerate(unet.rows) if rows > 4]
    assert len(refused) <= 3  # the whole crowd and its two halves, once
    assert len(unet.rows) - refused[-1] > 8


def test_a_job_that_does_not_fit_gets_the_room_that_idle_models_take(model: LoadedModel) -> None:
    idle_models = ["another model"]

    def refuse_while_full(_: torch.Tensor) -> None:
        if idle_models:
            raise torch.OutOfMemoryError("full")

    def make_room() -> bool:
        idle_models.clear()
        return True

    unet = Watched(model, before=refuse_while_full)
    with running_engine(make_room=make_room) as engine:
        assert painted(engine, watched_kit(model, unet), request(steps=2)).shape == (64, 64, 3)


def test_a_request_that_cannot_begin_fails_alone(engine: Engine, kit: Kit) -> None:
    good, bad = submit(engine, kit, request()), submit(engine, kit, request(scheduler="Magic"))

    with pytest.raises(ValueError, match="Magic"):
        bad.result()
    assert len(good.result()) == 1


def test_a_picture_that_breaks_in_its_own_step_fails_alone(engine: Engine, kit: Kit) -> None:
    unknown = LoraUse(lora_id="never attached", strength=1.0)
    bad = submit(engine, kit, request(loras=(unknown,)))
    good = submit(engine, kit, request())

    with pytest.raises(KeyError):
        bad.result()
    assert len(good.result()) == 1


def test_numbers_that_ran_out_of_range_fail_their_picture_with_a_sentence_and_no_other(
    engine: Engine, kit: Kit
) -> None:
    def breaking(note: Note) -> Steps[Picture]:
        latents = torch.full((1, 4, 8, 8), torch.nan)
        pixels = yield from one(Decode(kit, latents))
        return Picture(lambda: pixels)

    bad = engine.submit([breaking])
    fine = submit(engine, kit, request(), request(seed=2))

    with pytest.raises(GenerationFailed, match="ran out of range"):
        bad.result()
    assert len(fine.result()) == 2


def test_a_lost_device_is_fatal_and_not_repaired(model: LoadedModel) -> None:
    def lose(inputs: torch.Tensor) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    fatal: list[BaseException] = []
    engine = Engine(lane_width=8, device=torch.device("cpu"), on_fatal=fatal.append)
    engine.start()

    submit(engine, watched_kit(model, Watched(model, before=lose)), request())

    wait_until(lambda: fatal)
    assert isinstance(fatal[0], DeviceLost)


def test_what_failed_for_lack_of_memory_is_let_go_before_room_is_made() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    def work(items: Any) -> list[int]:
        activations = torch.zeros(10)
        kept.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("full")

    def make_room(_: Any) -> bool:
        alive.append(kept[-1]() is not None)
        return True

    (result,) = run_split(work, [1], on_out_of_memory=make_room)

    assert isinstance(result, torch.OutOfMemoryError)
    assert alive == [False]


def test_another_error_after_room_was_made_fails_its_item_and_not_the_engine() -> None:
    errors: list[Exception] = [torch.OutOfMemoryError("full"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")]

    def work(_: Any) -> list[int]:
        raise errors.pop(0)

    (result,) = run_split(work, [1], on_out_of_memory=lambda _: True)

    assert str(result) == "CUBLAS_STATUS_ALLOC_FAILED"


def test_only_the_bad_items_of_a_batch_fail() -> None:
    def work(items: Any) -> list[int]:
        if 3 in items:
            raise RuntimeError("three")
        return [item * 10 for item in items]

    results = run_split(work, [1, 2, 3, 4, 5], on_out_of_memory=lambda _: False)

    assert [result for result in results if isinstance(result, int)] == [10, 20, 40, 50]
    assert isinstance(results[2], RuntimeError)


def test_a_compiled_model_sees_powers_of_two_and_makes_the_same_picture(engine: Engine) -> None:
    pipeline = tiny.stable_diffusion()
    plain = painted(engine, Kit.plain(from_pipeline("plain", pipeline)), request())
    pipeline.unet.compile_repeated_blocks(backend="aot_eager")
    compiled = from_pipeline("compiled", pipeline, compiled=True)
    unet = Watched(compiled)

    crowd = submit(
        engine, watched_kit(compiled, unet), *[request(steps=5, seed=seed) for seed in (1, 2, 3)]
    ).result()

    assert set(unet.rows) <= {2, 4, 8}
    apart = abs(crowd[0].develop().astype(int) - plain.astype(int))
    assert apart.max() <= 1


def test_progress_counts_the_steps_of_every_pass(engine: Engine, model: LoadedModel) -> None:
    seen: list[float] = []
    renderings: list[Rendering] = []
    begun = threading.Event()

    def look(_: torch.Tensor) -> None:
        begun.wait(10)
        seen.append(renderings[0].progress)

    kit = watched_kit(model, Watched(model, before=look))
    renderings.append(submit(engine, kit, request(highres_fix=True, width=128, height=128)))
    begun.set()
    renderings[0].result()

    assert seen == [step / 8 for step in range(8)]  # five of the first pass, three of the second
