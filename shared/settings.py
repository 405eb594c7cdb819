"""All configuration, read once by each process's entry point and passed on as an argument.

Every field is an environment variable with the prefix PRINTWORKS_, or a line of the file that
PRINTWORKS_SETTINGS_FILE names, which can be read anew while a server runs.
"""

import ipaddress
import json
import os
import platform
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from shared.errors import Misconfigured

DEMO_KEY = "demo"
DEMO = Path(__file__).resolve().parent.parent / "deploy" / "demo"


_SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _split_numbers(value: object) -> object:
    return tuple(float(part) for part in _split(value)) if isinstance(value, str) else value  # type: ignore[attr-defined]


def _read_json(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise PydanticCustomError("sentence", "must be JSON") from None


def _server_name(name: str) -> str:
    if not _SERVER_NAME.fullmatch(name):
        raise PydanticCustomError(
            "sentence", "must be up to 64 letters, digits and . _ -, beginning with a letter or digit"
        )
    return name


def _server_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise PydanticCustomError("server_url", "a server's URL looks like https://images-2.example.com")
    return url.rstrip("/")


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A comma-separated list."""


ServerName = Annotated[str, AfterValidator(_server_name)]
ServerUrl = Annotated[str, Field(max_length=500), AfterValidator(_server_url)]


class Peer(BaseModel):
    """Another server, and what it knows this one by."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: ServerUrl
    """Scheme, host and, if need be, port."""
    key: SecretStr
    """A peer's or an admin's key there."""


class Settings(BaseSettings):
    """What an operator can change. Defaults are those of one machine."""

    model_config = SettingsConfigDict(
        env_prefix="PRINTWORKS_", env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    redis_url: str = "redis://127.0.0.1:6379/0"
    """Ledger and broker: Redis or Valkey with the append-only file on and `noeviction`; one server, or
    `redis+sentinel://:password@host-1:26379,host-2:26379/MASTER/0`."""
    data_dir: Path = Path("data")
    """Where the storage folder lives."""

    host: str = "127.0.0.1"
    """Address that the gateway binds."""
    port: int = 8000
    public_url: str = ""
    """Base of every URL in an answer; by default the host that the client used."""
    strict_http_status: bool = False
    """Answer errors with 4xx and 5xx; the wire's habit is 200 with `status: "error"`."""
    sync_wait_s: float = Field(default=25.0, ge=0)
    """How long a request waits for its pictures before it is answered `processing`."""
    max_waiting: int = Field(default=500, ge=0)
    """Requests that wait for pictures in one gateway; those beyond are answered `processing` at once."""
    max_body_bytes: int = Field(default=32 * 1024 * 1024, gt=0)
    bodies_at_once: int = Field(default=8, ge=1)
    """How many of the largest bodies one gateway holds, while it does not know yet whose they are."""
    request_stall_s: float = Field(default=10.0, gt=0)
    """A request that is not there, or brings nothing, for this long is refused."""

    metrics_host: str = "127.0.0.1"
    """Address at which a GPU worker or a dispatcher answers Prometheus and probes, as the gateway does at its
    own."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Its port there; 0: nowhere."""

    api_key: SecretStr | None = None
    """One key for a small installation; its tenant is `default`."""
    api_keys_file: Path | None = None
    """JSON list of hashed keys, made by `python -m shared.api_keys`."""
    secret_key: SecretStr | None = None
    """Seals S3 credentials, tokens in models' URLs, and webhooks' URLs; the same in every process. Several,
    separated by commas: the first seals, all open."""

    models_file: Path = DEMO / "models.yaml"
    """The models to begin with."""
    models_dir: Path | None = None
    """Where models that are loaded by the API lie, and from where paths may be loaded; by default `models` in
    `data_dir`."""
    model_max_bytes: int = Field(default=64 * 1024**3, gt=0)
    """Largest model that is loaded."""
    model_stall_s: float = Field(default=60.0, gt=0)
    """A download of a model that brings nothing for this long has failed."""
    allow_pickle: bool = False
    """Read pickled weights (.ckpt, .pt, .bin) too, with torch's `weights_only`."""
    hub_url: str = "https://huggingface.co"
    """The hub that models are loaded from by their id; HF_TOKEN is its token."""
    server_name: ServerName = Field(default_factory=platform.node)
    """What other servers, and `meta.server`, call this one."""
    peers: Annotated[dict[ServerName, Peer], NoDecode, BeforeValidator(_read_json)] = {}
    """Other servers, as JSON: name → `url` and `key`."""

    require_safety_checker: bool = False
    """Refuse jobs that ask for the safety checker when there is none, instead of doing them unchecked."""

    max_side: int = Field(default=1024, ge=64, multiple_of=8)
    """Largest width and height in pixels."""
    max_panorama_width: int = Field(default=4096, ge=64, le=16384, multiple_of=8)
    """Largest width of a panorama."""
    max_frames: int = Field(default=64, ge=1)
    """Most pictures in a video."""
    max_film_pixels: int = Field(default=32 * 512 * 512, ge=1)
    """Most pixels in all pictures of a video together: each of its steps must end within `step_timeout_s`."""
    max_enlarged_pixels: int = Field(default=64 * 1024 * 1024, ge=1)
    """Largest picture that super_resolution may make."""
    tomesd_share: float = Field(default=0.5, gt=0, le=0.75)
    """Share of the positions that `tomesd: yes` merges."""
    input_max_bytes: int = Field(default=20_000_000, gt=0)
    """Largest file that is read as an input picture, from a URL or in base64."""
    input_max_pixels: int = Field(default=50_000_000, ge=64, le=178_000_000)
    """Most pixels of an input picture; one takes up to 12 bytes of memory per pixel while it is checked."""
    input_timeout_s: float = Field(default=30.0, gt=0)
    """How long the download of an input picture may take as a whole."""
    input_max_redirects: int = Field(default=5, ge=0)
    temp_life_s: float = Field(default=24 * 3600, gt=0)
    """How long the files of `temp: yes` can be read."""
    signed_link_life_s: float = Field(default=3600, gt=0, le=7 * 24 * 3600)
    """How long a signed link into a private bucket works; ours that leads to it makes a new one each time."""

    lease_s: float = Field(default=10.0, gt=0)
    """A worker that is silent for this long loses its jobs."""
    beat_s: float = Field(default=2.0, gt=0)
    """How often a worker renews its leases; well under `lease_s`."""
    sweep_s: float = Field(default=1.0, gt=0)
    max_attempts: int = Field(default=3, ge=1)
    """A job whose workers vanished this often is failed."""
    max_wait_s: float = Field(default=6 * 3600.0, gt=0)
    """A job that would wait for longer is refused. That is predicted by what its tenant has open and by the
    share that the others leave it, so no tenant is refused for another's flood."""
    job_deadline_s: float = Field(default=24 * 3600.0, gt=0)
    """A job that has not ended so long after it was accepted is failed; loads of models have no deadline."""
    affinity_slack: int = Field(default=1_600_000, ge=0)
    """How far, in work units of virtual time, a job whose model is loaded may overtake one whose model
    is not: the default is about 20 pictures of 512 px at 20 steps."""
    retention_s: float = 24 * 3600
    """How long a finished job can be fetched."""

    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: the GPU that this process can see, else the CPU."""
    cpu_threads: int = Field(default=max(1, (os.cpu_count() or 1) - 1), ge=1)
    """Threads of a worker without a GPU; by default one core is left to the other processes, because a
    forward waits for its slowest thread at every layer."""
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Precision of the weights: `auto` is fp16 on a GPU and fp32 on a CPU."""
    compile_backend: str | None = None
    """torch.compile's backend (`inductor`) for the UNet's repeated blocks; forwards then come in powers of
    two rows."""
    model_memory_bytes: int | None = Field(default=None, gt=0)
    """What loaded models may take together; by default 0.7 of the device's memory."""
    pool: ServerName = "default"
    """Workers that are alike, in GPU, models and settings, are a pool; this one's."""
    serves: Words = ()
    """Ids of the models whose jobs this worker takes; none: all. The same in the whole pool."""
    preload: Words = ()
    """Ids of the checkpoints that are loaded at the start; none: all that it serves and has room for."""
    slots: int = Field(default=8, ge=1)
    """Jobs that one GPU worker holds at a time."""
    lane_width: int = Field(default=8, ge=1)
    """Most sequences in one forward."""
    step_timeout_s: float = Field(default=120.0, gt=0)
    """A denoising step that takes longer means a hung device: the process ends itself."""
    drain_s: float = Field(default=8.0, ge=0)
    """After SIGTERM, how long work in flight may go on before it is given back."""
    start_s: float = Field(default=120.0, gt=0)
    """How long a worker may take to start; while one does, others wait with restarting."""

    webhook_secret: SecretStr | None = None
    """`whsec_...`: signs deliveries as Standard Webhooks does; without it they are unsigned."""
    webhook_timeout_s: float = Field(default=30.0, gt=0)
    webhook_schedule_s: Annotated[tuple[float, ...], NoDecode, BeforeValidator(_split_numbers)] = (
        *(0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0),
    )
    """Seconds before each attempt of a delivery; after the last it is dead."""
    deliveries_at_once: int = Field(default=16, ge=1)
    allow_private_hosts: Words = ()
    """Hosts in private networks that clients may name: for webhooks, pictures, models and buckets."""

    @classmethod
    def load(cls, settings_file: Path | None = None, **given: str) -> "Settings":
        """From what is `given`, the environment, and a file of `NAME=VALUE` lines, in this order; by default
        the file that PRINTWORKS_SETTINGS_FILE names. Raises `Misconfigured` with a sentence per wrong one."""
        file = settings_file or os.environ.get("PRINTWORKS_SETTINGS_FILE") or None  # noqa: TID251
        try:
            return cls(_env_file=file, **given)  # type: ignore[arg-type]
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_context=False, include_input=False)
            sentences = [f"PRINTWORKS_{str(error['loc'][0]).upper()}: {error['msg']}" for error in errors]
        except SettingsError as exc:
            sentences = [str(exc)]
        raise Misconfigured("; ".join(sentences))

    @property
    def models_folder(self) -> Path:
        return self.models_dir or self.data_dir / "models"

    def require_serviceable(self) -> None:
        """Raise `Misconfigured` with one sentence if the gateway must not start like this."""
        if self.api_key is None and self.api_keys_file is None:
            raise Misconfigured(
                "No API key is configured: set PRINTWORKS_API_KEY or PRINTWORKS_API_KEYS_FILE."
            )
        demo_key = self.api_key is not None and self.api_key.get_secret_value() == DEMO_KEY
        if demo_key and not is_loopback(self.host):
            raise Misconfigured(
                f"The key '{DEMO_KEY}' is only for loopback, and HOST is {self.host}: "
                "set API_KEY to a secret of your own."
            )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_in_url(host: str) -> str:
    """A bound host as a client on this machine writes it in a URL."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host
