"""Nobody makes this server call where it may not: one table of attacks, on each way by which it goes out."""

import asyncio
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import redis
from prometheus_client import CollectorRegistry

from api.intake import Intake
from api.wire.requests import GivenPicture, LoadModel, LoadTerms
from shared import ledger
from shared.broker import DELIVER_TASK, Bell, make_celery
from shared.errors import BadPicture, BadRequest
from shared.jobs import JobState, LoadSpec, Outcome, Role, Webhook
from shared.ledger import Ledger
from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import FolderStorage, S3Details, S3Storage, S3Target, StorageAway
from shared.storage.bucket import Patience
from shared.webhooks import webhook_to
from tests.support.attacks import ATTACKS, SITE, Attack
from tests.support.installing import Workshop
from tests.support.internet import PUBLIC, Internet, running_internet
from tests.support.jobs import make_key, make_spec
from tests.support.serving import Handler
from worker.dispatcher.metrics import DeliveryMetrics
from worker.dispatcher.sender import Sender
from worker.task_events import TaskEvents

HASTE = Patience(connect_s=2, read_s=2, attempts=1)
SENTENCE = re.compile(
    r"must (be|name|not hold) |can't be (reached|resolved)|server answered|there is no|redirected more than"
    r"|no URL that can be|does not speak HTTP|out of the models folder|is not in us-east-1"
    r"|^HTTP \d{3}$|^no HTTP answer$|^no connection$"
)
"""What is told: in words where it is known at once, in the dispatcher's where an attempt was made."""
LOOPBACK = ("127.0.0.1", "::1", "localhost", "inner.test")


@dataclass
class World:
    """Everything that goes out, with the settings of an operator who allows no private host."""

    internet: Internet
    settings: Settings
    workshop: Workshop
    store: Ledger
    intake: Intake
    sender: Sender
    leads: list[tuple[int, str]] = field(default_factory=list)
    """What the public site answers next; then 404."""

    def prepare(self, attack: Attack) -> str:
        """The attack's URL."""
        self.internet.name(attack.names)
        self.leads[:] = [(status, self.placed(location)) for status, location in attack.leads]
        return self.placed(attack.url)

    def placed(self, url: str) -> str:
        return url.replace("{port}", str(self.internet.canary.port))


def fetch_picture(world: World, url: str) -> str:
    given = {Role.INIT: GivenPicture("init_image", url)}
    taking = world.intake.take(
        given, tenant="t", file_prefix=str(uuid.uuid4()), public_url="http://us.test", followed=lambda it: it
    )
    with pytest.raises(BadPicture) as refused:
        asyncio.run(taking)
    return refused.value.detail


def send_webhook(world: World, url: str) -> str:
    """As the gateway takes it; the dispatcher gets it all the same, as if it had passed."""
    try:
        webhook_to(url, Sealer(world.settings), world.settings.allow_private_hosts)
        refusal = ""
    except BadRequest as exc:
        refusal = exc.detail
    with redis.Redis.from_url(world.settings.redis_url, decode_responses=True) as client:
        client.flushdb()
        key = make_key()
        spec = make_spec().model_copy(update={"webhook": Webhook(receiver="anybody", url=url)})
        call = ledger.accept(spec, key, world.settings, idempotency_key=None, digest="")
        job_id = world.store.run(call).job_id
        assert world.store.run(ledger.claim("worker", "token", world.settings, ())) is not None
        world.store.run(ledger.finish(job_id, "token", JobState.SUCCEEDED, Outcome()))

        world.sender.run()

        delivery = client.hgetall(f"pw:delivery:{job_id}")
    assert delivery["state"] == "dead", delivery
    return refusal or str(delivery["answer"])


def load_model(world: World, url: str) -> str:
    """As the gateway takes it, and then a worker; a URL that gets past the first is refused by the second."""
    terms = LoadTerms(world.workshop.sealer, world.settings.allow_private_hosts, "", str(uuid.uuid4()))
    body = {"url": url[:4000], "model_id": "m", "model_type": "lora"}
    try:
        spec = LoadModel.model_validate(body).to_spec(terms)
    except BadRequest as exc:
        return exc.detail
    return world.workshop.refusal(LoadSpec.model_validate(spec))


def use_bucket(world: World, url: str) -> str:
    allowed = world.settings.allow_private_hosts
    with pytest.raises(BadRequest) as refused:
        S3Storage(S3Target.given(bucket_details(url), allowed), 60, allowed, HASTE).check()
    return refused.value.detail


def bucket_details(url: str) -> S3Details:
    return S3Details.model_validate(
        {"endpoint_url": url, "aws_access_key_id": "id", "aws_secret_access_key": "planted-secret"}
    )


Way = Callable[[World, str], str]
Worlds = Callable[[Sequence[str]], World]

WAYS: dict[str, Way] = {
    "picture": fetch_picture,
    "webhook": send_webhook,
    "model": load_model,
    "bucket": use_bucket,
}


@pytest.fixture(scope="module")
def internet() -> Iterator[tuple[Internet, list[tuple[int, str]]]]:
    leads: list[tuple[int, str]] = []

    class Site(Handler):
        """Leads on whoever asks for whatever, as a web server and as an S3 would."""

        protocol_version = "HTTP/1.1"  # else botocore waits to be told to go on

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, location = leads.pop(0) if leads else (404, "")
            host = location.partition("//")[2].partition("/")[0]
            told = f"<Error><Code>PermanentRedirect</Code><Endpoint>{host}</Endpoint></Error>".encode()
            self.send_response(status)
            if location:
                self.send_header("Location", location)
                self.send_header("x-amz-bucket-region", "inner")
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(told)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(told)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - the library's names

    with running_internet(Site) as internet:
        yield internet, leads


@pytest.fixture(scope="module")
def worlds(
    internet: tuple[Internet, list[tuple[int, str]]],
    module_redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Worlds]:
    reached, leads = internet
    folder = tmp_path_factory.mktemp("world")
    app = make_celery(module_redis_url, "tests")
    store, bell, events = Ledger(module_redis_url), Bell(app), TaskEvents(app, DELIVER_TASK, "tests")
    made: dict[Sequence[str], World] = {}

    def world(allowed: Sequence[str]) -> World:
        if allowed not in made:
            workshop = Workshop(folder / str(len(made)), allow_private_hosts=allowed, model_stall_s=0.2)
            changes = {"redis_url": module_redis_url, "webhook_schedule_s": (0.0,), "input_timeout_s": 5.0}
            settings = workshop.settings.model_copy(update=changes)
            intake = Intake(settings, FolderStorage(settings.data_dir, 60))
            sender = Sender(settings, store, bell, DeliveryMetrics(CollectorRegistry()), events)
            made[allowed] = World(reached, settings, workshop, store, intake, sender, leads)
        return made[allowed]

    yield world
    bell.close()
    events.close()
    store.close()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_way_out_leads_in(worlds: Worlds, way: Way, attack: Attack) -> None:
    world = worlds(())
    url = world.prepare(attack)

    refusal = way(world, url)

    assert world.internet.canary.heard == []
    assert world.internet.reached_elsewhere == set()
    assert SENTENCE.search(refusal), refusal
    assert "planted-secret" not in refusal


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_canary_would_be_heard_if_the_operator_allowed_it(worlds: Worlds, way: Way) -> None:
    world = worlds(LOOPBACK)

    way(world, world.prepare(Attack("http://inner.test:{port}/pictures", {"inner.test": [["127.0.0.1"]]})))

    first, *_ = world.internet.canary.heard
    assert f"Host: inner.test:{world.internet.canary.port}".lower() in first.decode().lower()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_proxy_of_the_environment_is_asked(worlds: Worlds, way: Way) -> None:
    world = worlds(())

    way(world, world.prepare(Attack(SITE, {"site.test": [[PUBLIC]]})))

    assert set(world.internet.reached) == {PUBLIC}
    assert world.internet.canary.heard == []


def test_a_bucket_whose_name_leads_in_later_gets_no_file(worlds: Worlds) -> None:
    world = worlds(())
    world.internet.name({"name.test": [[PUBLIC], ["127.0.0.1"]]})
    details = bucket_details(world.placed("http://name.test:{port}/pictures"))
    storage = S3Storage(S3Target.given(details, ()), 60, (), HASTE)

    with pytest.raises(StorageAway, match="RefusedAddress"):
        storage.write(f"{uuid.uuid4()}-0.png", b"content")

    assert world.internet.canary.heard == []
