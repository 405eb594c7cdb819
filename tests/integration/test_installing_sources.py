"""Models of the operator's own folder are used in place; those of another server are copied file by file."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from shared.jobs import LoadSpec, Origin
from shared.manifests import Manifests
from shared.registry import Entry, ModelKind
from tests.support import tiny
from tests.support.installing import Workshop, from_hub, from_path, from_url, wanted
from tests.support.lora_files import diffusers_lora
from tests.support.model_files import FilePage, save_checkpoint
from tests.support.site import Page, Site, answer, redirect, running_site
from worker.gpu.installing import Effort
from worker.gpu.installing.fetching import Fetcher, Wanted
from worker.gpu.models.loading import Tuning, load_checkpoint
from worker.gpu.models.precision import Precision

LORA, CHECKPOINT = ModelKind.LORA, ModelKind.CHECKPOINT
KEY = "key-of-the-other-server"


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return diffusers_lora(tmp_path / "lora.safetensors", tiny.stable_diffusion().unet)


def test_an_operators_file_stays_where_it_is(workshop: Workshop, lora: Path) -> None:
    file = workshop.models / "mine" / "lora.safetensors"
    file.parent.mkdir()
    lora.rename(file)

    entry = workshop.install(from_path(LORA, "mine/lora.safetensors"))
    workshop.installer.remove(entry.entry_id)

    assert workshop.installer.place_of(entry) == file.resolve()
    assert entry.path == str(file.resolve())
    assert entry.source == "mine/lora.safetensors"
    assert len(entry.sha256) == 64
    assert workshop.files == ["mine", "mine/lora.safetensors"]


def test_an_operators_folder_stays_as_it_is(workshop: Workshop) -> None:
    folder = tiny.save_stable_diffusion(workshop.models / "mine")
    before = workshop.files

    entry = workshop.install(from_path(CHECKPOINT, "mine"))
    sentence = workshop.refusal(from_path(CHECKPOINT, "mine", upcast_attention=True))

    assert workshop.installer.place_of(entry) == folder.resolve()
    assert workshop.files == before
    assert (entry.family, entry.format, entry.revision) == ("sd1", "diffusers", "fp32")
    assert sentence.startswith("upcast_attention would change a folder that is not this server's own")


def test_a_part_of_an_operators_pipeline_is_that_part(workshop: Workshop) -> None:
    folder = tiny.save_stable_diffusion(workshop.models / "mine")

    assert workshop.place(from_path(ModelKind.VAE, "mine")) == (folder / "vae").resolve()


@pytest.mark.parametrize(
    "path", ["../outside", "/etc", "", ".", "mine/../../outside", ".hidden", "link", "a\0b"]
)
def test_no_path_leads_out_of_the_models_folder(workshop: Workshop, path: str) -> None:
    tiny.save_stable_diffusion(workshop.models.parent / "outside")
    (workshop.models / "link").symlink_to(workshop.models.parent / "outside")

    sentence = workshop.refusal(from_path(CHECKPOINT, path))

    assert sentence == "it leads out of the models folder: send a path below it, relative to it."


def test_no_link_in_a_folder_leads_out_either(workshop: Workshop) -> None:
    folder = tiny.save_stable_diffusion(workshop.models / "mine")
    (folder / "unet" / "passwords.json").symlink_to("/etc/passwd")

    sentence = workshop.refusal(from_path(CHECKPOINT, "mine"))

    assert sentence.startswith("there is a link in it that leads out of the models folder")


def test_what_is_not_there_and_what_is_another_models_is_told(workshop: Workshop, lora: Path) -> None:
    with running_site({"/lora": FilePage(lora.read_bytes())}) as site:
        loaded = workshop.install(from_url(LORA, f"{site.url}/lora"))

    lacking = workshop.refusal(from_path(LORA, "nothing"))
    taken = workshop.refusal(from_path(LORA, f"{loaded.entry_id}/{loaded.path}"))

    assert lacking == "there is no such file or folder below the models folder."
    assert taken == "it belongs to a model that was loaded before: send a path of its own."


def break_shard(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


BROKEN = {
    "lacks a part": (
        lambda folder: (folder / "vae").rename(folder / "eva"),
        "vae/ is missing: send a whole",
    ),
    "lacks weights": (
        lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
        "vae: diffusion_pytorch_model.safetensors or model.safetensors is missing: send a whole folder",
    ),
    "lacks a config": (
        lambda folder: (folder / "unet" / "config.json").unlink(),
        "unet: config.json is missing",
    ),
    "cut off": (break_shard, "unet: diffusion_pytorch_model.safetensors: it is cut off: it has"),
    "broken index": (
        lambda folder: (folder / "model_index.json").write_text("{"),
        "its model_index.json is broken",
    ),
    "only a variant": (
        lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(
            folder / "vae" / "diffusion_pytorch_model.fp16.safetensors",
        ),
        "vae: diffusion_pytorch_model.fp16.safetensors must be called diffusion_pytorch_model.safetensors to",
    ),
    "a missing shard": (
        lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}})
        ),
        "unet: diffusion_pytorch_model-00001-of-00002.safetensors is missing: send a whole folder",
    ),
    "an index that leads out": (
        lambda folder: (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": "../../../secret"}})
        ),
        "unet: ../../../secret is missing",
    ),
    "pickles": (
        lambda folder: (folder / "text_encoder" / "model.safetensors").rename(
            folder / "text_encoder" / "pytorch_model.bin"
        ),
        "text_encoder: its weights are pickles",
    ),
    "no model": (
        lambda folder: (folder / "model_index.json").unlink(),
        "the folder holds no model that is known",
    ),
}


@pytest.mark.parametrize(("damage", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_folder_that_is_not_whole_is_told_what_it_lacks(
    workshop: Workshop, damage: Any, reason: str
) -> None:
    damage(tiny.save_stable_diffusion(workshop.models / "mine"))

    assert workshop.refusal(from_path(CHECKPOINT, "mine")).startswith(reason)


def test_credentials_are_for_the_first_server_only(workshop: Workshop, lora: Path, tmp_path: Path) -> None:
    pages: dict[str, Page] = {"/inner": redirect("/outer")}
    secret = {"Authorization": "Bearer secret"}
    with running_site({"/lora": FilePage(lora.read_bytes())}) as there, running_site(pages) as site:
        pages["/outer"] = redirect(f"{there.url}/lora")
        fetcher, file = Fetcher(workshop.settings), tmp_path / "fetched"
        fetcher.fetch(Wanted(f"{site.url}/inner", secret), file, Effort(), lambda *_: None)

    assert [request.headers.get("authorization") for request in site.requests] == ["Bearer secret"] * 2
    assert [request.headers.get("authorization") for request in there.requests] == [None]


@contextlib.contextmanager
def running_peer(models: dict[str, tuple[Entry, Path]]) -> Iterator[tuple[Site, dict[str, Page]]]:
    """Another server, as far as it lets others copy its models."""
    pages: dict[str, Page] = {}
    for entry_id, (entry, place) in models.items():
        base = f"/api/v1/enterprise/models/{entry_id}"
        files = Manifests().of(entry_id, place)
        told = {
            "entry": entry.model_dump(mode="json", exclude={"path", "recipe"}),
            "is_folder": place.is_dir(),
            "files": [file.model_dump() for file in files],
        }
        pages[base] = keyed(answer(json.dumps(told).encode()))
        for file in files:
            content = (place / file.path if place.is_dir() else place).read_bytes()
            pages[f"{base}/files/{file.path}"] = keyed(FilePage(content))
    with running_site(pages) as site:
        yield site, pages


def keyed(page: Page) -> Page:
    """For those who have the key."""

    def guarded(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
        is_known = handler.headers.get("Authorization") == f"Bearer {KEY}"
        (page if is_known else answer(status=401))(handler, over)

    return guarded


def from_peer(workshop: Workshop, kind: ModelKind, url: str, entry_id: str, key: str = KEY) -> LoadSpec:
    return wanted(kind, Origin.PEER, url, workshop.sealer.seal(json.dumps([url, key])), peer_entry=entry_id)


def test_a_model_of_a_peer_is_copied_with_what_is_known_of_it(tmp_path: Path, lora: Path) -> None:
    there = Workshop(tmp_path / "there")
    tiny.save_stable_diffusion(there.models / "sd")
    with running_site({"/lora": FilePage(lora.read_bytes())}) as site:
        entries = [
            there.install(from_url(LORA, f"{site.url}/lora")),
            there.install(from_path(CHECKPOINT, "sd")),
        ]
    models = {entry.entry_id: (entry, there.installer.place_of(entry)) for entry in entries}
    with running_peer(models) as (peer, _):
        here = Workshop(tmp_path / "here", allow_private_hosts=())
        copies = [here.install(from_peer(here, entry.kind, peer.url, entry.entry_id)) for entry in entries]

    for copied, entry in zip(copies, entries, strict=True):
        assert (copied.sha256, copied.family, copied.bytes) == (entry.sha256, entry.family, entry.bytes)
        assert copied.entry_id != entry.entry_id
    assert here.installer.place_of(copies[0]).read_bytes() == lora.read_bytes()
    load_checkpoint("it", here.installer.place_of(copies[1]), Precision.choose("cpu", "fp32"), Tuning())


def test_a_server_that_no_gateway_of_ours_has_named_is_not_asked(tmp_path: Path, lora: Path) -> None:
    there = Workshop(tmp_path / "there")
    lora.rename(there.models / "lora.safetensors")
    entry = there.install(from_path(LORA, "lora.safetensors"))
    with running_peer({entry.entry_id: (entry, there.installer.place_of(entry))}) as (peer, _):
        here = Workshop(tmp_path / "here", allow_private_hosts=())
        sentence = here.refusal(wanted(LORA, Origin.PEER, peer.url, None, peer_entry=entry.entry_id))

    assert sentence == "It is not known how to ask that server: send sync_models again."
    assert peer.requests == []


def test_what_a_peer_refuses_or_lacks_is_told(workshop: Workshop, lora: Path) -> None:
    lora.rename(workshop.models / "lora.safetensors")
    entry = workshop.install(from_path(LORA, "lora.safetensors"))
    with running_peer({entry.entry_id: (entry, workshop.installer.place_of(entry))}) as (peer, _):
        locked = workshop.refusal(from_peer(workshop, LORA, peer.url, entry.entry_id, key="wrong"))
        gone = workshop.refusal(from_peer(workshop, LORA, peer.url, "12345678"))

    assert locked == "the other server does not accept the key: send a key of that server in sync_key."
    assert gone == "the other server has no such model any more: send the request again."


def told(entry: Entry, **file: Any) -> bytes:
    known = {"path": "lora.safetensors", "bytes": 10, "sha256": "0" * 64}
    shown = entry.model_dump(mode="json", exclude={"path", "recipe"})
    return json.dumps({"entry": shown, "is_folder": False, "files": [known | file]}).encode()


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "a way out": ({"path": "../../escaped"}, "what the other server says of it makes no sense"),
    "an absolute path": ({"path": "/escaped"}, "what the other server says of it makes no sense"),
    "no digest": ({"sha256": ""}, "what the other server says of it makes no sense"),
    "another digest": ({}, "what came is not what its server announced: its SHA-256 is another"),
    "too large": ({"bytes": 10**12}, "it is larger than"),
}


@pytest.mark.parametrize(("lie", "reason"), LIES.values(), ids=LIES)
def test_a_peer_is_not_believed(workshop: Workshop, lora: Path, lie: dict[str, Any], reason: str) -> None:
    (workshop.models / "lora.safetensors").write_bytes(lora.read_bytes())
    entry = workshop.install(from_path(LORA, "lora.safetensors"))
    base = f"/api/v1/enterprise/models/{entry.entry_id}"
    pages: dict[str, Page] = {
        base: answer(told(entry, **lie)),
        f"{base}/files/lora.safetensors": FilePage(lora.read_bytes()),
    }
    with running_site(pages) as site:
        sentence = workshop.refusal(from_peer(workshop, LORA, site.url, entry.entry_id))

    assert sentence.startswith(reason)
    assert not [*workshop.models.parent.rglob("escaped")]


def test_a_checkpoint_in_the_operators_folder_is_converted_beside_it(workshop: Workshop) -> None:
    pipeline = tiny.stable_diffusion()
    file = save_checkpoint(pipeline, workshop.models / "mine.safetensors")
    pipeline.save_pretrained(workshop.models / "described", safe_serialization=True)

    entry = workshop.install(from_path(CHECKPOINT, "mine.safetensors", config="described"))

    assert file.exists()
    place = workshop.installer.place_of(entry)
    assert place == workshop.models / entry.entry_id / "model"
    assert load_file(place / "vae" / "diffusion_pytorch_model.safetensors").keys()


def test_the_id_of_an_entry_leads_nowhere_else(workshop: Workshop) -> None:
    tiny.save_tensors(workshop.models / "mine.safetensors")

    for entry_id in ("../models", ".", "mine.safetensors"):
        with pytest.raises(ValueError, match="should match"):
            workshop.installer.remove(entry_id)

    assert workshop.files == ["mine.safetensors"]


def test_any_hub_id_is_no_way_out(workshop: Workshop) -> None:
    assert workshop.refusal(from_hub(LORA, "..")).startswith("that is no id of a repository of the hub")
