"""No model leads a worker out of its models folder, whatever it is called and whatever its files say."""

import contextlib
import json
import re
import shutil
import string
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from shared.api_keys.file import read_keys
from shared.errors import BadRequest, GenerationFailed, Misconfigured
from shared.jobs import LoadSpec
from shared.registry import ModelKind
from shared.storage import S3Details, S3Target
from shared.storage.names import FINISHED, INPUT
from tests.support import tiny
from tests.support.climbs import CLIMBS, MARK, placed, tree
from tests.support.installing import Workshop, from_hub, from_path, from_url
from tests.support.lora_files import diffusers_lora
from tests.support.model_files import save_checkpoint
from tests.support.site import answer, running_site
from worker.gpu.installing.places import is_inside
from worker.gpu.models.loading import Tuning, load_checkpoint
from worker.gpu.models.precision import Precision

CPU = Precision.choose("cpu", "fp32")
SENTENCES = (
    "leads out of the models folder",
    "no such file or folder below the models folder",
    "no id of a repository of the hub",
    "the hub can't be reached",
    "is missing: send",
)
A_PREFIX = "6acf249e-7aa7-4281-9640-a7f5a3086a04"
LINKED = {**CLIMBS, "a link": "link/secret.txt", "a link to a file": "linked.txt"}
WAYS: dict[str, Callable[[str], LoadSpec]] = {
    "its place": lambda climb: from_path(ModelKind.LORA, climb),
    "its repository": lambda climb: from_hub(ModelKind.LORA, climb),
    "its config": lambda climb: from_path(ModelKind.CHECKPOINT, "single.safetensors", config=climb),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a folder; beside it the same as a single file, and a LoRA of it in two formats."""
    pipeline, folder = tiny.stable_diffusion(), tmp_path_factory.mktemp("tiny") / "sd"
    pipeline.save_pretrained(folder, safe_serialization=True)
    save_checkpoint(pipeline, folder.with_name("single.safetensors"))
    lora = diffusers_lora(folder.with_name("lora.safetensors"), pipeline.unet)
    torch.save(load_file(lora), lora.with_suffix(".pt"))
    return folder


@pytest.fixture
def workshop(tmp_path: Path, checkpoint: Path) -> Iterator[Workshop]:
    """Beside its data lies a secret, to which links lead; nothing outside the models folder may change."""
    (tmp_path / "secret.txt").write_text(MARK)
    workshop = Workshop(tmp_path, allow_pickle=True)
    (workshop.models / "link").symlink_to(tmp_path)
    (workshop.models / "linked.txt").symlink_to(tmp_path / "secret.txt")
    (workshop.models / "single.safetensors").hardlink_to(checkpoint.with_name("single.safetensors"))
    before = outside(tmp_path)
    yield workshop
    assert outside(tmp_path) == before


def outside(folder: Path) -> dict[str, tuple[int, int]]:
    return {name: what for name, what in tree(folder).items() if not name.startswith("data/models/")}


def mine(workshop: Workshop, checkpoint: Path) -> Path:
    return Path(shutil.copytree(checkpoint, workshop.models / "mine"))


def change(file: Path, **fields: Any) -> None:
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | fields))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_model_is_found_nowhere_else(
    workshop: Workshop, way: Callable[[str], LoadSpec], tmp_path: Path
) -> None:
    for name, climb in LINKED.items():
        sentence = workshop.refusal(way(placed(climb, tmp_path / "secret.txt")))

        assert MARK not in sentence, name
        assert any(words in sentence for words in SENTENCES), (name, sentence)


def test_an_index_of_weights_leads_nowhere_else(workshop: Workshop, checkpoint: Path, tmp_path: Path) -> None:
    """Also one beside another that is sound: which one is followed, the library decides."""
    folder = mine(workshop, checkpoint) / "text_encoder"
    (folder / "model.safetensors").rename(folder / "sound.safetensors")
    sound = {"weight_map": dict.fromkeys(load_file(folder / "sound.safetensors"), "sound.safetensors")}
    change(folder / "diffusion_pytorch_model.safetensors.index.json", **sound)
    for name, climb in CLIMBS.items():
        leading = {"a": placed(climb, tmp_path / "secret.txt")}
        change(folder / "model.safetensors.index.json", metadata={}, weight_map=leading)

        sentence = workshop.refusal(from_path(ModelKind.CHECKPOINT, "mine"))

        assert sentence.startswith("text_encoder: "), name
        assert "is missing: send a whole folder" in sentence, name
        assert MARK not in sentence, name


def test_an_index_of_parts_leads_nowhere_else(workshop: Workshop, checkpoint: Path, tmp_path: Path) -> None:
    parts = {
        placed(climb, tmp_path / "secret.txt"): ["diffusers", "UNet2DModel"] for climb in CLIMBS.values()
    }
    change(mine(workshop, checkpoint) / "model_index.json", **parts)

    entry = workshop.install(from_path(ModelKind.CHECKPOINT, "mine"))
    loaded = load_checkpoint("it", workshop.installer.place_of(entry), CPU, Tuning())

    assert not loaded.pipeline.components.keys() & parts.keys()


@pytest.mark.parametrize("library", ["os", "..", "../../secret", "tests.support.climbs", "sitecustomize"])
def test_an_index_of_parts_brings_in_no_other_code(
    workshop: Workshop, checkpoint: Path, library: str, tmp_path: Path
) -> None:
    change(mine(workshop, checkpoint) / "model_index.json", unet=[library, "system"])

    entry = workshop.install(from_path(ModelKind.CHECKPOINT, "mine"))
    with pytest.raises(GenerationFailed):
        load_checkpoint("it", workshop.installer.place_of(entry), CPU, Tuning())


@pytest.mark.parametrize("inside", ["", "lora/"], ids=["beside its folder", "in its folder"])
def test_members_of_a_pickle_are_written_nowhere(
    workshop: Workshop, checkpoint: Path, inside: str, tmp_path: Path
) -> None:
    file = Path(shutil.copy(checkpoint.with_name("lora.pt"), workshop.models))
    climbs = {placed(climb, tmp_path / "secret.txt").partition("\0")[0] for climb in CLIMBS.values()}
    with zipfile.ZipFile(file, "a") as archive:
        for climb in climbs:
            archive.writestr(inside + climb, "climbed")

    with contextlib.suppress(GenerationFailed):
        workshop.install(from_path(ModelKind.LORA, "lora.pt"))

    written = [path for path in tmp_path.rglob("*") if path.is_file() and path != file]
    assert not [path for path in written if b"climbed" in path.read_bytes()]


def test_a_downloaded_file_is_called_what_it_may_be_called(workshop: Workshop, checkpoint: Path) -> None:
    names = [climb.replace("\n", "").replace("\0", "")[:8_000] for climb in CLIMBS.values()]
    lora = checkpoint.with_name("lora.safetensors").read_bytes()
    pages = {
        f"/{number}": answer(
            lora,
            headers={"Content-Disposition": f'attachment; filename="{name}"'.encode().decode("latin-1")},
        )
        for number, name in enumerate(names)
    }
    with running_site(pages) as site:
        entries = [workshop.install(from_url(ModelKind.LORA, f"{site.url}{page}")) for page in pages]

    for entry in entries:
        (file,) = (workshop.models / entry.entry_id).glob("*.safetensors")
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors", file.name)
        assert workshop.installer.place_of(entry) == file


@pytest.mark.parametrize("climb", CLIMBS.values(), ids=CLIMBS)
def test_names_of_files_stay_in_their_folder(climb: str) -> None:
    """Those that a hub or another server tells, and those of stored files."""
    name = placed(climb, Path("/tmp/secret.txt"))  # noqa: S108 - nothing is there

    assert not is_inside(name) or (".." not in Path(name).parts and not Path(name).is_absolute())
    assert not FINISHED.fullmatch(name)
    assert not FINISHED.fullmatch(f"{A_PREFIX}-0.png/{name}")
    assert not INPUT.fullmatch(f"{name}{A_PREFIX}-init")


@pytest.mark.parametrize("field", ["image_directory", "bucket", "region_name"])
def test_a_bucket_is_left_by_no_name(field: str) -> None:
    keys = {"aws_access_key_id": "id", "aws_secret_access_key": "secret"}
    for climb in CLIMBS.values():
        details = {"endpoint_url": "https://93.184.215.14", "bucket": "pictures"} | keys | {field: climb}

        with contextlib.suppress(BadRequest):
            target = S3Target.given(S3Details.model_validate(details), ())

            # slashes around a folder are forgiven
            assert (target.bucket, target.image_directory) == ("pictures", climb.strip("/"))
            assert set(climb) <= {*string.ascii_letters, "/"}


def test_no_tenant_is_called_like_a_path(tmp_path: Path) -> None:
    """Dots alone are a name: a tenant's is part of no path."""
    file = tmp_path / "keys.json"
    for climb in CLIMBS.values():
        file.write_text(json.dumps([{"tenant": f"{climb}/", "sha256": "0" * 64}]))

        with pytest.raises(Misconfigured, match="tenant must be 1 to 64 letters"):
            read_keys(file)
