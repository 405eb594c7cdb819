"""Every parameter of text2img does what its page says: one is changed, and the picture shows the effect.

On the demo model, through all that a worker does to a job but Redis and Celery. What a scheduler, a LoRA or a
prompt's syntax means exactly, the tests beside this one compare with diffusers.
"""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from PIL import Image

from deploy.demo import prompts
from deploy.demo.effects import has_floor, has_frame
from deploy.demo.judge import Verdict, judge
from deploy.demo.measure import share_right
from shared.errors import GenerationFailed
from shared.jobs import LoraUse
from shared.missing import NO_TRANSLATOR, NOT_ENLARGED, UNCHECKED
from shared.safety import SAFETY_CHECKER_TYPES
from shared.settings import DEMO
from tests.support.studio import demo_spec, images, make_all, running_studio
from tests.support.tiny_finishing import ALWAYS, NEVER, save_safety_checker
from tests.support.tiny_language import save_translator
from worker.gpu.models.loaded import LoadedModel
from worker.gpu.painting import Kit, PictureRequest
from worker.gpu.studio import Studio

ASKED = prompts.MAIN[::5]
Array = NDArray[np.int_]


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with running_studio() as studio:
        yield studio


def seen(studio: Studio, **changes: Any) -> list[Verdict]:
    """What a judge sees on pictures of prompts that the training never said."""
    specs = [demo_spec(prompt=asked.text, seed=index, **changes) for index, asked in enumerate(ASKED)]
    return [judge(image) for image in images(studio, specs)]


def obeyed(studio: Studio, **changes: Any) -> dict[str, float]:
    verdicts = seen(studio, **changes)
    return {field: share_right(field, verdicts, ASKED) for field in ("colour", "background", "shape")}


def pixels(studio: Studio, **changes: Any) -> Array:
    return np.asarray(images(studio, [demo_spec(**changes)])[0], int)


def ran(studio: Studio, **changes: Any) -> dict[str, Any]:
    return studio.make(demo_spec(steps=1, **changes)).outcome.ran


def test_a_picture_is_of_its_prompt(studio: Studio) -> None:
    assert min(obeyed(studio).values()) >= 0.85


def test_a_prompt_is_heard_behind_its_first_chunk(studio: Studio) -> None:
    filler = "masterpiece, highly detailed, sharp focus, award winning, " * 7

    specs = [demo_spec(prompt=filler + "a red circle on a blue background", seed=seed) for seed in range(4)]

    verdicts = [judge(image) for image in images(studio, specs)]
    assert [(each.colour, each.background) for each in verdicts].count(("red", "blue")) >= 3


def test_clip_skip_hears_an_earlier_layer_and_stops_at_the_first(studio: Studio) -> None:
    last, penultimate, first, beyond = (pixels(studio, clip_skip=skip) for skip in (1, 2, 4, 8))

    assert (last != penultimate).any()
    assert judge(Image.fromarray(penultimate.astype(np.uint8))).colour == "red"
    assert (penultimate != first).any()
    assert (first == beyond).all()  # the demo model's text encoder has four layers


def test_an_enhanced_prompt_says_more_and_shows_the_same(studio: Studio) -> None:
    enhanced, plain = (ran(studio, enhance_prompt=switch) for switch in (True, False))

    prompt = demo_spec().prompt
    assert plain["prompt"] == prompt
    assert plain["negative_prompt"] == ""
    assert str(enhanced["prompt"]).startswith(prompt + ", ")
    assert "blurry" in str(enhanced["negative_prompt"])
    assert min(obeyed(studio, enhance_prompt=True).values()) >= 0.75


def test_a_prompt_in_another_language_is_translated_before_it_is_painted(tmp_path: Path) -> None:
    folder = save_translator(tmp_path / "translator")
    french = "un cercle rouge sur un fond bleu, une belle image pour la cuisine de ma grand-mère"
    with running_studio(translator=str(folder)) as studio:
        translated = ran(studio, prompt=french, multi_lingual=True)
        untouched = ran(studio, prompt=french, multi_lingual=False)

    assert translated["prompt"] != french
    assert untouched["prompt"] == french


def test_translation_without_a_translator_fails_with_a_sentence(studio: Studio) -> None:
    with pytest.raises(GenerationFailed) as failure:
        studio.make(demo_spec(multi_lingual=True))

    assert failure.value.detail == NO_TRANSLATOR


def test_the_pictures_of_a_job_have_the_seeds_that_follow_each_other(studio: Studio) -> None:
    four = studio.make(demo_spec(samples=4, seed=7, steps=6)).pictures
    alone = images(studio, [demo_spec(seed=7 + index, steps=6) for index in range(4)])

    for made, single in zip(four, alone, strict=True):
        assert np.abs(made.astype(int) - np.asarray(single, int)).max() <= 1
    assert len({made.tobytes() for made in four}) == 4


def test_more_guidance_follows_the_prompt_more(studio: Studio) -> None:
    loose, strict = obeyed(studio, guidance_scale=1.0), obeyed(studio, guidance_scale=7.5)

    assert sum(loose.values()) < sum(strict.values())


def test_more_steps_come_closer_to_the_finished_picture(studio: Studio) -> None:
    finished = pixels(studio, steps=40)

    apart = [np.abs(pixels(studio, steps=steps) - finished).mean() for steps in (2, 6, 25)]

    assert apart == sorted(apart, reverse=True)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (192, 96), (72, 136)])
def test_pictures_have_the_size_that_was_asked_for(studio: Studio, width: int, height: int) -> None:
    assert pixels(studio, width=width, height=height, steps=2).shape == (height, width, 3)


def test_karras_sigmas_run_where_the_scheduler_has_them_and_nowhere_else(studio: Studio) -> None:
    with_them, without = (pixels(studio, use_karras_sigmas=switch) for switch in (True, False))

    assert np.abs(with_them - without).max() > 8
    assert ran(studio, use_karras_sigmas=True)["use_karras_sigmas"] == "yes"
    assert ran(studio, use_karras_sigmas=True, scheduler="DDIMScheduler")["use_karras_sigmas"] == "no"
    assert min(obeyed(studio, use_karras_sigmas=True).values()) >= 0.85


def test_the_stochastic_algorithm_draws_noise_at_every_step_and_others_do_not(studio: Studio) -> None:
    usual: dict[str, Any] = {"scheduler": "DPMSolverMultistepScheduler", "steps": 20}
    plain, solver, stochastic = (
        pixels(studio, algorithm_type=name, **usual) for name in (None, "dpmsolver++", "sde-dpmsolver++")
    )

    assert (plain == solver).all()
    assert np.abs(plain - stochastic).max() > 8
    multistep = ran(studio, algorithm_type="sde-dpmsolver++", scheduler=usual["scheduler"])
    assert multistep["algorithm_type"] == "sde-dpmsolver++"
    assert ran(studio, algorithm_type="dpmsolver++")["algorithm_type"] == "no"  # another scheduler


def test_the_inverse_scheduler_runs_as_its_forward_counterpart_and_the_answer_says_so(studio: Studio) -> None:
    inverse, forward = (pixels(studio, scheduler=f"DDIM{kind}Scheduler") for kind in ("Inverse", ""))

    assert (inverse == forward).all()
    assert ran(studio, scheduler="DDIMInverseScheduler")["scheduler"] == "DDIMScheduler"


def test_a_lora_has_its_effect_by_its_strength(studio: Studio) -> None:
    def floors(*strengths: float) -> float:
        uses = tuple(LoraUse(lora_id="demo-floor", strength=strength) for strength in strengths)
        specs = [demo_spec(prompt=asked.text, seed=i, loras=uses) for i, asked in enumerate(ASKED)]
        return float(np.mean([has_floor(image) for image in images(studio, specs)]))

    none, half, full = floors(), floors(0.5), floors(1.0)

    assert none < half < full
    assert full > 4 * max(none, 0.05)


def test_several_loras_act_together(studio: Studio) -> None:
    def scores(*names: str) -> tuple[float, float]:
        uses = tuple(LoraUse(lora_id=name, strength=1.0) for name in names)
        specs = [demo_spec(prompt=asked.text, seed=i, loras=uses) for i, asked in enumerate(ASKED)]
        made = images(studio, specs)
        return float(np.mean([has_floor(i) for i in made])), float(np.mean([has_frame(i) for i in made]))

    plain, both = scores(), scores("demo-floor", "demo-frame")

    assert both[0] > 2 * plain[0]
    assert both[1] > 2 * plain[1]


def test_an_embedding_is_a_word_of_its_own(studio: Studio) -> None:
    """The word may be in the prompt; if it is nowhere, it is put behind it."""

    def sunsets(prompt: str, **changes: Any) -> int:
        specs = [demo_spec(prompt=prompt, seed=seed, steps=20, **changes) for seed in range(8)]
        verdicts = [judge(image) for image in images(studio, specs)]
        return [(each.colour, each.background) for each in verdicts].count(("orange", "purple"))

    said = sunsets("a circle, demo-sunset", embeddings=("demo-sunset",))
    unsaid = sunsets("a circle", embeddings=("demo-sunset",))
    without = sunsets("a circle, demo-sunset")

    assert min(said, unsaid) >= 6
    assert without <= 2


def test_an_embedding_is_not_taken_for_a_part_of_another_word(studio: Studio) -> None:
    prompt = ran(studio, prompt="a demo-sunsetting sky", embeddings=("demo-sunset",))["prompt"]

    assert prompt == "a demo-sunsetting sky, demo-sunset"


def test_a_vae_of_other_latents_is_refused_with_a_sentence(tmp_path: Path) -> None:
    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4).save_pretrained(
        tmp_path / "other"
    )
    with (
        running_studio(vaes={"other": tmp_path / "other"}) as studio,
        pytest.raises(GenerationFailed, match="VAE other does not fit this model"),
    ):
        studio.make(demo_spec(vae="other"))


def test_a_custom_vae_decodes_the_picture(tmp_path: Path) -> None:
    vae = AutoencoderKL.from_pretrained(DEMO / "model" / "vae", dtype=torch.float32)
    vae.decoder.conv_out.bias.data += 0.5
    vae.save_pretrained(tmp_path / "bright")
    with running_studio(vaes={"bright": tmp_path / "bright"}) as studio:
        usual, bright = pixels(studio), pixels(studio, vae="bright")

    assert (bright >= usual - 1).all()
    assert (bright - usual).mean() > 20


@pytest.mark.parametrize("kind", SAFETY_CHECKER_TYPES)
def test_a_sensitive_picture_is_covered_in_the_way_that_was_asked_for(tmp_path: Path, kind: str) -> None:
    flags_all = save_safety_checker(tmp_path / "checker", ALWAYS)
    with running_studio(safety_checker=str(flags_all)) as studio:
        covered = studio.make(demo_spec(safety_checker=True, safety_checker_type=kind))
        unchecked = studio.make(demo_spec(safety_checker=False))

    assert covered.outcome.nsfw is True
    assert covered.outcome.ran["safety_checker"] == "yes"
    assert judge(Image.fromarray(unchecked.pictures[0])).shape == "circle"
    assert judge(Image.fromarray(covered.pictures[0])).shape != "circle" or kind == "blur"
    if kind == "black":
        assert not covered.pictures[0].any()


def test_a_harmless_picture_is_left_as_it_is(tmp_path: Path) -> None:
    flags_none = save_safety_checker(tmp_path / "checker", NEVER)
    with running_studio(safety_checker=str(flags_none)) as studio:
        checked, unchecked = (
            studio.make(demo_spec(safety_checker=switch, deterministic=True)) for switch in (True, False)
        )

    assert checked.outcome.nsfw is False
    assert unchecked.outcome.nsfw is None
    assert checked.pictures[0].tobytes() == unchecked.pictures[0].tobytes()


def test_without_a_checker_the_answer_says_that_nothing_was_checked(studio: Studio) -> None:
    outcome = studio.make(demo_spec(safety_checker=True, steps=1)).outcome

    assert outcome.tip == UNCHECKED
    assert (outcome.nsfw, outcome.ran["safety_checker"]) == (None, "no")


def test_merged_tokens_spare_work_in_large_pictures_and_are_left_out_of_small_ones(studio: Studio) -> None:
    small, large = {"width": 128, "height": 128}, {"width": 384, "height": 384, "steps": 8}
    with studio.library.kit(demo_spec()) as kit:
        assert isinstance(kit, Kit)
        positions = AttendedPositions(kit.model)
        merged, plain = (pixels(studio, tomesd=switch, **large) for switch in (True, False))

    assert positions.longest_of_forwards() == {48 * 48 // 2, 48 * 48}
    assert np.abs(merged - plain).max() > 1
    assert judge(Image.fromarray(merged.astype(np.uint8))).background == "blue"
    assert ran(studio, tomesd=True, **small)["tomesd"] == "no"
    assert ran(studio, tomesd=True, width=384, height=384)["tomesd"] == "yes"


class AttendedPositions:
    """Notes how many positions each of the UNet's self-attentions gets."""

    def __init__(self, model: LoadedModel) -> None:
        self._now: list[int] = []
        self._longest: set[int] = set()
        for name, module in model.unet.named_modules():
            if name.endswith("attn1"):
                module.register_forward_pre_hook(lambda _, inputs: self._now.append(inputs[0].shape[1]))
        model.unet.register_forward_hook(lambda *_: self._end())

    def _end(self) -> None:
        self._longest.add(max(self._now))
        self._now.clear()

    def longest_of_forwards(self) -> set[int]:
        return self._longest


def test_self_attention_guidance_sets_the_object_off_from_its_ground(studio: Studio) -> None:
    usual = {"scheduler": "DDIMScheduler", "steps": 12}
    specs = [demo_spec(prompt=asked.text, seed=i, **usual) for i, asked in enumerate(prompts.MAIN[::3])]

    plain = [contrast(image) for image in images(studio, specs)]
    guided = [
        contrast(image)
        for image in images(studio, [each.model_copy(update={"self_attention": True}) for each in specs])
    ]

    gains = [after - before for before, after in zip(plain, guided, strict=True)]
    assert sum(gain > 0 for gain in gains) >= 9
    assert np.mean(gains) > 1


def contrast(image: Image.Image) -> float:
    """How far the object's colour is from its ground's."""
    array = np.asarray(image).astype(float)
    ground = np.median(np.concatenate([array[:4].reshape(-1, 3), array[-4:].reshape(-1, 3)]), axis=0)
    return float(np.percentile(np.sqrt(((array - ground) ** 2).sum(2)), 98.5))


@pytest.mark.parametrize(
    ("scheduler", "method"), [("DDIMScheduler", "SAG"), ("EulerDiscreteScheduler", "PAG")]
)
def test_the_answer_says_which_guidance_by_self_attention_ran(
    studio: Studio, scheduler: str, method: str
) -> None:
    guided, plain = (pixels(studio, self_attention=switch, scheduler=scheduler) for switch in (True, False))

    assert (guided != plain).any()
    assert ran(studio, self_attention=True, scheduler=scheduler)["self_attention_method"] == method
    assert ran(studio, scheduler=scheduler)["self_attention_method"] is None


def test_a_panorama_is_wide_of_one_piece_and_full_of_its_prompt(studio: Studio) -> None:
    changes = {"width": 320, "height": 128, "steps": 10, "scheduler": "DDIMScheduler"}
    panorama, stretched = (pixels(studio, panorama=switch, **changes) for switch in (True, False))

    assert panorama.shape == (128, 320, 3)
    red = (panorama[..., 0] > 150) & (panorama[..., 2] < 110)
    assert all(part.any() for part in np.array_split(red, 2, axis=1))
    blue = np.median(panorama.reshape(-1, 3), axis=0)
    assert judge(Image.fromarray(np.full((32, 32, 3), blue, np.uint8))).background == "blue"
    assert (panorama != stretched).any()


@pytest.mark.parametrize(
    ("asked", "runs"),
    [("EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler"), ("DDIMScheduler", "DDIMScheduler")],
)
def test_a_panorama_is_sampled_without_noise_at_every_step_and_the_answer_says_so(
    studio: Studio, asked: str, runs: str
) -> None:
    assert ran(studio, panorama=True, width=192, scheduler=asked)["scheduler"] == runs


def test_highres_fix_keeps_shapes_that_a_single_pass_bends(studio: Studio) -> None:
    large = {"width": 256, "height": 256}

    fixed, single = obeyed(studio, highres_fix=True, **large), obeyed(studio, **large)

    assert fixed["shape"] >= single["shape"] + 0.25
    assert min(fixed.values()) >= 0.75


def test_highres_fix_of_a_picture_of_the_models_own_size_is_one_pass(studio: Studio) -> None:
    assert ran(studio, highres_fix=True)["highres_fix"] == "no"
    assert ran(studio, highres_fix=True, width=256)["highres_fix"] == "yes"


def test_upscale_doubles_the_picture_and_shows_the_same(studio: Studio) -> None:
    plain, doubled = pixels(studio), pixels(studio, upscale=True)

    assert doubled.shape == (256, 256, 3)
    reduced = np.asarray(
        Image.fromarray(doubled.astype(np.uint8)).resize((128, 128), Image.Resampling.BOX), int
    )
    assert np.abs(reduced - plain).mean() < 4
    assert ran(studio, upscale=True)["upscaler"] == "demo-swin2sr"


def test_without_an_upscaler_it_is_lanczos_and_the_answer_says_so() -> None:
    with running_studio(upscalers={}) as studio:
        made = studio.make(demo_spec(upscale=True, steps=2))

    assert made.pictures[0].shape == (256, 256, 3)
    assert (made.outcome.ran["upscaler"], made.outcome.tip) == ("lanczos", NOT_ENLARGED)


def test_a_deterministic_job_is_bit_identical_alone_and_under_load(studio: Studio) -> None:
    wanted = demo_spec(deterministic=True, samples=2, upscale=True, self_attention=True, steps=8)
    alone = [picture.tobytes() for picture in studio.make(wanted).pictures]

    crowd = [demo_spec(seed=seed, steps=20) for seed in range(3)]
    made = make_all(studio, [*crowd, wanted, demo_spec(width=64, height=64), wanted])

    for again in (made[3], made[5]):
        assert [picture.tobytes() for picture in again.pictures] == alone


def test_a_model_that_is_not_here_fails_with_its_name(studio: Studio) -> None:
    for change in (
        {"model_id": "nope"},
        {"vae": "nope"},
        {"loras": (LoraUse(lora_id="nope", strength=1.0),)},
        {"embeddings": ("nope",)},
    ):
        with pytest.raises(GenerationFailed, match="not found: nope"):
            studio.make(demo_spec(**change))


def test_every_field_of_a_job_is_known_to_this_page() -> None:
    """A parameter that is added needs its effect tested here; what input pictures do has pages of its own."""
    said = set(re.findall(r"\w+", Path(__file__).read_text()))
    elsewhere = {"sampling", "start", "controls", "guess_mode", "ip"}

    assert {field.name for field in dataclasses.fields(PictureRequest)} - elsewhere <= said
