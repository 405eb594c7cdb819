"""A motion adapter (AnimateDiff, arXiv:2307.04725): with it, the frozen demo model draws clips.

Not for changing the model itself (unet.py, finish.py) nor for how things move (drawing.py).
"""

import copy
import logging
from pathlib import Path
from random import Random

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.func import functional_call

from deploy.demo.drawing import draw_clip, random_scene
from deploy.demo.training.finish import NEUTRAL_GUIDANCE
from deploy.demo.training.latents import Lessons
from deploy.demo.training.lora import Studio, encoded
from deploy.demo.training.pace import Average, flat_then_cosine, set_learning_rate, steps_for
from deploy.demo.training.unet import SNR_LIMIT, Diet, NoiseLevels

logger = logging.getLogger(__name__)

FRAMES = 16
CLIPS = {64: 600, 128: 500}
"""How many clips of each side are drawn."""

DIETS = {
    (64, 8): Diet(batch=6, share=0.4),
    (64, 16): Diet(batch=4, share=0.25),
    (128, 8): Diet(batch=3, share=0.2),
    (128, 16): Diet(batch=2, share=0.15),
}
"""How clips of each side and number of frames are served."""

LEARNING_RATE, WARMUP, DESCENT = 2e-3, 50, 0.5
COARSE_LIMIT = 10.0
"""Where everything is decides itself in the noisiest steps, whose errors in noise are small: there they
count up to so many times as much."""


def new_adapter(unet: UNet2DConditionModel) -> MotionAdapter:
    """An adapter that changes nothing yet. At the coarsest latents, two by two, only the middle attends."""
    adapter = MotionAdapter(
        block_out_channels=unet.config.block_out_channels,
        motion_layers_per_block=unet.config.layers_per_block,
        motion_transformer_layers_per_block=(1, 1, 1, 0),
        motion_num_attention_heads=4,
        motion_norm_num_groups=unet.config.norm_num_groups,
        motion_max_seq_length=32,
    )
    for name, module in adapter.named_modules():
        if name.endswith("proj_out"):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return adapter


class ClipNoise(NoiseLevels):
    """Noise levels for clips: all frames of one have the same, and the noisiest weigh more."""

    def __init__(self) -> None:
        super().__init__()
        ratio = self.signal / (1 - self.signal)
        wanted = (1 + 1 / ratio).clamp(max=COARSE_LIMIT) * ratio.clamp(max=SNR_LIMIT) / ratio
        self.chance = wanted.sqrt() / wanted.sqrt().sum()
        weight = wanted / self.chance
        self.weight = weight / (weight * self.chance).sum()

    def noised(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        signal = self.signal[timesteps].view(-1, 1, 1, 1, 1)
        return signal.sqrt() * latents + (1 - signal).sqrt() * noise


def drawn_clips(studio: Studio, *, side: int, count: int, seed: int) -> Lessons:
    """Clips of `FRAMES` frames, encoded: latents of count x 4 x frames x height x width."""
    rng = Random(f"{seed}/{side}")
    scenes = [random_scene(rng) for _ in range(count)]
    frames = (frame for scene in scenes for frame in draw_clip(scene, rng, side=side, frames=FRAMES))
    latents = encoded(studio.vae, frames, side=side)
    return Lessons(latents=latents.unflatten(0, (count, FRAMES)).transpose(1, 2).contiguous(), scenes=scenes)


class MovingUNet:
    """The frozen UNet with the adapter in it: computes in bfloat16, with weights that learn in float32."""

    def __init__(self, studio: Studio, adapter: MotionAdapter) -> None:
        self.adapter = adapter
        self.network = UNetMotionModel.from_unet2d(studio.unet, self.adapter)
        self.network.requires_grad_(False)
        # On CPUs the fused attention's backward pass takes longer than plain matrix products.
        self.network.set_attn_processor(AttnProcessor())
        # Quicker, but below 128 px the backward pass of torch's group norm crashes on this layout.
        self.quick = copy.deepcopy(self.network).to(memory_format=torch.channels_last)
        self.weights = dict(self.adapter.named_parameters())

    def parameters(self) -> list[nn.Parameter]:
        return list(self.weights.values())

    def predict(self, noisy: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        """The noise in clips of batch x 4 x frames x height x width."""
        network = self.quick if noisy.shape[-1] >= 16 else self.network
        changed = {name: weight.to(torch.bfloat16) for name, weight in self.weights.items()}
        words = words.to(torch.bfloat16).repeat_interleave(noisy.shape[2], dim=0)
        predicted: Tensor = functional_call(
            network, changed, (noisy.to(torch.bfloat16), timesteps, words)
        ).sample
        return predicted.float()


def guided_loss(unet: MovingUNet, levels: ClipNoise, latents: Tensor, words: tuple[Tensor, Tensor]) -> Tensor:
    """The error at the guidance that the model takes for none, and the error without words."""
    noise, timesteps = torch.randn_like(latents), levels.draw(len(latents))
    noisy = levels.noised(latents, noise, timesteps).repeat(2, 1, 1, 1, 1)
    plain, conditional = unet.predict(noisy, timesteps.repeat(2), torch.cat(words)).chunk(2)
    guided = plain.detach() + NEUTRAL_GUIDANCE * (conditional - plain.detach())
    errors = (guided - noise).square() + 0.5 * (plain - noise).square()
    loss: Tensor = (levels.weight[timesteps] * errors.mean((1, 2, 3, 4))).mean()
    return loss


def train_motion(
    studio: Studio, folder: Path, *, minutes: float, seed: int, start: Path | None = None
) -> None:
    """Trains an adapter, or the one in `start` on; saves it in diffusers' layout and half precision."""
    torch.manual_seed(seed)
    rng = Random(seed)
    clips = {side: drawn_clips(studio, side=side, count=count, seed=seed) for side, count in CLIPS.items()}
    logger.info("clips drawn")
    adapter = MotionAdapter.from_pretrained(start, dtype=torch.float32) if start else new_adapter(studio.unet)
    unet, listener, levels = MovingUNet(studio, adapter), studio.listener(rng), ClipNoise()
    parameters = unet.parameters()
    optimizer = torch.optim.AdamW(
        parameters, lr=LEARNING_RATE, weight_decay=1e-3, betas=(0.9, 0.99), fused=True
    )
    average, recent = Average(parameters, decay=0.99), []
    for step, progress in steps_for(minutes):
        rate = flat_then_cosine(step, progress, warmup=WARMUP, descent=DESCENT)
        set_learning_rate(optimizer, LEARNING_RATE * rate)
        side, frames = rng.choices(list(DIETS), [diet.share for diet in DIETS.values()])[0]
        lessons = clips[side]
        rows = torch.randint(len(lessons.scenes), (DIETS[side, frames].batch,))
        first = rng.randrange(FRAMES - frames + 1)
        words = listener.hear(lessons, rows.tolist())
        silent = listener.silence(len(rows), length=words.shape[1])
        loss = guided_loss(unet, levels, lessons.latents[rows, :, first : first + frames], (silent, words))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        average.update()
        recent.append(float(loss.detach()))
        if step % 50 == 0:
            logger.info(
                "motion",
                extra={"step": step, "rate": round(rate, 3), "loss": round(sum(recent) / len(recent), 4)},
            )
            recent.clear()
    average.swap()
    unet.adapter.half().save_pretrained(folder)
