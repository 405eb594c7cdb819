"""The UNet: noise prediction from scratch on the lessons' latents, under the frozen text encoder.

Pictures of several sizes take turns, the cheap ones most often. Not for the finish (finish.py).
"""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from deploy.demo.captions import Caption, caption, noise
from deploy.demo.drawing import Scene
from deploy.demo.training.latents import Lessons
from deploy.demo.training.pace import Average, flat_then_cosine, set_learning_rate, steps_for
from deploy.demo.training.text import WIDTH, batch_length, fitting, layer_outputs, token_ids

logger = logging.getLogger(__name__)

NOISE_SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CAPTION_DROP = 0.1
PENULTIMATE_SHARE = 0.1
"""How often the UNet hears the last but one layer, so that it understands clip_skip."""

SNR_LIMIT = 5.0
"""Min-SNR weighting: steps with hardly any noise teach little and get less weight."""


@dataclass(frozen=True, kw_only=True)
class Diet:
    """How pictures of one size are served: how many in a batch, and how often."""

    batch: int
    share: float


@dataclass(frozen=True, kw_only=True)
class UNetPlan:
    diets: dict[int, Diet]
    minutes: float
    learning_rate: float
    seed: int
    average_decay: float = 0.999
    warmup: int = 200
    descent: float = 0.35
    workers: int = 2
    save_every_minutes: float = 5.0


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(48, 80, 96, 80),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=WIDTH,
        attention_head_dim=(1, 2, 2, 2),  # diffusers' name for the number of heads
        norm_num_groups=8,
    )


class NoiseLevels:
    """Draws timesteps where the min-SNR weight is, and gives each the weight that keeps the mean unbiased."""

    def __init__(self) -> None:
        self.signal: Tensor = DDPMScheduler(**NOISE_SCHEDULE).alphas_cumprod
        ratio = self.signal / (1 - self.signal)
        wanted = ratio.clamp(max=SNR_LIMIT) / ratio
        self.chance = wanted.clamp(min=0.15) / wanted.clamp(min=0.15).sum()
        weight = wanted / self.chance
        self.weight = weight / (weight * self.chance).sum()

    def draw(self, count: int) -> Tensor:
        return torch.multinomial(self.chance, count, replacement=True)

    def noised(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        signal = self.signal[timesteps].view(-1, 1, 1, 1)
        return signal.sqrt() * latents + (1 - signal).sqrt() * noise


class HalfPrecision:
    """A bfloat16 copy that computes, beside float32 weights that learn: twice as fast on CPUs with AMX."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.precise = list(unet.parameters())
        self.model = copy.deepcopy(unet).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
        # On CPUs the fused attention's backward pass takes longer than plain matrix products.
        self.model.set_attn_processor(AttnProcessor())
        self.rough = list(self.model.parameters())

    def __call__(self, noisy: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        noisy = noisy.to(dtype=torch.bfloat16, memory_format=torch.channels_last)
        predicted: Tensor = self.model(noisy, timesteps, words.to(torch.bfloat16)).sample
        return predicted.float()

    @torch.no_grad()
    def hand_over_gradients(self) -> None:
        for precise, rough in zip(self.precise, self.rough, strict=True):
            precise.grad = None if rough.grad is None else rough.grad.float().contiguous()
            rough.grad = None

    @torch.no_grad()
    def refresh(self) -> None:
        torch._foreach_copy_(self.rough, self.precise)


Say = Callable[[Scene, Random], Caption]
"""What words a scene gets."""


class Listener:
    """Turns scenes into captions and captions into what the UNet hears."""

    def __init__(self, stages: Path, rng: Random, *, say: Say = caption) -> None:
        self.say = say
        self.tokenizer = CLIPTokenizer.from_pretrained(stages / "tokenizer")
        self.encoder = CLIPTextModel.from_pretrained(stages / "text_encoder").eval()
        self.rng = rng

    @torch.no_grad()
    def hear(self, lessons: Lessons, rows: list[int]) -> Tensor:
        """A caption for each of the scenes, now and then one that says nothing, as the UNet gets it."""
        length = batch_length(self.rng)
        texts = [self._text(lessons.scenes[row], length=length) for row in rows]
        last, penultimate = layer_outputs(self.encoder, token_ids(self.tokenizer, texts, length=length))
        earlier = torch.rand(len(texts), 1, 1) < PENULTIMATE_SHARE
        return torch.where(earlier, penultimate, last)

    @torch.no_grad()
    def silence(self, count: int, *, length: int) -> Tensor:
        """The empty caption, as pipelines use it for guidance."""
        words, _ = layer_outputs(self.encoder, token_ids(self.tokenizer, [""], length=length))
        return words.expand(count, -1, -1)

    def _text(self, scene: Scene, *, length: int) -> str:
        if self.rng.random() < CAPTION_DROP:
            return fitting(self.tokenizer, lambda: noise(self.rng), length=length).text
        return fitting(self.tokenizer, lambda: self.say(scene, self.rng), length=length).text


def learn_to_denoise(
    rough: HalfPrecision, levels: NoiseLevels, lessons: Lessons, listener: Listener, batch: int
) -> float:
    rows = torch.randint(len(lessons.scenes), (batch,))
    latents = lessons.latents[rows]
    words = listener.hear(lessons, rows.tolist())
    added, timesteps = torch.randn_like(latents), levels.draw(batch)
    predicted = rough(levels.noised(latents, added, timesteps), timesteps, words)
    errors = (predicted - added).square().mean((1, 2, 3))
    loss = (levels.weight[timesteps] * errors).mean()
    loss.backward()
    return float(loss.detach())


Learn = Callable[[HalfPrecision, NoiseLevels, Lessons, Listener, int], float]
"""Leaves gradients in the rough copy and returns the loss."""


def train_unet(
    unet: UNet2DConditionModel,
    folder: Path,
    lessons: dict[int, Lessons],
    stages: Path,
    plan: UNetPlan,
    *,
    learn: Learn = learn_to_denoise,
) -> None:
    """Trains in place; leaves the averaged weights in `unet` and, now and then saved, in the folder.

    Every worker is a process with one thread, and all change the same weights in shared memory without a lock
    ("Hogwild"): threads inside operations so small would mostly wait for each other.
    """
    unet.share_memory()
    learner = _Learner(unet=unet, lessons=lessons, stages=stages, plan=plan, learn=learn)
    context = torch.multiprocessing.get_context("spawn")
    helpers = [context.Process(target=learner.run, args=(number,)) for number in range(1, plan.workers)]
    for helper in helpers:
        helper.start()
    threads = torch.get_num_threads()
    average = Average(unet.parameters(), decay=plan.average_decay)
    learner.run(0, average=average, folder=folder)
    for helper in helpers:
        helper.join()
    torch.set_num_threads(threads)
    average.swap()
    unet.save_pretrained(folder)


@dataclass(frozen=True, kw_only=True)
class _Learner:
    """One worker's part in the training; the first one also averages, saves and logs."""

    unet: UNet2DConditionModel
    lessons: dict[int, Lessons]
    stages: Path
    plan: UNetPlan
    learn: Learn

    def run(self, number: int, *, average: Average | None = None, folder: Path | None = None) -> None:
        plan, unet = self.plan, self.unet
        torch.set_num_threads(1)
        torch.manual_seed(plan.seed + number)
        listener = Listener(self.stages, Random(plan.seed + number))
        rough, levels = HalfPrecision(unet), NoiseLevels()
        optimizer = torch.optim.AdamW(
            unet.parameters(), lr=plan.learning_rate, weight_decay=1e-3, betas=(0.9, 0.99), fused=True
        )
        saved, recent = 0.0, []
        for step, progress in steps_for(plan.minutes):
            factor = flat_then_cosine(step, progress, warmup=plan.warmup, descent=plan.descent)
            set_learning_rate(optimizer, plan.learning_rate * factor)
            side = next_side(plan, listener.rng)
            loss = self.learn(rough, levels, self.lessons[side], listener, plan.diets[side].batch)
            rough.hand_over_gradients()
            nn.utils.clip_grad_norm_(rough.precise, 1.0, foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            rough.refresh()
            recent.append(loss)
            if average:
                average.update()
            if step % 200 == 0:
                loss = round(sum(recent) / len(recent), 4)
                facts = {"worker": number, "step": step, "rate": round(factor, 3), "loss": loss}
                logger.info("unet", extra=facts)
                recent.clear()
            if average and folder and (minutes := progress * plan.minutes) - saved > plan.save_every_minutes:
                saved = minutes
                _save_average(unet, average, folder)


def _save_average(unet: UNet2DConditionModel, average: Average, folder: Path) -> None:
    """Saves a copy: the shared weights themselves are being trained by the other workers."""
    copied = copy.deepcopy(unet)
    for parameter, value in zip(copied.parameters(), average.values, strict=True):
        parameter.data.copy_(value)
    copied.save_pretrained(folder)


def next_side(plan: UNetPlan, rng: Random) -> int:
    return rng.choices(list(plan.diets), [diet.share for diet in plan.diets.values()])[0]
