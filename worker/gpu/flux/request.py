"""Everything that determines one Flux picture, besides the models in its kit."""

from dataclasses import dataclass

from shared.jobs import LoraUse
from worker.gpu.painting import Start
from worker.gpu.schedulers import Sampling


@dataclass(frozen=True)
class FluxRequest:
    prompt: str
    width: int
    height: int
    """Any size: what the model can't paint exactly is painted larger and cropped around its centre."""
    sampling: Sampling
    guidance_scale: float
    """Heard by models that were distilled with guidance (dev), ignored by those that were not (schnell)."""
    seed: int
    negative_prompt: str | None = None
    true_cfg_scale: float = 1.0
    """Above 1, and with a negative prompt: classifier-free guidance, two rows of a forward instead of one."""
    start: Start | None = None
    loras: tuple[LoraUse, ...] = ()
    upscale: bool = False
    safety_checker: bool = False
    deterministic: bool = False

    @property
    def is_guided(self) -> bool:
        """Whether the negative prompt counts."""
        return self.true_cfg_scale > 1 and self.negative_prompt is not None
