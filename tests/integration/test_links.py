"""Files in buckets as the gateway leads to them, and what goes on while an S3 is slow or settings change."""

import asyncio
import contextlib
import dataclasses
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from api.app import create_app
from api.context import Gateway
from api.intake import Intake
from api.routes.targets import checked
from api.upkeep import seeded
from api.wire.requests import GivenPicture
from api.wire.s3 import UpdateS3
from deploy.ports import free_port
from shared import ledger
from shared.errors import BadRequest
from shared.jobs import Role
from shared.ledger import Ledger
from shared.sealing import Sealer
from shared.settings import Settings
from shared.storage import FolderStorage, S3Storage
from tests.support.clients import a_png, in_base64
from tests.support.processes import running_gateway
from tests.support.s3 import LOCAL, REGION, S3Server, running_s3

KEY, ROOT = "secret-of-the-tests", "/api/v1/enterprise"
WITHIN_S = 3.0
PICTURE = GivenPicture("init_image", in_base64(a_png()))


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with running_s3() as s3:
        yield s3


def update_s3(s3: S3Server) -> dict[str, str]:
    return {
        "region_name": REGION,
        "endpoint_url": f"{s3.endpoint}/{s3.bucket}",
        "aws_access_key_id": s3.access_key_id,
        "aws_secret_access_key": s3.secret_access_key,
    }


@pytest.fixture
def sealing(settings: Settings) -> Settings:
    return Settings.model_validate(settings.model_dump(exclude_unset=True) | {"secret_key": "old"})


@pytest.fixture
def client(sealing: Settings, tmp_path: Path, s3: S3Server) -> Iterator[httpx.Client]:
    """Of a gateway that stores files in a private bucket."""
    with running_gateway(sealing, tmp_path / "gateway.log") as url, httpx.Client(base_url=url) as client:
        said = client.post(f"{ROOT}/update_s3", json={"key": KEY} | update_s3(s3), timeout=20).json()
        assert said["status"] == "success", said
        yield client


def test_a_private_file_can_be_asked_for_with_get_and_with_head(client: httpx.Client) -> None:
    body = {"key": KEY, "base64_image": PICTURE.value, "image_type": "png"}
    link = client.post(f"{ROOT}/upload_image", json=body).json()["image_url"]

    got, asked = (client.request(method, link, follow_redirects=True) for method in ("GET", "HEAD"))

    assert (got.status_code, asked.status_code) == (200, 200)
    assert int(asked.headers["content-length"]) == len(got.content) > 0


def test_buckets_are_not_counted_as_models(client: httpx.Client) -> None:
    count = client.post(f"{ROOT}/system_details", json={"key": KEY}).json()["model_count"]

    assert count == len(client.post(f"{ROOT}/get_all_models", json={"key": KEY}).json()["models"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.02)


class Desk:
    """An intake, a bucket that answers nothing, and a folder."""

    def __init__(self, settings: Settings, s3: S3Server) -> None:
        self.folder = FolderStorage(settings.data_dir, settings.temp_life_s)
        self.bucket = S3Storage(s3.target(), settings.temp_life_s, LOCAL)
        self.intake = Intake(settings, self.folder)
        self.s3 = s3

    def to_bucket(self, tenant: str) -> asyncio.Task[str]:
        return asyncio.create_task(self.intake.publish(PICTURE, "PNG", self.bucket, tenant=tenant))

    async def to_folder(self, tenant: str) -> str:
        return await self.intake.publish(PICTURE, "PNG", self.folder, tenant=tenant)

    async def take(self, tenant: str) -> None:
        one = {Role.INIT: PICTURE}
        prefix = str(uuid.uuid4())
        await self.intake.take(one, tenant=tenant, file_prefix=prefix, public_url="", followed=str)

    async def end(self, uploads: list[asyncio.Task[str]]) -> None:
        await asyncio.to_thread(self.s3.stop)
        await asyncio.gather(*uploads, return_exceptions=True)


def test_uploads_to_an_s3_that_does_not_answer_hold_up_no_other_picture(
    settings: Settings, s3: S3Server
) -> None:
    async def scene() -> None:
        desk = Desk(settings, s3)
        uploads = [desk.to_bucket(f"tenant-{number}") for number in range(5)]
        await until(lambda: len(s3.actions) >= 4)
        await asyncio.wait_for(desk.take("another"), WITHIN_S)
        await desk.end(uploads)

    s3.silence_s = 30
    asyncio.run(scene())


def test_a_tenant_that_uploads_much_holds_up_no_other(settings: Settings, s3: S3Server) -> None:
    async def scene() -> None:
        desk = Desk(settings, s3)
        uploads = [desk.to_bucket("greedy") for _ in range(12)]
        await until(lambda: len(s3.actions) >= 2)
        await asyncio.wait_for(desk.to_folder("another"), WITHIN_S)
        await desk.end(uploads)

    s3.silence_s = 30
    asyncio.run(scene())


def test_the_gateway_goes_on_while_a_bucket_is_opened(settings: Settings) -> None:
    went_on, seen = threading.Event(), []

    def followed(address: str) -> str:
        seen.append(went_on.wait(WITHIN_S))
        return "http://127.0.0.1:9/"

    async def scene() -> None:
        intake = Intake(settings, FolderStorage(settings.data_dir, 60))
        one = {Role.INIT: GivenPicture("init_image", "http://127.0.0.1:9/stored/x")}
        taking = intake.take(one, tenant="t", file_prefix="p", public_url="", followed=followed)
        task = asyncio.create_task(taking)
        while not seen and not task.done():
            await asyncio.sleep(0.01)
            went_on.set()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scene())

    assert seen == [True]


def test_a_bucket_that_takes_too_long_to_try_out_is_refused(sealing: Settings, s3: S3Server) -> None:
    s3.silence_s = 30

    with pytest.raises(BadRequest, match=r"could not be tried out within 0\.3 s.*send another endpoint_url"):
        asyncio.run(checked(UpdateS3.model_validate(update_s3(s3)), sealing, Sealer(sealing), within_s=0.3))


def test_the_cleaner_uses_the_settings_that_were_read_anew(
    sealing: Settings, store: Ledger, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    brief = sealing.model_copy(update={"temp_life_s": 1.0})
    later = Settings.model_validate(brief.model_dump(exclude_unset=True) | {"secret_key": "new"})
    sealed = s3.target().sealed(Sealer(later))
    store.run(ledger.register_target("text_to_image", "s3-target", sealed))
    name = f"temp/{uuid.uuid4()}-0.png"
    S3Storage(s3.target(), 1.0, LOCAL).write(name, a_png())

    async def scene() -> None:
        app = create_app(brief)
        async with app.router.lifespan_context(app):
            gateway: Gateway = app.state.gateway
            await until(lambda: "expired objects not deleted" in caplog.messages)
            app.state.gateway = dataclasses.replace(gateway, settings=later, sealer=Sealer(later))
            await until(lambda: not s3.contents())

    asyncio.run(scene())


def test_a_gateway_outlives_what_nobody_expected_and_goes_on_afterwards(
    settings: Settings, store: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    swift = Settings.model_validate(
        settings.model_dump(exclude_unset=True) | {"sweep_s": 0.05, "port": free_port()}
    )
    connection = redis.Redis.from_url(settings.redis_url)
    connection.hset("pw:orders", "update", "no number")

    async def scene() -> None:
        assert not await seeded(store, swift)
        app = create_app(swift)
        async with app.router.lifespan_context(app):
            gateway: Gateway = app.state.gateway
            await until(lambda: "upkeep failed; it is tried again" in caplog.messages)
            connection.hdel("pw:orders", "update")
            async with asyncio.timeout(15):
                while not (await gateway.registry.look()).all():
                    await asyncio.sleep(0.02)

    asyncio.run(scene())
    connection.close()


def test_a_gateway_registers_its_models_again_with_a_redis_that_knows_nothing(settings: Settings) -> None:
    swift = settings.model_copy(update={"sweep_s": 0.05})

    async def scene() -> tuple[int, int]:
        """How many there were before, and are again."""
        app = create_app(swift)
        async with app.router.lifespan_context(app):
            gateway: Gateway = app.state.gateway
            before = len((await gateway.registry.look()).all())
            await gateway.ledger.redis.flushdb()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(15):
                    while not (await gateway.registry.look()).all():
                        await asyncio.sleep(0.02)
            return before, len((await gateway.registry.look()).all())

    before, again = asyncio.run(scene())
    assert before == again > 0
