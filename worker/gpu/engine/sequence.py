"""One picture being denoised: its own scheduler, latents, random generator, guidance and place in time."""

import inspect
from typing import Any

import torch

from worker.gpu.engine.rendering import PictureRequest, Rendering
from worker.gpu.models import LoadedModel
from worker.gpu.schedulers import make_scheduler


class Sequence:
    """Owned by the engine's thread. Repeats, step for step, what the stock pipeline does for one picture."""

    def __init__(
        self,
        rendering: Rendering,
        index: int,
        model: LoadedModel,
        embeddings: torch.Tensor,
    ) -> None:
        """`embeddings`: (rows, tokens, width); one row (prompt), or two (negative, prompt) with guidance."""
        self.rendering = rendering
        self.index = index
        self.model = model
        self.embeddings = embeddings
        self.request: PictureRequest = rendering.requests[index]
        self.last_turn = 0
        self._step = 0
        self._scheduler = make_scheduler(self.request.scheduler, model.scheduler_config, self.request.steps)
        self._generator = torch.Generator("cpu").manual_seed(self.request.seed)
        self._step_options = self._options_of_step()
        self.latents = self._initial_latents()

    @property
    def rows(self) -> int:
        """How many rows of a forward this sequence needs: two with classifier-free guidance."""
        return self.embeddings.shape[0]

    @property
    def is_finished(self) -> bool:
        return self._step >= len(self._scheduler.timesteps)

    @property
    def timestep(self) -> torch.Tensor:
        return self._scheduler.timesteps[self._step]

    def model_input(self) -> torch.Tensor:
        """(rows, channels, height, width)."""
        scaled = self._scheduler.scale_model_input(self.latents, self.timestep)
        return scaled.expand(self.rows, -1, -1, -1)

    def advance(self, prediction: torch.Tensor) -> None:
        """Take one step with the denoiser's `prediction` for this sequence's rows."""
        if self.rows == 2:
            without, with_prompt = prediction.chunk(2)
            prediction = without + self.request.guidance_scale * (with_prompt - without)
        stepped = self._scheduler.step(prediction, self.timestep, self.latents, **self._step_options)
        self.latents = stepped.prev_sample
        self._step += 1
        self.rendering.note_progress(self.index, self._step / len(self._scheduler.timesteps))

    def _initial_latents(self) -> torch.Tensor:
        """Noise is drawn on the CPU, so a seed means the same picture on every device."""
        model, request = self.model, self.request
        shape = (1, model.latent_channels, request.height // model.scale, request.width // model.scale)
        noise = torch.randn(shape, generator=self._generator, dtype=model.dtype)
        return noise.to(model.device) * self._scheduler.init_noise_sigma

    def _options_of_step(self) -> dict[str, Any]:
        accepted = inspect.signature(self._scheduler.step).parameters
        options = {"eta": 0.0, "generator": self._generator}
        return {name: value for name, value in options.items() if name in accepted}
