"""Which addresses of models are taken at all, what is kept of them, and how files are digested."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.errors import strict_status
from api.upkeep import require_usable
from api.wire.requests import LoadModel, LoadModelV2, LoadTerms, LoadVae
from api.wire.requests.models import AnyLoadBody
from api.wire.sentences import parse
from shared.errors import BadRequest, InvalidKey, Misconfigured, RefusedAddress
from shared.ip_adapters import IP_ADAPTERS
from shared.manifests import Manifests
from shared.sealing import CANNOT_SEAL, Sealer
from shared.settings import Settings
from shared.sources import url_source

TOKEN = "a-token-that-nobody-may-see"
SEALER = Sealer(Settings(secret_key="a secret of the tests"))
REFUSED = [
    "http://[",
    "http://[::1",
    "http://h]/x",
    "https://℀.com/x",
    "https://",
    f"https://user:{TOKEN}@example.com/x",
    f"https://{TOKEN}@example.com/x",
    "http://127.0.0.1/x",
    "http://169.254.169.254/latest",
    "http://localhost:8080/x",
]
BODIES: list[tuple[type[AnyLoadBody], str, dict[str, Any]]] = [
    (LoadModel, "url", {"model_id": "m", "model_type": "lora"}),
    (LoadModelV2, "url", {"model_id": "m", "model_category": "lora", "model_format": "safetensors"}),
    (LoadVae, "vae_url", {"vae_id": "m"}),
]


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize(("kind", "field", "fields"), BODIES, ids=lambda each: getattr(each, "__name__", ""))
def test_a_url_that_would_not_be_asked_is_refused_in_a_sentence_without_it(
    kind: type[AnyLoadBody], field: str, fields: dict[str, Any], url: str
) -> None:
    wanted = parse(kind, fields | {field: url})

    with pytest.raises(BadRequest, match=r"^url must ") as caught:
        wanted.to_spec(LoadTerms(SEALER, (), "http://printworks.test", "12345678"))

    assert TOKEN not in caught.value.detail


def test_what_is_seen_of_a_url_holds_no_query() -> None:
    plain = url_source("https://example.com/a.safetensors", SEALER, ())
    secret = url_source(f"https://example.com/a.safetensors?token={TOKEN}", SEALER, ())

    assert plain.shown == secret.shown == "https://example.com/a.safetensors"
    assert plain.sealed is None
    assert SEALER.open(secret.sealed or "") == f"https://example.com/a.safetensors?token={TOKEN}"


def test_a_private_host_that_the_operator_allows_is_taken() -> None:
    assert url_source("http://127.0.0.1:1/x", SEALER, ("127.0.0.1",)).shown == "http://127.0.0.1:1/x"


def test_an_ip_adapter_that_nobody_could_ask_for_is_refused_with_the_ids() -> None:
    body = {"url": "owner/name", "model_type": "ip_adapter"}

    with pytest.raises(BadRequest) as caught:
        parse(LoadModel, body | {"model_id": "my-adapter"})

    assert caught.value.detail == f"model_id of an IP-Adapter must be one of {', '.join(IP_ADAPTERS)}"
    assert parse(LoadModel, body | {"model_id": "ip-adapter_sd15"}).model_type == "ip_adapter"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (f"https://example.com/a?token={TOKEN}", CANNOT_SEAL),
        (f"https://user:{TOKEN}@example.com/a", "url must not hold a user name or a password"),
    ],
    ids=["cannot seal", "a password"],
)
def test_a_models_file_whose_urls_cannot_be_kept_is_not_served_with(
    tmp_path: Path, url: str, sentence: str
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump({"models": [{"kind": "lora", "id": "style", "url": url}]}))

    with pytest.raises(Misconfigured) as caught:
        require_usable(Settings(models_file=file, api_key="a key"))

    assert caught.value.detail == f"{file}: lora:style: {sentence}"


def test_an_error_without_a_status_of_its_own_is_a_bad_request() -> None:
    assert (strict_status(RefusedAddress("no")), strict_status(InvalidKey("no"))) == (400, 401)


def test_those_who_ask_for_a_model_at_once_have_it_read_once(tmp_path: Path) -> None:
    file, manifests, together = tmp_path / "model", Manifests(), threading.Barrier(4)
    with file.open("wb") as large:
        large.truncate(64 * 1024 * 1024)

    def told(_: int) -> object:
        together.wait()
        return manifests.of("12345678", file)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(told, range(4)))

    assert all(each is answers[0] for each in answers)
