"""How one server copies the models of another: gateways over real HTTP; the test plays the worker."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.ports import free_port
from shared import ledger
from shared.api_keys import ApiKey, Role, digest
from shared.errors import DownloadFailed, GenerationFailed
from shared.jobs import JobState, LoadSpec, Origin, Outcome
from shared.ledger import Ledger
from shared.registry import Entry, ModelKind
from shared.registry.file import read_models
from shared.settings import DEMO, Settings
from shared.settings import Peer as OtherServer
from tests.support.installing import wanted
from tests.support.processes import running_gateway
from tests.support.receiver import running_drip
from tests.support.site import answer, running_site
from worker.gpu.installing import Effort
from worker.gpu.installing.fetching import Fetcher
from worker.gpu.installing.peer import Peer

ROOT = "/api/v1/enterprise"
ADMIN, USER, BUSY = "an-admins-key", "a-users-key", "a-key-of-an-admin-with-one-job"
LORA = DEMO / "loras" / "frame.safetensors"
MODELS = ("first", "second")
"""What the other server has besides."""


@pytest.fixture(scope="module")
def other(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Settings]]:
    """Another server: a folder of one file, and LoRAs that are files."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "set" / "inner").mkdir(parents=True)
    (folder / "set" / "inner" / "only.pth").write_bytes(b"weights")
    models = [{"kind": "annotators", "id": "set", "path": "set"}]
    models += [{"kind": "lora", "id": name, "path": str(LORA)} for name in MODELS]
    settings = Settings(
        redis_url=module_redis_url,
        data_dir=folder / "data",
        port=free_port(),
        api_keys_file=keys_file(folder),
        models_file=folder / "models.yaml",
    )
    settings.models_file.write_text(yaml.safe_dump({"models": models}))
    with running_gateway(settings, folder / "gateway.log") as url:
        yield url, settings


def keys_file(folder: Path) -> Path:
    file = folder / "keys.json"
    keys = [
        ApiKey(tenant="boss", sha256=digest(ADMIN), role=Role.ADMIN),
        ApiKey(tenant="busy", sha256=digest(BUSY), role=Role.ADMIN, max_open_jobs=1),
        ApiKey(tenant="user", sha256=digest(USER)),
    ]
    file.write_text(json.dumps([key.model_dump(mode="json") for key in keys]))
    return file


@pytest.fixture
def entries(other: tuple[str, Settings]) -> dict[str, str]:
    """The other server's entries, by the ids of the models."""
    return {model.line.id: model.entry_id for model in read_models(other[1].models_file)}


@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        ("no-key", "{set}", 401),
        (USER, "{set}", 403),
        (ADMIN, "00000000", 404),
        (ADMIN, "{set}/files/inner/other.pth", 404),
        (ADMIN, "{set}", 200),
        (ADMIN, "{set}/files/inner/only.pth", 200),
    ],
)
def test_a_program_is_told_by_the_status_what_it_may_not_have(
    other: tuple[str, Settings], entries: dict[str, str], key: str, path: str, status: int
) -> None:
    url = f"{other[0]}{ROOT}/models/{path.format(**entries)}"

    assert httpx.get(url, headers={"Authorization": f"Bearer {key}"}).status_code == status


@dataclass(frozen=True)
class Copying:
    """What a worker does that copies from the other server."""

    url: str
    folder: Path

    def fetch(self, entry_id: str, key: str = ADMIN) -> tuple[Entry, Path]:
        settings = Settings(allow_private_hosts=("127.0.0.1",), model_stall_s=5)
        peer = Peer(Fetcher(settings), self.url, key)
        spec = wanted(ModelKind.LORA, Origin.PEER, self.url, peer_entry=entry_id)
        return peer.fetch(spec, self.folder / "peer", Effort())

    def refusal(self, entry_id: str, key: str = ADMIN) -> str:
        with pytest.raises((DownloadFailed, GenerationFailed)) as caught:
            self.fetch(entry_id, key)
        return str(caught.value.detail)


@pytest.fixture
def copying(other: tuple[str, Settings], tmp_path: Path) -> Copying:
    return Copying(other[0], tmp_path)


def test_a_folder_of_one_file_stays_a_folder(copying: Copying, entries: dict[str, str]) -> None:
    _, place = copying.fetch(entries["set"])

    assert place == copying.folder / "peer"
    assert [str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()] == ["inner/only.pth"]


def test_a_file_stays_a_file(copying: Copying, entries: dict[str, str]) -> None:
    _, place = copying.fetch(entries["first"])

    assert place.name == LORA.name
    assert place.read_bytes() == LORA.read_bytes()


def test_why_nothing_is_copied_is_told(copying: Copying, entries: dict[str, str]) -> None:
    assert copying.refusal(entries["set"], "no-key").startswith("the other server does not accept the key")
    assert copying.refusal(entries["set"], USER).startswith("the key may not read the other server's models")
    assert copying.refusal("00000000") == (
        "the other server has no such model any more: send the request again"
    )


def test_an_error_with_a_good_status_is_told_too(tmp_path: Path) -> None:
    told = json.dumps({"status": "error", "message": "This server has no endpoint /models.", "code": "x"})
    with running_site({f"{ROOT}/models/12345678": answer(told.encode())}) as site:
        sentence = Copying(site.url, tmp_path).refusal("12345678")

    assert sentence == "the other server says: This server has no endpoint /models."


@dataclass(frozen=True)
class Here:
    """The server that copies, without a worker."""

    url: str
    store: Ledger
    settings: Settings

    def post(self, path: str, *, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
        body = {"key": ADMIN} | fields
        said = httpx.post(f"{self.url}{ROOT}/{path}", json=body, headers=headers, timeout=20)
        assert said.status_code in (200, 429), said.text
        return dict(said.json())

    def sync(self, key: str = ADMIN) -> dict[str, Any]:
        return self.post("sync_models", key=key, sync_key=ADMIN)

    def load(self, sent_as: str | None = None, **changes: str) -> dict[str, Any]:
        fields = {"url": "owner/name", "model_id": "m", "model_type": "lora"} | changes
        return self.post("load_model", headers={"Idempotency-Key": sent_as} if sent_as else None, **fields)

    @property
    def begun(self) -> int:
        """How many loads there ever were."""
        return self.store.run(ledger.stats()).totals["accepted"]

    def work(self, state: JobState) -> str:
        """Take the load that waits longest and end it like this; the model's id."""
        claim = self.store.run(ledger.claim_load("worker", str(uuid.uuid4()), self.settings))
        assert claim is not None
        spec = claim.spec
        assert isinstance(spec, LoadSpec)
        if state is JobState.SUCCEEDED:
            entry = Entry(
                entry_id=spec.file_prefix,
                model_id=spec.model_id,
                kind=spec.model_kind,
                source=spec.source.shown,
            )
            assert self.store.run(ledger.register(entry, claim, seeded=False))
        self.store.run(ledger.finish(claim.job_id, claim.token, state, Outcome(reason="why")))
        return spec.model_id


@pytest.fixture
def here(other: tuple[str, Settings], settings: Settings, store: Ledger, tmp_path: Path) -> Iterator[Here]:
    """Its first peer never ends an answer."""
    (tmp_path / "models.yaml").write_text("models: []")
    with running_drip() as drip:
        chosen = settings.model_copy(
            update={
                "api_keys_file": keys_file(tmp_path),
                "api_key": None,
                "models_file": tmp_path / "models.yaml",
                "peers": {
                    name: OtherServer(url=url, key="?") for name, url in (("slow", drip), ("other", other[0]))
                },
                "secret_key": "a secret of the tests",
                "sync_wait_s": 0.0,
            }
        )
        chosen = Settings.model_validate(chosen.model_dump(exclude_unset=True))
        with running_gateway(chosen, tmp_path / "gateway.log") as url:
            yield Here(url, store, chosen)


def test_what_is_being_copied_is_not_copied_twice_but_what_failed_or_was_deleted_is(here: Here) -> None:
    """All in one, because each thing follows from the one before."""
    assert "3 more are still being copied" in here.sync()["tip"]
    here.sync()
    assert here.begun == 3

    failed = here.work(JobState.FAILED)
    here.sync()
    assert here.begun == 4

    done = {here.work(JobState.SUCCEEDED) for _ in range(3)}
    assert done == {failed, "set", *MODELS}
    here.sync()
    assert here.begun == 4

    assert here.post("delete_model", model_id="first")["status"] == "success"
    here.sync()
    here.sync()
    assert here.begun == 5


def test_what_was_begun_is_told_although_not_all_could_be(here: Here) -> None:
    begun = here.sync(BUSY)

    assert begun["status"] == "success"
    assert "1 more are still being copied" in begun["tip"]
    assert "2 more were not begun: Rate limit exceeded. Maximum 1 queued requests allowed." in begun["tip"]
    assert here.begun == 1

    here.work(JobState.FAILED)
    here.load(key=BUSY)
    assert here.sync(BUSY)["code"] == "rate_limited"


def test_a_load_that_is_sent_again_under_its_key_is_the_same(here: Here) -> None:
    first, again = here.load("key-1"), here.load("key-1")
    others = [here.load("key-2"), here.load(), here.load()]

    assert again == first
    assert len({said["id"] for said in [first, *others]}) == 4
    assert here.load("key-1", model_id="another")["code"] == "idempotency_conflict"
    assert here.load("k" * 256)["message"] == "Idempotency-Key must be 1 to 255 characters long"


@pytest.mark.parametrize("url", ["http://[", "http://169.254.169.254/latest", "https://user:token@h.org/x"])
def test_a_url_that_would_not_be_asked_is_refused_at_once(other: tuple[str, Settings], url: str) -> None:
    body = {"key": ADMIN, "url": url, "model_id": "m", "model_type": "lora"}

    said = httpx.post(f"{other[0]}{ROOT}/load_model", json=body).json()

    assert (said["status"], said["code"]) == ("error", "validation_error")
    assert said["message"].startswith("url must ")
