"""Bodies of the routes that load, look for and delete models."""

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.wire.loose import AnyScalar, OptionalText, Switch
from api.wire.requests.body import Id, one_of, wrong
from shared.ip_adapters import IP_ADAPTERS
from shared.jobs import LoadSpec, ModelSource, Origin, Webhook
from shared.registry import MODEL_ID, ModelKind
from shared.sealing import Sealer
from shared.sources import url_source

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
HUB_PAGE = re.compile(r"https://huggingface\.co/([\w.-]+/[\w.-]+)/?")

MODEL_TYPES: Mapping[str, ModelKind] = {
    "huggingface": ModelKind.CHECKPOINT,
    "api_trained": ModelKind.CHECKPOINT,
    "custom_ckpt": ModelKind.CHECKPOINT,
    "embeddings": ModelKind.EMBEDDING,
    **{kind: kind for kind in ModelKind},
}
"""The protocol's names, and our own for what it has none for."""


class Category(NamedTuple):
    kind: ModelKind
    families: tuple[str, ...] = ()


MODEL_CATEGORIES: Mapping[str, Category] = {
    "lora": Category(ModelKind.LORA),
    "stable_diffusion": Category(ModelKind.CHECKPOINT, ("sd1", "sd2")),
    "stable_diffusion_xl": Category(ModelKind.CHECKPOINT, ("sdxl",)),
    "controlnet": Category(ModelKind.CONTROLNET),
}
FORMATS = ("ckpt", "safetensors", "pt", "diffusers")
Address = Annotated[str, Field(min_length=1, max_length=4000)]


class LoadTerms(NamedTuple):
    """What the gateway adds to a body to make it a job."""

    sealer: Sealer
    allowed_private_hosts: Collection[str]
    public_url: str
    entry_id: str
    webhook: Webhook | None = None


class LoadBody(BaseModel):
    """What all of them take."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    revision: Annotated[OptionalText, one_of("fp16", "fp32")] = None
    """Keep a checkpoint's weights in this precision; left out, as they come."""
    config: OptionalText = None
    """Of a single-file checkpoint of unusual shape: hub id, or path below the models folder, of a folder in
    diffusers' layout that describes it. Not part of the original protocol."""
    webhook: OptionalText = None
    """URL that gets a POST when the model is loaded, or could not be."""
    track_id: AnyScalar = None
    """Comes back in the webhook with the JSON type that it was sent with."""

    def load(self, terms: LoadTerms, *, kind: ModelKind, model_id: str, address: str) -> LoadSpec:
        revision: Literal["fp16", "fp32", ""] = "fp16" if self.revision == "fp16" else "fp32"
        return LoadSpec(
            model_id=model_id,
            model_kind=kind,
            source=source_of(address, terms),
            revision=revision if self.revision else "",
            config=self.config or "",
            webhook=terms.webhook,
            track_id=self.track_id,
            file_prefix=terms.entry_id,
            public_url=terms.public_url,
        )


class LoadModel(LoadBody):
    """Body of `load_model`."""

    url: Address
    """Hub id (`owner/name`, with `@revision` behind it), URL of a file, or path below the models folder (with
    `./` before it if it looks like a hub id)."""
    model_id: Id
    """Id to give it. What had it before is replaced."""
    model_type: Annotated[str, one_of(*MODEL_TYPES)]
    """What it is."""
    from_safetensors: Switch = False
    """The file is a safetensors file. What it really is, it tells itself."""
    upcast_attention: Switch = False
    """Compute its attention in fp32."""

    @model_validator(mode="after")
    def _id_can_be_used(self) -> Self:
        require_id("model_id", self.model_id)
        if self.model_type == ModelKind.IP_ADAPTER and self.model_id not in IP_ADAPTERS:
            raise wrong("model_id", f"of an IP-Adapter must be one of {', '.join(IP_ADAPTERS)}")
        return self

    def to_spec(self, terms: LoadTerms) -> LoadSpec:
        spec = self.load(
            terms,
            kind=MODEL_TYPES[self.model_type],
            model_id=self.model_id,
            address=self.url,
        )
        return spec.model_copy(
            update={
                "upcast_attention": self.upcast_attention,
                "format": "safetensors" if self.from_safetensors else "",
            }
        )


class LoadModelV2(LoadBody):
    """Body of `load_model_v2`."""

    url: Address
    """As in `load_model`."""
    model_id: Id
    """Id to give it. What had it before is replaced."""
    model_category: Annotated[str, one_of(*MODEL_CATEGORIES)]
    """What it is."""
    model_format: Annotated[str, one_of(*FORMATS)]
    """What its files are."""

    @model_validator(mode="after")
    def _id_can_be_used(self) -> Self:
        require_id("model_id", self.model_id)
        return self

    def to_spec(self, terms: LoadTerms) -> LoadSpec:
        category = MODEL_CATEGORIES[self.model_category]
        spec = self.load(
            terms,
            kind=category.kind,
            model_id=self.model_id,
            address=self.url,
        )
        return spec.model_copy(update={"format": self.model_format, "families": category.families})


class LoadVae(LoadBody):
    """Body of `load_vae`."""

    vae_id: Id
    """Id to give it. What had it before is replaced."""
    vae_url: Address
    """As `url` in `load_model`."""
    vae_type: Annotated[OptionalText, one_of("diffusers", "safetensors", "pt")] = None
    """What its files are."""

    @model_validator(mode="after")
    def _id_can_be_used(self) -> Self:
        require_id("vae_id", self.vae_id)
        return self

    def to_spec(self, terms: LoadTerms) -> LoadSpec:
        spec = self.load(
            terms,
            kind=ModelKind.VAE,
            model_id=self.vae_id,
            address=self.vae_url,
        )
        return spec.model_copy(update={"format": self.vae_type or ""})


AnyLoadBody = LoadModel | LoadModelV2 | LoadVae


def source_of(address: str, terms: LoadTerms) -> ModelSource:
    """Raises `BadRequest` for a URL that would not be asked, or whose token can't be kept secret here."""
    if page := HUB_PAGE.fullmatch(address):
        return ModelSource(origin=Origin.HUB, shown=page[1])
    if address[:8].lower().startswith(("http://", "https://")):
        return url_source(address, terms.sealer, terms.allowed_private_hosts)
    if HUB_ID.fullmatch(address) and not address.startswith("."):
        return ModelSource(origin=Origin.HUB, shown=address)
    return ModelSource(origin=Origin.PATH, shown=address.removeprefix("./"))


def require_id(field: str, value: str) -> None:
    if not re.fullmatch(MODEL_ID, value) or ".." in value:
        raise wrong(
            field, "must be up to 200 letters, digits and . _ + / -, beginning with a letter or digit"
        )


class SyncModels(BaseModel):
    """Body of `sync_models`."""

    model_config = ConfigDict(
        extra="ignore", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    sync_key: Annotated[str, Field(min_length=1, max_length=1000)]
    """An admin's key of the second server, which is one of this server's peers."""
