"""A client's secret in a webhook's URL: it reaches the receiver, and nobody else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from shared import ledger
from shared.jobs import JobState, Outcome
from tests.support.deliveries import ADMIN, Office, Said, running_office
from tests.support.receiver import running_receiver
from tests.support.waiting import wait_until

TOKEN = "a-token-that-nobody-may-see"
PICTURE = {"model_id": "demo", "prompt": "a red circle", "width": 64, "height": 64}
MODEL = {"url": "https://models.test/lora.safetensors", "model_id": "style", "model_type": "lora"}
ASKED: dict[str, dict[str, Any]] = {"text2img": PICTURE, "load_model": MODEL}
UNOPENED = "not sent: the webhook's URL can't be opened, because PRINTWORKS_SECRET_KEY is another now"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("sealed"), sync_wait_s=0.0) as office:
        yield office


def ended(office: Office, endpoint: str, webhook: str) -> Said:
    """What the gateway answered to a request, whose job has ended since."""
    said = office.owner(ADMIN).post(endpoint, **ASKED[endpoint], webhook=webhook)
    claims = {"text2img": ledger.claim("w", "token", office.settings, ()), "load_model": None}
    call = claims[endpoint] or ledger.claim_load("w", "token", office.settings)
    claim = office.store.run(call)
    assert claim is not None
    assert claim.job_id == said["id"]
    office.store.run(ledger.finish(claim.job_id, "token", JobState.SUCCEEDED, Outcome()))
    return said


def holding(folder: Path, secret: str) -> list[Path]:
    """Redis' files, logs, everything that a server keeps."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".aof"]
    return [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("endpoint", ASKED)
@pytest.mark.parametrize("place", [f"/hook/{TOKEN}", f"/hook?token={TOKEN}"], ids=["path", "query"])
def test_a_secret_in_the_url_reaches_the_receiver_and_is_seen_nowhere(
    office: Office, endpoint: str, place: str
) -> None:
    with running_receiver() as receiver, office.dispatching():
        job_id = ended(office, endpoint, receiver.url.removesuffix("/hook") + place)["id"]
        log = office.owner(ADMIN).came_to(job_id, "delivered")

    assert [request.path for request in receiver.requests] == [place]
    assert TOKEN not in str(log)
    assert TOKEN.encode() not in receiver.requests[0].body
    assert holding(office.folder, TOKEN) == []


def test_a_secret_in_the_url_is_seen_nowhere_when_the_receiver_is_away(office: Office) -> None:
    url = f"http://127.0.0.1:9/hook?token={TOKEN}"
    with office.dispatching():
        job_id = ended(office, "text2img", url)["id"]
        log = office.owner(ADMIN).came_to(job_id, "dead")

    assert TOKEN not in str(log)
    assert holding(office.folder, TOKEN) == []


@pytest.mark.parametrize("key", [SecretStr("another secret"), None], ids=["another key", "no key"])
def test_what_cannot_be_opened_is_tried_by_the_schedule_until_it_can(
    office: Office, key: SecretStr | None
) -> None:
    owner, again = office.owner(ADMIN), (0.0, 0.1, *(0.3,) * 50)
    with running_receiver() as receiver:
        job_id = ended(office, "text2img", receiver.url)["id"]
        with office.dispatching(secret_key=key, webhook_schedule_s=again):
            wait_until(lambda: owner.answers(job_id).count(UNOPENED) >= 2)
            assert owner.log(job_id)["delivery"] in ("due", "sending")
        both = SecretStr("a new key, a secret of the tests")
        with office.dispatching(secret_key=both, webhook_schedule_s=again):
            owner.came_to(job_id, "delivered")

    assert len(receiver.requests) == 1


def test_the_address_is_checked_after_it_is_opened(office: Office) -> None:
    with running_receiver() as receiver, office.dispatching(allow_private_hosts=()):
        job_id = ended(office, "text2img", receiver.url)["id"]
        office.owner(ADMIN).came_to(job_id, "dead")

    assert receiver.requests == []
    assert "private" in office.owner(ADMIN).answers(job_id)[0]


def test_without_a_key_webhooks_are_taken_all_the_same(tmp_path: Path) -> None:
    with (
        running_office(tmp_path, sync_wait_s=0.0, secret_key=None) as keyless,
        running_receiver() as receiver,
        keyless.dispatching(),
    ):
        job_id = ended(keyless, "text2img", f"{receiver.url}?token={TOKEN}")["id"]
        keyless.owner(ADMIN).came_to(job_id, "delivered")

    assert [request.path for request in receiver.requests] == [f"/hook?token={TOKEN}"]
