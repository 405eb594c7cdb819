"""From a job to its Flux pictures' requests.

Flux knows fewer things than Stable Diffusion: what it has no use for is ignored, as the protocol says, and
`meta` tells so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import GenerationFailed
from shared.jobs import Kind, Outcome, PictureSpec, Scalar
from worker.gpu.flux import FluxKit, FluxRequest
from worker.gpu.models.adapters import keyed
from worker.gpu.painting import Start
from worker.gpu.schedulers import Sampling, what_runs_flow
from worker.gpu.studio.outcome import outcome_of

IGNORED: dict[str, Scalar] = {
    **dict.fromkeys(("enhance_prompt", "multi_lingual", "tomesd", "self_attention", "panorama"), "no"),
    **dict.fromkeys(("highres_fix",), "no"),
    **dict.fromkeys(("vae", "embeddings", "clip_skip", "ip_adapter_id", "ip_adapter_image"), None),
}


@dataclass(frozen=True)
class FluxPlan:
    """What will be done, decided once for all pictures of the job."""

    spec: PictureSpec
    kit: FluxKit
    start: Start | None

    @property
    def sampling(self) -> Sampling:
        spec = self.spec
        return Sampling(spec.scheduler, spec.steps, spec.use_karras_sigmas, spec.algorithm_type)

    @property
    def requests(self) -> list[FluxRequest]:
        """One per picture; picture `i` has the seed `spec.seed + i`."""
        return [self._request(self.spec.seed + index) for index in range(self.spec.samples)]

    def outcome(self, is_sensitive: Sequence[bool | None], seconds: float) -> Outcome:
        ran = what_runs_flow(self.sampling)
        said: dict[str, Scalar] = {
            "scheduler": ran.scheduler,
            "use_karras_sigmas": "yes" if ran.karras else "no",
            "algorithm_type": ran.algorithm or "no",
        }
        return outcome_of(self.spec, self.kit, IGNORED | said, is_sensitive, seconds)

    def _request(self, seed: int) -> FluxRequest:
        spec = self.spec
        return FluxRequest(
            prompt=spec.prompt,
            width=spec.width,
            height=spec.height,
            sampling=self.sampling,
            guidance_scale=spec.guidance_scale,
            seed=seed,
            negative_prompt=spec.negative_prompt,
            true_cfg_scale=spec.true_cfg_scale,
            start=self.start,
            loras=keyed(spec.loras, self.kit.loras),
            upscale=spec.upscale,
            safety_checker=spec.safety_checker,
            deterministic=spec.deterministic,
        )


def plan_flux(spec: PictureSpec, kit: FluxKit, start: Start | None) -> FluxPlan:
    """Raises `GenerationFailed` for what Flux does not do here."""
    if spec.kind not in (Kind.TEXT2IMG, Kind.IMG2IMG):
        raise GenerationFailed(
            f"Model {spec.model_id} is a Flux model, which does text2img and img2img only: send a model_id "
            f"of Stable Diffusion for {spec.kind}."
        )
    return FluxPlan(spec, kit, start)
