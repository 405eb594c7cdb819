"""One registered model: what it is, where it came from and where its files lie."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MODEL_ID = r"[A-Za-z0-9][A-Za-z0-9._+/-]{0,199}"
ModelId = Annotated[str, Field(pattern=f"^{MODEL_ID}$")]
"""As clients name a model. A hub's `owner/name` is one; no path leads out of a folder by it."""
EntryId = Annotated[str, Field(pattern=r"^[a-z0-9-]{8,64}$")]
"""Names one registration and the folder of its files; a model that is loaded anew gets a new one."""


class ModelKind(StrEnum):
    """What a model is for. An id is unique within its kind."""

    CHECKPOINT = "checkpoint"
    LORA = "lora"
    EMBEDDING = "embedding"
    VAE = "vae"
    CONTROLNET = "controlnet"
    IP_ADAPTER = "ip_adapter"
    UPSCALER = "upscaler"
    VIDEO = "video"
    SAFETY = "safety"
    TRANSLATOR = "translator"
    ENHANCER = "enhancer"
    MOTION = "motion"
    """What sets the Stable Diffusion 1.x checkpoints among the video models in motion."""
    DEPTH = "depth"
    SEGMENTER = "segmenter"
    ANNOTATORS = "annotators"
    FACE = "face"
    """Finds and restores faces."""


class Entry(BaseModel):
    """A model as it is registered. It never changes: a model that is loaded anew is another entry. Of another
    version it may have more fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    entry_id: EntryId
    model_id: ModelId
    kind: ModelKind
    family: str = ""
    """Architecture, as far as the files tell: sd1, sd2, sdxl, flux, wan, ..."""
    source: str
    """Hub id, URL without its query, or path: what may be shown."""
    format: str = ""
    """As it was given: diffusers, safetensors, ckpt, pt, ..."""
    revision: str = ""
    """fp16 or fp32, if the weights were stored in it."""
    bytes: int = 0
    sha256: str = ""
    """Of the file that was downloaded; of a folder, that of the list of its files' digests."""
    loaded_at: float = 0.0
    """Unix seconds."""
    path: str = ""
    """Absolute: the operator's own file or folder, left in place. Else relative to the entry's folder."""
    recipe: str = ""
    """The load that brought it, as JSON: a machine without its files repeats it."""
    rank: int = 0
    """Of several that could serve, the lowest is the default; models.yaml's own come first, in its order."""

    def place(self, models_folder: Path) -> Path:
        """Its file or folder on this machine."""
        return models_folder / self.entry_id / self.path  # an absolute path stays as it is
