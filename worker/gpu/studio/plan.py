"""From a job to its pictures' requests, and to what the answer says of how they were made."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import GenerationFailed
from shared.jobs import Dialect, Outcome, PictureSpec, Scalar
from worker.gpu.models.adapters import keyed
from worker.gpu.painting import Kit, PictureRequest, SelfAttention
from worker.gpu.painting.chunks import spelled
from worker.gpu.painting.denoising import first_pass_size
from worker.gpu.painting.weights import sections
from worker.gpu.schedulers import Sampling, what_runs
from worker.gpu.studio.guides import ALONE, Guides
from worker.gpu.studio.outcome import outcome_of
from worker.gpu.words import Words

SAG_SCHEDULERS = frozenset(
    {
        "DDPMScheduler",
        "DDIMScheduler",
        "PNDMScheduler",
        "DEISMultistepScheduler",
        "UniPCMultistepScheduler",
        "DPMSolverMultistepScheduler",
        "DPMSolverSinglestepScheduler",
    }
)
"""Those that work on the signal and the noise of the training's own timesteps, as the method needs."""

WITHOUT_NOISE = {
    "DDPMScheduler": "DDIMScheduler",
    "EulerAncestralDiscreteScheduler": "EulerDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler": "KDPM2DiscreteScheduler",
    "KarrasVeScheduler": "HeunDiscreteScheduler",
    "ScoreSdeVeScheduler": "EulerDiscreteScheduler",
    "LCMScheduler": "EulerDiscreteScheduler",
}
"""What samples a panorama in place of samplers that draw noise at every step: windows that overlap are
averaged, and their noise with them, until too little of it is left."""


@dataclass(frozen=True)
class Plan:
    """What will be done, decided once for all pictures of the job."""

    spec: PictureSpec
    words: Words
    kit: Kit
    guides: Guides

    @property
    def requests(self) -> list[PictureRequest]:
        """One per picture; picture `i` has the seed `spec.seed + i`."""
        return [self._request(self.spec.seed + index) for index in range(self.spec.samples)]

    @property
    def sampling(self) -> Sampling:
        spec = self.spec
        name, algorithm = spec.scheduler, spec.algorithm_type
        if spec.panorama:
            name, algorithm = WITHOUT_NOISE.get(name, name), None
        return Sampling(name, spec.steps, spec.use_karras_sigmas, algorithm)

    @property
    def self_attention(self) -> SelfAttention | None:
        if not self.spec.self_attention or not self.kit.model.marks.has_places:
            return None
        is_allowed = what_runs(self.sampling).scheduler in SAG_SCHEDULERS and not self.kit.model.is_xl
        return SelfAttention.SAG if is_allowed else SelfAttention.PAG

    @property
    def highres_fix(self) -> bool:
        """Only where the first pass would be smaller than the picture; a panorama has its windows."""
        spec, model = self.spec, self.kit.model
        if not spec.highres_fix or spec.panorama:
            return False
        first = first_pass_size(spec.height, spec.width, model.native_side, model.scale)
        return first != (spec.height, spec.width)

    @property
    def tomesd(self) -> bool:
        """Only where it makes the picture faster."""
        spec, model = self.spec, self.kit.model
        largest = model.native_side if spec.panorama else max(spec.width, spec.height)
        height, width = min(spec.height, largest), min(spec.width, largest)
        pays = model.merging.pays(height // model.scale, width // model.scale)
        return spec.tomesd and pays and not spec.deterministic  # merging adds up in no fixed order on a GPU

    def outcome(self, is_sensitive: Sequence[bool | None], seconds: float) -> Outcome:
        return outcome_of(self.spec, self.kit, self._ran(), is_sensitive, seconds)

    def _request(self, seed: int) -> PictureRequest:
        spec = self.spec
        given = spec.negative_prompt is not None or bool(self.words.negative_prompt)
        return PictureRequest(
            prompt=self.words.prompt,
            negative_prompt=self.words.negative_prompt if given else None,
            width=spec.width,
            height=spec.height,
            sampling=self.sampling,
            guidance_scale=spec.guidance_scale,
            seed=seed,
            clip_skip=spec.clip_skip,
            loras=keyed(spec.loras, self.kit.loras),
            tomesd=self.tomesd,
            self_attention=self.self_attention,
            panorama=spec.panorama,
            highres_fix=self.highres_fix,
            start=self.guides.start,
            controls=self.guides.controls,
            guess_mode=spec.hint is not None and spec.hint.guess_mode,
            ip=self.guides.ip,
            upscale=spec.upscale,
            safety_checker=spec.safety_checker,
            deterministic=spec.deterministic,
        )

    def _ran(self) -> dict[str, Scalar]:
        """By the names of shared/meta.py; what is not here ran as it was asked for."""
        ran = what_runs(self.sampling)
        return {
            "prompt": self.words.prompt,
            "negative_prompt": self.words.negative_prompt,
            "scheduler": ran.scheduler,
            "use_karras_sigmas": "yes" if ran.karras else "no",
            "algorithm_type": ran.algorithm or "no",
            "tomesd": "yes" if self.tomesd else "no",
            "self_attention": "yes" if self.self_attention else "no",
            "self_attention_method": str(self.self_attention) if self.self_attention else None,
            "highres_fix": "yes" if self.highres_fix else "no",
        }


def plan_job(spec: PictureSpec, words: Words, kit: Kit, guides: Guides = ALONE) -> Plan:
    """With the embeddings that no prompt names put into the prompt they are meant for.

    Raises `GenerationFailed` for a job that came by Flux's routes.
    """
    if spec.dialect is Dialect.FLUX:
        raise GenerationFailed(f"Model {spec.model_id} is no Flux model: leave model_id out.")
    words = _naming_embeddings(words, kit)
    for prompt in (words.prompt, words.negative_prompt):
        sections(prompt)  # here and not on the engine's thread: a nasty prompt takes its time
    return Plan(spec, words, kit, guides)


def _naming_embeddings(words: Words, kit: Kit) -> Words:
    prompt, negative = words.prompt, words.negative_prompt
    for embedding in kit.embeddings:
        if spelled(embedding.triggers).search(f"{prompt} {negative}"):
            continue
        if _is_negative(embedding.embedding_id):
            negative = f"{negative}, {embedding.triggers[0]}" if negative else embedding.triggers[0]
        else:
            prompt = f"{prompt}, {embedding.triggers[0]}"
    return Words(prompt, negative)


def _is_negative(embedding_id: str) -> bool:
    """By the names that such embeddings have: easynegative, ng_deepnegative, bad-hands-5."""
    name = embedding_id.lower()
    return "negative" in name or name.startswith(("bad", "ng_", "neg"))
