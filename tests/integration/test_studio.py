"""Jobs of every kind through the studio: what comes of the input pictures, on the demo model where it can."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deploy.demo.drawing import Scene, draw
from deploy.demo.judge import judge
from shared.errors import GenerationFailed
from shared.hints import no_tool
from shared.jobs import (
    CheckSpec,
    ControlUse,
    Dialect,
    EnlargementSpec,
    FilmSpec,
    HintUse,
    InputPicture,
    IpAdapterUse,
    Kind,
    PictureSpec,
    Role,
)
from shared.missing import NOTHING_TO_CHECK_WITH
from shared.settings import DEMO
from tests.support import tiny
from tests.support.studio import demo_spec, running_studio
from tests.support.tiny_finishing import ALWAYS, NEVER, save_safety_checker
from tests.support.tiny_flux import save_flux
from tests.support.tiny_ip_adapter import save_ip_adapters
from tests.support.waiting import wait_until
from worker.gpu.engine import Pixels
from worker.gpu.hints import classic
from worker.gpu.models import catalogue
from worker.gpu.models.controlnets import load_controlnet
from worker.gpu.studio import Inputs, Made, Studio
from worker.gpu.studio.files import files_of

PLACE = {"file_prefix": "prefix", "public_url": "http://printworks.test"}


def scene(
    shape: str = "square", colour: str = "blue", background: str = "yellow", seed: int = 1
) -> Image.Image:
    return draw(Scene(shape=shape, colour=colour, background=background), Random(seed), side=128)


def upper_half() -> Image.Image:
    """A mask: white, what is to be painted, over black."""
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (0, 0, 128, 64))
    return mask


def told(*roles: Role) -> dict[Role, InputPicture]:
    return {role: InputPicture(name=f"prefix-{role}", told="base64", width=128, height=128) for role in roles}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Studio]:
    models = {
        "demo": DEMO / "model",
        "tiny": tiny.save_stable_diffusion(folder / "tiny"),
        "flux": save_flux(folder / "flux"),
    }
    adapters = save_ip_adapters(folder / "ip")
    checker = str(save_safety_checker(folder / "checker", NEVER))
    with running_studio(models=models, ip_adapter_folder=adapters, safety_checker=checker) as studio:
        yield studio


def picture(studio: Studio, spec: PictureSpec, **inputs: Image.Image) -> Pixels:
    return studio.make(spec, given(**inputs)).pictures[0]


def given(**inputs: Image.Image) -> Inputs:
    return {Role(role): image for role, image in inputs.items()}


def apart(one: Pixels | Image.Image, other: Pixels | Image.Image) -> float:
    """Mean difference, of 255."""
    return float(np.abs(np.asarray(one, int) - np.asarray(other, int)).mean())


def img2img(strength: float, **changes: Any) -> PictureSpec:
    return demo_spec(
        kind=Kind.IMG2IMG, prompt="a red circle on a green background", strength=strength, **changes
    )


def test_the_stronger_the_less_is_left_of_the_init_picture(studio: Studio) -> None:
    init = scene()

    kept, half, most, forgotten = (
        apart(picture(studio, img2img(strength, steps=20), init=init), init)
        for strength in (0.2, 0.5, 0.8, 1.0)
    )

    assert kept < 15
    assert kept < half < most < forgotten
    made = judge(Image.fromarray(picture(studio, img2img(1.0, steps=20), init=init)))
    assert (made.colour, made.background) == ("red", "green")


def test_an_init_picture_of_other_proportions_is_cropped_and_not_squashed(studio: Studio) -> None:
    wide = Image.new("RGB", (256, 128), "black")
    wide.paste(scene(), (64, 0))

    made = picture(studio, img2img(0.1), init=wide)

    assert apart(made, scene()) < 15


def test_inpainting_keeps_what_the_mask_keeps_and_follows_the_prompt_inside(studio: Studio) -> None:
    init = scene("circle", "red", "blue")
    spec = demo_spec(
        kind=Kind.INPAINT, prompt="a green star on a yellow background", strength=1.0, steps=20, height=128
    )

    made = picture(studio, spec, init=init, mask=upper_half())

    assert (made[64:] == np.asarray(init)[64:]).all()
    assert apart(made[:56], np.asarray(init)[:56]) > 30


def controlled(**changes: Any) -> PictureSpec:
    use = ControlUse(control_id="demo-canny", hint_type="canny", scale=1.0)
    values: dict[str, Any] = {
        "kind": Kind.CONTROLNET,
        "prompt": "red on a blue background",
        "steps": 20,
        "hint": HintUse(controls=(use,), auto_hint=True),
    }
    return demo_spec(**(values | changes))


def overlap(made: Pixels, wanted: Image.Image) -> float:
    """Of what is not background: intersection over union."""

    def foreground(pixels: Pixels) -> np.ndarray[Any, np.dtype[np.bool_]]:
        ground = pixels[2:6, 2:6].reshape(-1, 3).mean(0)
        return np.asarray(np.abs(pixels.astype(float) - ground).sum(-1) > 120)

    one, other = foreground(made), foreground(np.asarray(wanted))
    return float((one & other).sum() / max(1, (one | other).sum()))


def test_edges_place_the_shape(studio: Studio) -> None:
    drawn = [
        scene(shape, "white", "black", seed)
        for seed, shape in enumerate(("circle", "square", "star", "ring"))
    ]

    led = [
        overlap(picture(studio, controlled(seed=seed), init=each), each) for seed, each in enumerate(drawn)
    ]
    free = [
        overlap(picture(studio, demo_spec(prompt="red on a blue background", steps=20, seed=seed)), each)
        for seed, each in enumerate(drawn)
    ]

    assert np.mean(led) >= 0.7, led
    assert np.mean(led) > np.mean(free) + 0.2, (led, free)


def test_a_hint_that_is_sent_ready_made_is_used_as_it_is(studio: Studio) -> None:
    drawn = scene("square", "white", "black")
    by_us = picture(studio, controlled(), init=drawn)
    ready = controlled(hint=controlled().hint.model_copy(update={"auto_hint": False}))  # type: ignore[union-attr]

    ready_made = picture(studio, ready, init=Image.fromarray(classic.canny(np.asarray(drawn))))

    assert (by_us == ready_made).all()


def test_a_control_picture_beside_an_init_picture_leads_what_begins_with_it(studio: Studio) -> None:
    init, control = Image.new("RGB", (128, 128), "green"), scene("circle", "white", "black")

    from_init = picture(studio, controlled(strength=0.3), init=init, control=control)
    from_noise = picture(studio, controlled(strength=0.3), init=control)

    assert apart(from_init, init) < apart(from_noise, init)


def test_a_hint_that_cannot_be_made_is_a_sentence(studio: Studio) -> None:
    use = ControlUse(control_id="demo-canny", hint_type="openpose", scale=1.0)
    spec = controlled(hint=HintUse(controls=(use,), auto_hint=True))

    with pytest.raises(GenerationFailed) as failed:
        studio.make(spec, given(init=scene()))

    assert failed.value.detail == no_tool("openpose")


def with_adapter(scale: float | None) -> PictureSpec:
    use = IpAdapterUse(adapter_id="ip-adapter_sd15", scale=scale) if scale is not None else None
    return demo_spec(
        kind=Kind.IMG2IMG,
        model_id="tiny",
        strength=0.9,
        width=64,
        height=64,
        ip_adapter=use,
        deterministic=True,
    )


def test_an_ip_adapter_changes_the_picture_and_at_scale_zero_is_none(studio: Studio) -> None:
    inputs = {"init": scene(), "ip_adapter": scene("heart", "pink", "white")}

    strong, weak, zero, none = (
        picture(studio, with_adapter(scale), **inputs) for scale in (1.0, 0.5, 0.0, None)
    )

    assert (zero == none).all()
    assert not (strong == none).all()
    assert not (strong == weak).all()


@pytest.mark.parametrize("scale", [1, 1.5, 2, 3, 4])
def test_a_picture_is_enlarged_to_exactly_the_size_asked_for(studio: Studio, scale: float) -> None:
    small = scene().resize((40, 24))
    spec = EnlargementSpec(**PLACE, model_id="demo-swin2sr", scale=scale, inputs=told(Role.INIT))

    (made,) = studio.make(spec, given(init=small)).pictures

    assert made.shape == (round(24 * scale), round(40 * scale), 3)
    assert apart(Image.fromarray(made).resize((40, 24)), small) < 12


def test_a_given_picture_is_checked(folder: Path) -> None:
    spec = CheckSpec(**PLACE, model_id="checker", inputs=told(Role.INIT))
    flags = []
    for name, threshold in (("always", ALWAYS), ("never", NEVER)):
        checker = str(save_safety_checker(folder / name, threshold))
        with running_studio(safety_checker=checker) as studio:
            flags.append(studio.make(spec, given(init=scene())).outcome.nsfw)

    assert flags == [True, False]
    with running_studio() as studio, pytest.raises(GenerationFailed, match="No safety checker") as failed:
        studio.make(spec, given(init=scene()))
    assert failed.value.detail == NOTHING_TO_CHECK_WITH


def film_spec(**changes: Any) -> FilmSpec:
    values: dict[str, Any] = {
        "model_id": "demo",
        "prompt": "a red circle on a blue background",
        "width": 128,
        "height": 128,
        "frames": 8,
        "fps": 8,
        "steps": 12,
        "guidance_scale": 7.5,
        "scheduler": "DDIMScheduler",
        "seed": 3,
    }
    return FilmSpec(**PLACE, **(values | changes))


def filmed(studio: Studio, **changes: Any) -> Made:
    return studio.make(film_spec(**changes))


def test_a_video_shows_the_prompt_in_every_frame(studio: Studio) -> None:
    made = filmed(studio)

    assert made.film is not None
    seen = [judge(Image.fromarray(frame)) for frame in made.film.frames]
    assert made.film.frames.shape == (8, 128, 128, 3)
    assert all((one.colour, one.background) == ("red", "blue") for one in seen), seen
    (content,) = files_of(film_spec(), made)
    assert content[4:8] == b"ftyp"


def flux_spec(**changes: Any) -> PictureSpec:
    values: dict[str, Any] = {
        "model_id": "flux",
        "dialect": Dialect.FLUX,
        "width": 64,
        "height": 64,
        "steps": 4,
    }
    return demo_spec(**(values | changes))


def test_flux_pictures_are_made_by_the_same_studio(studio: Studio) -> None:
    one, same, other = (picture(studio, flux_spec(seed=seed)) for seed in (1, 1, 2))
    begun = picture(studio, flux_spec(seed=1, kind=Kind.IMG2IMG, strength=0.5), init=scene())

    assert (one == same).all()
    assert not (one == other).all()
    assert not (one == begun).all()
    assert one.shape == begun.shape == (64, 64, 3)


def test_flux_tells_what_it_ignores_and_which_sampler_ran(studio: Studio) -> None:
    outcome = studio.make(flux_spec(enhance_prompt=True, scheduler="KarrasVeScheduler")).outcome

    assert outcome.ran["enhance_prompt"] == "no"
    assert outcome.ran["scheduler"] == "FlowMatchEulerDiscreteScheduler"


def test_the_negative_prompt_counts_in_flux_as_its_scale_says(studio: Studio) -> None:
    without, ignored, heard = (
        picture(studio, flux_spec(negative_prompt=words, true_cfg_scale=scale, seed=1))
        for words, scale in ((None, 1.0), ("a square", 1.0), ("a square", 3.0))
    )

    assert (without == ignored).all()
    assert not (without == heard).all()


def test_what_flux_cannot_do_is_a_sentence(studio: Studio) -> None:
    with pytest.raises(GenerationFailed, match="send a model_id of Stable Diffusion for inpaint"):
        studio.make(flux_spec(kind=Kind.INPAINT), given(init=scene(), mask=upper_half()))


def test_an_enlargement_that_would_grow_out_of_bounds_on_its_way_is_refused() -> None:
    with running_studio(max_enlarged_pixels=1000) as studio:
        spec = EnlargementSpec(**PLACE, model_id="demo-swin2sr", scale=1, inputs=told(Role.INIT))

        with pytest.raises(GenerationFailed, match="send a smaller picture"):
            studio.make(spec, given(init=scene()))


def test_a_flux_picture_tells_that_it_heard_no_ip_adapter(studio: Studio) -> None:
    use = IpAdapterUse(adapter_id="ip-adapter_sdxl", scale=0.5)
    spec = flux_spec(kind=Kind.IMG2IMG, ip_adapter=use, vae="nowhere")

    outcome = studio.make(spec, given(init=scene(), ip_adapter=scene())).outcome

    assert (outcome.ran["ip_adapter_id"], outcome.ran["vae"]) == (None, None)


def test_a_stable_diffusion_model_is_no_flux_model(studio: Studio) -> None:
    with pytest.raises(GenerationFailed, match="no Flux model"):
        studio.make(flux_spec(model_id="demo"))


def test_hints_are_made_while_another_job_waits_for_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that held its kit and then queued for a hint's network would wait behind who waits for the kit."""
    go_on = threading.Event()
    load = load_controlnet

    def slow(*arguments: Any) -> Any:
        go_on.wait(60)
        return load(*arguments)

    monkeypatch.setattr(catalogue, "load_controlnet", slow)
    models = {"demo": DEMO / "model", "tiny": folder / "tiny"}
    with running_studio(models=models, model_memory_bytes=1000) as studio, ThreadPoolExecutor(2) as pool:
        led = pool.submit(studio.make, controlled(steps=1), given(init=scene()))
        wait_until(lambda: "demo" in studio.library.loaded_ids, within_s=60)
        other = pool.submit(studio.make, demo_spec(model_id="tiny", width=64, height=64, steps=1))
        go_on.set()

        assert len(led.result(120).pictures) == len(other.result(120).pictures) == 1
