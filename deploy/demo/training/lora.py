"""Low-rank adapters that teach the frozen demo model a style, and the two formats they are published in.

Not for changing the model itself (unet.py, finish.py) nor for what a style looks like (drawing.py).
"""

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from deploy.demo.captions import caption
from deploy.demo.drawing import Style, draw_styled, random_scene
from deploy.demo.training.finish import NEUTRAL_GUIDANCE
from deploy.demo.training.latents import Lessons
from deploy.demo.training.pace import Average, cosine, set_learning_rate, steps_for
from deploy.demo.training.unet import Diet, Listener, NoiseLevels, Say
from deploy.demo.training.vae import to_input, to_pixels

logger = logging.getLogger(__name__)

RANK = 4
LEARNING_RATE, WARMUP = 3e-3, 30
TARGETS = (
    r"(down_blocks\.[01]|up_blocks\.[23])\."
    r"(attentions\.\d\.transformer_blocks\.0\.attn1\.(to_q|to_k|to_v|to_out\.0)|resnets\.\d\.conv[12])"
)
"""Styles are made where the latents are finest: what is drawn, the coarse middle may decide as before."""

LESSON_COUNTS = {64: 300, 128: 1200, 192: 100, 256: 60}
"""How many pictures of each side are drawn for each strength."""

DIETS = {
    64: Diet(batch=24, share=0.12),
    128: Diet(batch=12, share=0.78),
    192: Diet(batch=5, share=0.06),
    256: Diet(batch=3, share=0.04),
}
HALF = 0.35
"""How often a style is practised at half its strength, where half of it shall show. Nothing else asks for
anything between no effect and the whole one."""

COMPANY = 0.35
"""How often, at full strength, on top of another style, so that the two can be combined."""


@dataclass(frozen=True, kw_only=True)
class Studio:
    """The frozen model, ready to be adapted."""

    model: Path
    vae: AutoencoderKL
    unet: UNet2DConditionModel

    @classmethod
    def at(cls, model: Path) -> "Studio":
        unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.bfloat16)
        unet.requires_grad_(False)
        unet.to(memory_format=torch.channels_last)
        # On CPUs the fused attention's backward pass takes longer than plain matrix products.
        unet.set_attn_processor(AttnProcessor())
        vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32).eval()
        return cls(model=model, vae=vae, unet=unet)

    def listener(self, rng: Random, *, say: Say = caption) -> Listener:
        listener = Listener(self.model, rng, say=say)
        listener.encoder.float().requires_grad_(False)
        return listener

    def predict(self, noisy: Tensor, timesteps: Tensor, words: Tensor, adapters: "Strengths") -> Tensor:
        """The UNet's prediction with the adapters added to its weights."""
        noisy = noisy.to(dtype=torch.bfloat16, memory_format=torch.channels_last)
        changed = merged(self.unet, adapters)
        predicted: Tensor = functional_call(
            self.unet, changed, (noisy, timesteps, words.to(torch.bfloat16))
        ).sample
        return predicted.float()


class Adapter:
    """For each adapted module a small matrix down and one up, the latter zero at first.

    They are multiplied out and added to the weights at every step: for weights so small that is far quicker
    than taking each picture through two more layers.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.down: dict[str, nn.Parameter] = {}
        self.up: dict[str, nn.Parameter] = {}
        for name, module in unet.named_modules():
            if re.fullmatch(TARGETS, name):
                shape = module.weight.shape
                down = torch.empty(RANK, *shape[1:])
                nn.init.kaiming_uniform_(down, a=5**0.5)
                self.down[name] = nn.Parameter(down)
                self.up[name] = nn.Parameter(torch.zeros(shape[0], RANK, *[1] * (len(shape) - 2)))

    def parameters(self) -> list[nn.Parameter]:
        return [*self.down.values(), *self.up.values()]

    def freeze(self) -> None:
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def product(self, name: str) -> Tensor:
        up, down = self.up[name], self.down[name]
        return (up.flatten(1) @ down.flatten(1)).view(len(up), *down.shape[1:])


Strengths = Sequence[tuple[Adapter, float]]
"""Adapters, and how strongly each is added."""


def merged(unet: UNet2DConditionModel, adapters: Strengths) -> dict[str, Tensor]:
    """The weights that the adapters change, changed."""
    weights: dict[str, Tensor] = {}
    for adapter, strength in adapters:
        for name in adapter.down:
            key = f"{name}.weight"
            known = weights.get(key, unet.get_submodule(name).weight.float())
            weights[key] = known + strength * adapter.product(name)
    return {key: weight.to(torch.bfloat16) for key, weight in weights.items()}


def styled_lessons(
    vae: AutoencoderKL, *, styles: Collection[Style], strength: float, seed: int
) -> dict[int, Lessons]:
    """Drawn scenes in the styles, encoded, at every size."""
    lessons: dict[int, Lessons] = {}
    for side, count in LESSON_COUNTS.items():
        rng = Random(f"{seed}/{side}")
        scenes = [random_scene(rng) for _ in range(count)]
        drawn = (draw_styled(scene, rng, side=side, styles=styles, strength=strength) for scene in scenes)
        lessons[side] = Lessons(latents=encoded(vae, drawn, side=side), scenes=scenes)
    return lessons


@torch.no_grad()
def encoded(vae: AutoencoderKL, pictures: Iterable[Image.Image], *, side: int) -> Tensor:
    batch = max(1, 64 * 64 * 64 // side**2)
    left, parts = iter(pictures), []
    while some := list(islice(left, batch)):
        images = to_input(to_pixels(some)).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(vae.encode(images).latent_dist.mean.float())
    latents: Tensor = torch.cat(parts) * vae.config.scaling_factor
    return latents


def guided_loss(
    studio: Studio, levels: NoiseLevels, latents: Tensor, words: tuple[Tensor, Tensor], adapters: Strengths
) -> Tensor:
    """The error at the guidance that the model takes for none, and the error without words.

    `words` are those of the empty caption and those of the captions. A style has to be in both
    predictions: what only one of them had, guidance would blow up.
    """
    noise, timesteps = torch.randn_like(latents), levels.draw(len(latents))
    noisy = levels.noised(latents, noise, timesteps).repeat(2, 1, 1, 1)
    both = studio.predict(noisy, timesteps.repeat(2), torch.cat(words), adapters)
    plain, conditional = both.chunk(2)
    guided = plain.detach() + NEUTRAL_GUIDANCE * (conditional - plain.detach())
    errors = (guided - noise).square().mean((1, 2, 3)) + 0.5 * (plain - noise).square().mean((1, 2, 3))
    loss: Tensor = (levels.weight[timesteps] * errors).mean()
    return loss


@dataclass(frozen=True, kw_only=True)
class Company:
    """Another style that is there already, and its adapter."""

    style: Style
    adapter: Adapter


def train_lora(
    studio: Studio, style: Style, *, minutes: float, seed: int, beside: Company | None = None
) -> Adapter:
    """An adapter that draws everything in the style; with `beside`, now and then on top of that one."""
    torch.manual_seed(seed)
    rng = Random(seed)
    own = Adapter(studio.unet)
    whole, half = (
        styled_lessons(studio.vae, styles={style}, strength=strength, seed=seed) for strength in (1.0, 0.5)
    )
    others = {beside.style} if beside else set()
    both = styled_lessons(studio.vae, styles={style, *others}, strength=1.0, seed=seed) if beside else whole
    listener, levels = studio.listener(rng), NoiseLevels()
    parameters = own.parameters()
    optimizer = torch.optim.AdamW(
        parameters, lr=LEARNING_RATE, weight_decay=1e-3, betas=(0.9, 0.99), fused=True
    )
    average, recent = Average(parameters, decay=0.99), []
    for step, progress in steps_for(minutes):
        set_learning_rate(optimizer, LEARNING_RATE * cosine(step, progress, warmup=WARMUP))
        side = rng.choices(list(DIETS), [diet.share for diet in DIETS.values()])[0]
        chance = rng.random()
        lessons, adapters = (half if chance < HALF else whole)[side], [(own, 0.5 if chance < HALF else 1.0)]
        if beside and chance > 1 - COMPANY:
            lessons, adapters = both[side], [(own, 1.0), (beside.adapter, 1.0)]
        rows = torch.randint(len(lessons.scenes), (DIETS[side].batch,))
        words = listener.hear(lessons, rows.tolist())
        silent = listener.silence(len(rows), length=words.shape[1])
        loss = guided_loss(studio, levels, lessons.latents[rows], (silent, words), adapters)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        average.update()
        recent.append(float(loss.detach()))
        if step % 100 == 0:
            facts = {"style": style, "step": step, "loss": round(sum(recent) / len(recent), 4)}
            logger.info("lora", extra=facts)
            recent.clear()
    average.swap()
    own.freeze()
    return own


def save_as_peft(adapter: Adapter, file: Path) -> None:
    """As diffusers and PEFT write it."""
    weights = {f"unet.{name}.lora_A.weight": down.detach().half() for name, down in adapter.down.items()}
    weights |= {f"unet.{name}.lora_B.weight": up.detach().half() for name, up in adapter.up.items()}
    save_file(weights, file, metadata={"format": "pt"})


def save_as_kohya(adapter: Adapter, file: Path) -> None:
    """As kohya's scripts write it, with an alpha that is not the rank, as is usual there."""
    alpha = RANK / 2
    weights: dict[str, Tensor] = {}
    for module in adapter.down:
        name = f"lora_unet_{module.replace('.', '_')}"
        weights[f"{name}.lora_down.weight"] = adapter.down[module].detach().half()
        weights[f"{name}.lora_up.weight"] = (adapter.up[module].detach() * RANK / alpha).half()
        weights[f"{name}.alpha"] = torch.tensor(alpha, dtype=torch.float16)
    save_file(weights, file, metadata={"ss_network_dim": str(RANK), "ss_network_alpha": str(alpha)})
