"""ControlNets steer pictures as in diffusers' own pipelines, and run once for all pictures of a forward."""

import dataclasses
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from shared.ip_adapters import IP_ADAPTERS
from tests.support import tiny, tiny_ip_adapter
from tests.support.painting import (
    assert_same,
    in_mixed_company,
    painted,
    request,
    running_engine,
    sibling,
    stock_picture,
    submit,
)
from worker.gpu.engine import Engine, Pixels, Steps
from worker.gpu.engine.memory import MemoryModel, meter_for
from worker.gpu.models.controlnets import load_controlnet
from worker.gpu.models.ip_adapters import IpAdapter
from worker.gpu.models.ip_files import load_image_encoder, load_ip_weights
from worker.gpu.models.loaded import from_pipeline
from worker.gpu.models.precision import Precision
from worker.gpu.painting import Control, ImagePrompt, Kit, PictureRequest, SelfAttention, hint_of
from worker.gpu.painting.conditions import condition
from worker.gpu.painting.denoising import SECOND_PASS_STRENGTH, Denoising, first_pass_size
from worker.gpu.painting.guidance import Guided
from worker.gpu.schedulers import make_scheduler

FAMILIES: dict[str, Any] = {"sd1": tiny.stable_diffusion, "sdxl": tiny.stable_diffusion_xl}
PLAIN = {
    "sd1": diffusers.StableDiffusionControlNetPipeline,
    "sdxl": diffusers.StableDiffusionXLControlNetPipeline,
}
PERTURBED = {
    "sd1": diffusers.StableDiffusionControlNetPAGPipeline,
    "sdxl": diffusers.StableDiffusionXLControlNetPAGPipeline,
}
NETS: dict[str, dict[str, Any]] = {
    "canny": {"seed": 1},
    "depth": {"seed": 2, "controlnet_conditioning_channel_order": "bgr"},
    "shuffle": {"seed": 3, "global_pool_conditions": True},
}


@dataclasses.dataclass(frozen=True)
class Studio:
    """A model with its ControlNets: our kit, and what diffusers makes pictures of."""

    family: str
    kit: Kit
    pipeline: diffusers.DiffusionPipeline
    nets: dict[str, diffusers.ControlNetModel]

    def stock(self, wanted: PictureRequest, kinds: dict[str, Any] = PLAIN, **options: Any) -> Pixels:
        if not wanted.controls:
            return stock_picture(self.pipeline, wanted, **options)
        many, hints = len(wanted.controls) > 1, self.shown(wanted)
        nets = [self.nets[control.control_id] for control in wanted.controls]
        scales = [control.scale for control in wanted.controls]
        pag = {"pag_applied_layers": "mid"} if kinds is PERTURBED else {}
        if wanted.guess_mode:
            options["guess_mode"] = True
        return stock_picture(
            sibling(kinds[self.family], self.pipeline, controlnet=nets if many else nets[0], **pag),
            wanted,
            image=hints if many else hints[0],
            controlnet_conditioning_scale=scales if many else scales[0],
            **options,
        )

    @staticmethod
    def shown(wanted: PictureRequest) -> list[Image.Image]:
        return [Image.fromarray((each.hint * 255).round().astype(np.uint8)) for each in wanted.controls]


@pytest.fixture(scope="module", params=FAMILIES)
def studio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return made_studio(request.param, tmp_path_factory.mktemp("nets"))


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return made_studio("sd1", tmp_path_factory.mktemp("sd1"))


def made_studio(family: str, folder: Path, **model_options: Any) -> Studio:
    pipeline = FAMILIES[family]()
    nets = {name: tiny.controlnet(pipeline.unet, **options) for name, options in NETS.items()}
    for name, net in nets.items():
        net.save_pretrained(folder / name)
    precision = Precision.choose("cpu", "fp32")
    loaded = {name: load_controlnet(name, folder / name, precision) for name in nets}
    model = from_pipeline(f"tiny-{family}", pipeline, **model_options)
    return Studio(family, Kit(model=model, vae=model.vae, controlnets=loaded), pipeline, nets)


def control(name: str = "canny", scale: float = 1.0, *, seed: int = 0, width: int = 64) -> Control:
    return Control(name, hint_of(blocks(seed, width=width)), scale)


def blocks(seed: int, height: int = 64, width: int = 64) -> Pixels:
    """A picture of random squares, 8 pixels wide."""
    coarse = np.random.default_rng(seed).integers(0, 2, (height // 8, width // 8, 3), np.uint8) * 255
    return np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)


@pytest.mark.parametrize(
    "scheduler", ["EulerAncestralDiscreteScheduler", "UniPCMultistepScheduler", "HeunDiscreteScheduler"]
)
def test_a_lone_picture_equals_the_stock_pipelines(engine: Engine, studio: Studio, scheduler: str) -> None:
    wanted = request(controls=(control(),), scheduler=scheduler)

    made = painted(engine, studio.kit, wanted)

    assert_same(made, studio.stock(wanted))
    assert (made != painted(engine, studio.kit, dataclasses.replace(wanted, controls=()))).any()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"guidance_scale": 1.0}, id="no guidance"),
        pytest.param({"negative_prompt": None}, id="no negative prompt"),
        pytest.param({"controls": (control(scale=0.4),)}, id="weaker"),
        pytest.param({"width": 96, "controls": (control(width=96),)}, id="not square"),
        pytest.param({"controls": (control("depth"),)}, id="reads blue first"),
        pytest.param({"guess_mode": True}, id="guess mode"),
        pytest.param({"guess_mode": True, "guidance_scale": 1.0}, id="guess mode, no guidance"),
        pytest.param({"controls": (control(), control("depth", 0.5, seed=1))}, id="two"),
        pytest.param({"controls": (control("depth"), control(seed=1, scale=0.3))}, id="two, the other way"),
        pytest.param({"controls": (control(), control(seed=1))}, id="one twice"),
        pytest.param(
            {"guess_mode": True, "controls": (control(), control("depth", 0.5, seed=1))}, id="two, guess mode"
        ),
        pytest.param({"controls": (control("shuffle"),)}, id="pooling"),
        pytest.param({"controls": (control(), control("shuffle", 0.5, seed=1))}, id="pooling beside another"),
    ],
)
def test_every_choice_equals_the_stock_pipelines(
    engine: Engine, studio: Studio, changes: dict[str, Any]
) -> None:
    wanted = request(**({"controls": (control(),)} | changes))

    assert_same(painted(engine, studio.kit, wanted), studio.stock(wanted))


def test_pictures_in_mixed_company_equal_the_stock_pipelines(engine: Engine, studio: Studio) -> None:
    """Other scales, steps, guidance, seeds, samplers and ControlNets, joining while others run."""
    both = (control("depth", 0.6, seed=2), control("canny", 1.3, seed=3))
    choices: list[dict[str, Any]] = [
        {"controls": (control(),), "steps": 7},
        {"controls": (control(scale=0.5, seed=1),), "steps": 4, "guidance_scale": 3.0},
        {"controls": (control(scale=1.5, seed=2),), "guidance_scale": 1.0},
        {"controls": (control("depth"),), "scheduler": "DDIMScheduler"},
        {},
        {"controls": both, "steps": 6},
        {"controls": both[::-1], "scheduler": "DEISMultistepScheduler"},
        {"controls": (control(seed=4),), "guess_mode": True},
        {"controls": (control(seed=5, scale=0.7),), "scheduler": "LMSDiscreteScheduler", "steps": 3},
        {"controls": (control(seed=6),), "guess_mode": True, "guidance_scale": 1.0},
        {"controls": (control("shuffle"),)},
        {"controls": (control(width=96),), "width": 96},
    ]
    wanted = [request(seed=50 + index, **changes) for index, changes in enumerate(choices)]

    expected = [studio.stock(each) for each in wanted]

    made = in_mixed_company(partial(submit, engine, studio.kit), wanted)

    for ours, theirs in zip(made, expected, strict=True):
        assert_same(ours, theirs)


def test_a_controlnet_runs_once_for_all_pictures_of_a_forward(engine: Engine, studio: Studio) -> None:
    """Whatever their scales, seeds, hints and guidance, and in whatever order they name their ControlNets."""
    nets = [(control(scale=0.1 * seed, seed=seed), control("depth", seed=seed)) for seed in range(1, 5)]
    wanted = [request(controls=both, seed=seed, guidance_scale=seed) for seed, both in enumerate(nets, 1)]
    wanted[3] = dataclasses.replace(wanted[3], controls=wanted[3].controls[::-1])
    painted(engine, studio.kit, wanted[1])  # the engine learns how much memory a picture takes
    calls = Calls(
        denoiser=studio.kit.model.unet,
        canny=studio.kit.controlnets["canny"].network,
        depth=studio.kit.controlnets["depth"].network,
    )

    submit(engine, studio.kit, *wanted).result()

    steps = wanted[0].sampling.steps
    assert calls.count == {"denoiser": steps, "canny": steps, "depth": steps}


def test_the_memory_of_a_forward_is_learnt_for_every_set_of_controlnets(studio: Studio) -> None:
    both = (control(), control("depth"))
    choices: list[dict[str, Any]] = [
        {},
        {"controls": both[:1]},
        {"controls": both[:1], "guidance_scale": 1.0},
        {"controls": both[:1], "guess_mode": True},
        {"controls": both[1:]},
        {"controls": both},
        {"controls": both[::-1]},
    ]
    memory = NotingMemory()

    with running_engine(memory=memory) as engine:
        for changes in choices:
            painted(engine, studio.kit, request(steps=1, **changes))

    assert len([size for size in memory.sizes if size[0] == "denoise"]) == 5


class NotingMemory(MemoryModel):
    """Notes which sizes of work were measured apart."""

    def __init__(self) -> None:
        super().__init__(meter_for(torch.device("cpu")))
        self.sizes: set[Any] = set()

    @contextmanager
    def measured(self, size: Hashable, rows: int) -> Iterator[None]:
        self.sizes.add(size)
        with super().measured(size, rows):
            yield


def test_pictures_of_a_job_have_their_hint_read_once(engine: Engine, studio: Studio) -> None:
    shared = control()
    calls = Calls(reader=studio.kit.controlnets["canny"].reader)

    submit(engine, studio.kit, *[request(controls=(shared,), seed=seed) for seed in range(4)]).result()

    assert calls.rows["reader"] == calls.count["reader"] <= 2


class Calls:
    """Counts the forwards of networks, and the rows in them."""

    def __init__(self, **networks: torch.nn.Module) -> None:
        self.count: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        for name, network in networks.items():
            network.register_forward_hook(self._counting(name))

    def _counting(self, name: str) -> Any:
        def count(module: torch.nn.Module, inputs: Sequence[Any], output: Any) -> None:
            self.count[name] += 1
            self.rows[name] += len(inputs[0])

        return count


def test_guess_mode_runs_the_controlnet_for_the_prompt_alone(engine: Engine, studio: Studio) -> None:
    calls = Calls(denoiser=studio.kit.model.unet, canny=studio.kit.controlnets["canny"].network)

    painted(engine, studio.kit, request(controls=(control(),), guess_mode=True))

    assert calls.rows["canny"] == calls.rows["denoiser"] / 2


def test_perturbed_attention_guidance_equals_the_stock_pipelines(engine: Engine, studio: Studio) -> None:
    wanted = request(controls=(control(),), self_attention=SelfAttention.PAG)
    plain = dataclasses.replace(wanted, self_attention=None, seed=2)

    made = submit(engine, studio.kit, plain, wanted, plain).result()

    assert_same(made[1].develop(), studio.stock(wanted, PERTURBED, pag_scale=3.0))
    for index in (0, 2):
        assert_same(made[index].develop(), studio.stock(plain))


@pytest.mark.parametrize("guess_mode", [False, True])
def test_self_attention_guidance_with_a_controlnet_that_is_not_heard_equals_the_stock_pipeline(
    engine: Engine, sd1: Studio, guess_mode: bool
) -> None:
    """diffusers has no pipeline with both, so the ControlNet is one that adds nothing."""
    silent = request(
        self_attention=SelfAttention.SAG,
        scheduler="DDIMScheduler",
        controls=(control(scale=0.0),),
        guess_mode=guess_mode,
    )
    heard = dataclasses.replace(silent, controls=(control(),))
    stock = sibling(diffusers.StableDiffusionSAGPipeline, sd1.pipeline)

    made = [painted(engine, sd1.kit, each) for each in (silent, heard)]

    assert_same(made[0], stock_picture(stock, silent, sag_scale=0.75))
    assert (made[0] != made[1]).any()


def test_an_image_prompt_is_for_the_denoiser_alone(engine: Engine, tmp_path: Path) -> None:
    """As in diffusers: the ControlNet hears the words."""
    studio = made_studio("sd1", tmp_path / "nets")
    adapter_id, folder = "ip-adapter_sd15", tiny_ip_adapter.save_ip_adapters(tmp_path / "ip")
    precision, files = Precision.choose("cpu", "fp32"), IP_ADAPTERS[adapter_id]
    adapter = IpAdapter(
        load_ip_weights(adapter_id, folder, precision), load_image_encoder(adapter_id, folder, precision)
    )
    prompt = ImagePrompt(0.6, blocks(7))
    wanted = request(controls=(control(),), ip=prompt)

    made = painted(engine, dataclasses.replace(studio.kit, ip_adapter=adapter), wanted)

    stock = sibling(PLAIN["sd1"], tiny.stable_diffusion(), controlnet=studio.nets["canny"])
    place, _, name = files.weights.rpartition("/")
    stock.load_ip_adapter(
        str(folder), subfolder=place, weight_name=name, image_encoder_folder=files.image_encoder
    )
    stock.set_ip_adapter_scale(prompt.scale)
    shown = {"image": studio.shown(wanted)[0], "ip_adapter_image": Image.fromarray(prompt.pixels)}
    assert_same(made, stock_picture(stock, wanted, **shown))


def test_a_compiled_models_rows_are_filled_up_behind_those_of_the_controlnets(
    engine: Engine, tmp_path: Path
) -> None:
    studio = made_studio("sd1", tmp_path, compiled=True)
    wanted = request(controls=(control(),), self_attention=SelfAttention.PAG)  # three rows of four

    made = painted(engine, studio.kit, wanted)

    assert_same(made, studio.stock(wanted, PERTURBED, pag_scale=3.0))


def test_deterministic_pictures_are_bit_identical_whatever_runs_beside_them(
    engine: Engine, studio: Studio
) -> None:
    wanted = request(deterministic=True, controls=(control(), control("depth")))
    alone = painted(engine, studio.kit, wanted)

    beside = [dataclasses.replace(wanted, deterministic=False, seed=seed) for seed in range(3)]
    in_company = submit(engine, studio.kit, *beside, wanted, wanted).result()

    assert in_company[3].develop().tobytes() == alone.tobytes()
    assert in_company[4].develop().tobytes() == alone.tobytes()


def test_masked_pixels_are_shown_to_an_inpaint_controlnet_as_in_diffusers(
    engine: Engine, studio: Studio
) -> None:
    picture = blocks(0)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    wanted = request(controls=(Control("canny", hint_of(picture, mask)),))

    made = painted(engine, studio.kit, wanted)

    shown = torch.from_numpy(picture / 255).float().permute(2, 0, 1)[None]
    shown[:, :, torch.from_numpy(mask) > 127] = -1.0
    stock = sibling(PLAIN[studio.family], studio.pipeline, controlnet=studio.nets["canny"])
    assert_same(made, stock_picture(stock, wanted, image=shown))


def test_highres_fix_is_a_small_picture_refined_by_the_stock_image_to_image_pipeline(
    engine: Engine, sd1: Studio
) -> None:
    """Both passes see the hint: the first one a smaller copy."""
    controls = (Control("canny", hint_of(blocks(0, height=96, width=128)), 0.7),)
    wanted = request(highres_fix=True, width=128, height=96, steps=10, controls=controls)

    made = painted(engine, sd1.kit, wanted)

    assert_same(made, refined_by_hand(sd1, wanted))


def refined_by_hand(studio: Studio, wanted: PictureRequest) -> Pixels:
    pipeline, net = studio.pipeline, studio.nets["canny"]
    pipeline.scheduler = make_scheduler(wanted.sampling, pipeline.scheduler.config)
    generator = torch.Generator().manual_seed(wanted.seed)
    words = {"prompt": wanted.prompt, "negative_prompt": wanted.negative_prompt}
    shared: dict[str, Any] = {
        **words,
        "num_inference_steps": wanted.sampling.steps,
        "guidance_scale": wanted.guidance_scale,
        "controlnet_conditioning_scale": 0.7,
        "generator": generator,
    }
    hint = torch.from_numpy(wanted.controls[0].hint).permute(2, 0, 1)[None]
    small = first_pass_size(wanted.height, wanted.width, 64, 8)
    first = sibling(diffusers.StableDiffusionControlNetPipeline, pipeline, controlnet=net)
    small_hint = torch.nn.functional.interpolate(hint, small, mode="area")
    latents = first(**shared, image=small_hint, output_type="latent").images
    size = (wanted.height // 8, wanted.width // 8)
    larger = torch.nn.functional.interpolate(latents, size, mode="bilinear")
    second = sibling(diffusers.StableDiffusionControlNetImg2ImgPipeline, pipeline, controlnet=net)
    picture = second(
        **shared,
        image=larger,
        control_image=hint,
        width=wanted.width,
        height=wanted.height,
        strength=SECOND_PASS_STRENGTH,
        output_type="np",
    ).images[0]
    rounded: Pixels = (picture * 255).round().astype(np.uint8)
    return rounded


def test_a_panorama_of_one_window_is_a_plain_picture(engine: Engine, studio: Studio) -> None:
    wanted = request(panorama=True, controls=(control(),))

    assert_same(painted(engine, studio.kit, wanted), studio.stock(wanted))


def test_a_panoramas_windows_see_their_part_of_the_hint(sd1: Studio) -> None:
    """After one step, what is changed at one end of the hint has not reached the other end."""
    plain = control(width=256)
    other = Control("canny", np.concatenate([plain.hint[:, :192], 1 - plain.hint[:, 192:]], axis=1))
    wanted = request(panorama=True, width=256, steps=1)

    first, second = (
        latents(sd1.kit, dataclasses.replace(wanted, controls=(each,))) for each in (plain, other)
    )

    differing = (first - second).abs().amax(dim=(0, 1, 2)) > 1e-4
    assert differing[-8:].all()
    assert not differing[:12].any()


def latents(kit: Kit, wanted: PictureRequest) -> torch.Tensor:
    """Before they are decoded."""

    def program() -> Steps[torch.Tensor]:
        conditions = yield from condition(kit, wanted, None)
        return (yield from Denoising(Guided(kit, wanted, conditions, None), lambda _: None).run())

    steps = program()
    answers: list[Any] | None = None
    with torch.inference_mode():
        while True:
            try:
                asks = steps.send(answers)  # type: ignore[arg-type]
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answers = [ask.answer([ask])[0] for ask in asks]
