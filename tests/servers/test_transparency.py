"""`loadbalancer: yes`: a client can't tell that another server makes its job, but for `meta.server`.

The first server has no GPU worker, so whatever may leave does; the second makes it.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx
import numpy as np
import pytest
from standardwebhooks.webhooks import Webhook

from api.balancing.carrying import callback_secret
from api.balancing.wire import PATH, VIA, Callback, HandOver
from shared import ledger
from shared.jobs import Job, JobState
from tests.chaos.installation import API_KEY, WORKER, Installation
from tests.servers.group import PEER_KEY, ROOT, USER_KEY, Group, group, peer_of, post
from tests.support.clients import a_png, in_base64
from tests.support.jobs import make_spec
from tests.support.models import write_models_file
from tests.support.pictures import read_picture
from tests.support.receiver import Receiver, running_receiver
from tests.support.s3 import REGION, S3Server, running_s3
from tests.support.site import Site, answer, running_site
from tests.support.waiting import wait_until
from tests.support.whole import tiny_models

Said = dict[str, Any]
SIDE = 64
PICTURE = {
    **{"model_id": "demo", "prompt": "a red circle", "seed": 5, "width": SIDE, "height": SIDE},
    **{"num_inference_steps": 3, "safety_checker": "no", "loadbalancer": "yes"},
}
LONG = PICTURE | {"width": 512, "height": 512, "samples": 4, "num_inference_steps": 50}
LONG |= {"instant_response": "yes"}
BY_BASE64 = {"init_image": in_base64(a_png("red")), "mask_image": in_base64(a_png("white"))}
BY_URL = {"init_image": "{site}/red.png", "mask_image": "{site}/white.png"}
HINT = {"controlnet_model": "demo-canny", "controlnet_type": "canny"}
FILM = PICTURE | {"num_frames": 4}
V6 = "/api/v6/images"


@dataclass(frozen=True)
class Asked:
    """A request, and whether its answer has a `meta`."""

    path: str
    fields: Mapping[str, Any]
    has_meta: bool = True


ENDPOINTS = {
    "text2img": Asked(f"{ROOT}/text2img", PICTURE | {"samples": 2, "safety_checker": "yes"}),
    "a LoRA": Asked(f"{ROOT}/text2img", PICTURE | {"lora_model": "demo-floor", "lora_strength": "0.5"}),
    "an embedding": Asked(f"{ROOT}/text2img", PICTURE | {"embeddings_model": "demo-sunset"}),
    "temp": Asked(f"{ROOT}/text2img", PICTURE | {"temp": "yes"}),
    "base64": Asked(f"{V6}/text2img", PICTURE | {"base64": "yes"}),
    "img2img by base64": Asked(f"{ROOT}/img2img", PICTURE | BY_BASE64),
    "img2img by URL": Asked(f"{ROOT}/img2img", PICTURE | BY_URL),
    "inpaint by base64": Asked(f"{ROOT}/inpaint", PICTURE | BY_BASE64),
    "inpaint by URL": Asked(f"{ROOT}/inpaint", PICTURE | BY_URL),
    "controlnet": Asked(f"{ROOT}/controlnet", PICTURE | BY_BASE64 | HINT | {"auto_hint": "yes"}),
    "text2video": Asked(f"{ROOT}/text2video", FILM, has_meta=False),
    "super_resolution": Asked(
        f"{ROOT}/super_resolution",
        {"url": BY_BASE64["init_image"], "scale": 2, "loadbalancer": "yes"},
        has_meta=False,
    ),
    "nsfw_image_check": Asked(
        f"{ROOT}/nsfw_image_check",
        {"init_image": BY_URL["init_image"], "loadbalancer": "yes"},
        has_meta=False,
    ),
    "flux": Asked(f"{ROOT}/flux/text2img", {**PICTURE, "model_id": "flux"}),
    "realtime": Asked(f"{ROOT}/realtime/text2img", {**PICTURE, "model_id": None}),
    "v6 text2img": Asked(f"{V6}/text2img", PICTURE),
    "v6 img2img": Asked(f"{V6}/img2img", PICTURE | BY_URL),
    "v6 controlnet": Asked(f"{V6}/controlnet", PICTURE | BY_BASE64 | HINT),
    "v6 video": Asked("/api/v6/video/text2video", FILM, has_meta=False),
    "v7": Asked("/api/v7/images/text-to-image", PICTURE),
}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    pages = {f"/{colour}.png": answer(a_png(colour)) for colour in ("red", "white")}
    with running_site(pages) as site:
        yield site


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    folder = tmp_path_factory.mktemp("servers")
    tables = tiny_models(folder)
    here = tables | {"models": tables["models"] | {"only-here": tables["models"]["demo"]}}
    with group(
        folder,
        names=("first", "second"),
        worker_apps={"first": (), "second": (WORKER,)},
        changes_of={"first": {"models_file": write_models_file(folder / "first.yaml", **here)}},
        models_file=write_models_file(folder / "models.yaml", **tables),
        allow_private_hosts=("127.0.0.1",),
    ) as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with running_s3() as s3:
        yield s3


@pytest.fixture
def servers(both: Group) -> Group:
    """Whole, whatever a test before has broken."""
    both.wait_until_whole()
    return both


@pytest.fixture
def first(servers: Group) -> Installation:
    return servers.first


@pytest.fixture
def second(servers: Group) -> Installation:
    return servers.servers["second"]


def send(server: Installation, path: str, fields: Mapping[str, Any], **headers: str) -> httpx.Response:
    body = {"key": API_KEY, **fields}
    return httpx.post(f"{server.urls[0]}{path}", json=body, headers=headers, timeout=60, trust_env=False)


def finished(server: Installation, job_id: int) -> Said:
    def ended() -> Said | None:
        said = post(server, f"fetch/{job_id}")
        return said if said["status"] != "processing" else None

    return wait_until(ended, within_s=60, every_s=0.1)


def job(server: Installation, job_id: int) -> Job:
    with server.ledger() as store:
        return store.run(ledger.read(job_id, None))


def jobs_of(server: Installation) -> list[Job]:
    with server.raw() as raw:
        ids = range(1, int(raw.get("pw:next_id") or 0) + 1)
    return [job(server, job_id) for job_id in ids]


def links(said: Said) -> list[str]:
    output = said.get("output", [])
    return [output] if isinstance(output, str) else list(output)


def contents(said: Said) -> list[bytes]:
    """Of its files."""
    return [httpx.get(link, follow_redirects=True).raise_for_status().content for link in links(said)]


def are_the_same(one: bytes, other: bytes) -> bool:
    """To rounding, which is others' in another company."""
    if one == other:
        return True
    pixels = [np.asarray(read_picture(_plain(each)), int) for each in (one, other)]
    return bool((np.abs(pixels[0] - pixels[1]) <= 1).mean() >= 0.999)


def _plain(content: bytes) -> bytes:
    return content if content.startswith(b"\x89PNG") else base64.b64decode(content)


@dataclass(frozen=True)
class Pair:
    """The answers to one request, of the server that gives it away and of the one that makes it."""

    given: Said
    direct: Said


@pytest.fixture(scope="module")
def pairs(both: Group, site: Site) -> dict[str, Pair]:
    """All at once, which takes the least time."""

    def ask(name: str, server: str) -> Said:
        asked = ENDPOINTS[name]
        texts = {key: v.format(site=site.url) for key, v in asked.fields.items() if isinstance(v, str)}
        said: Said = send(both.servers[server], asked.path, {**asked.fields, **texts}).json()
        return said if said.get("status") != "processing" else finished(both.servers[server], said["id"])

    with ThreadPoolExecutor(8) as pool:
        given, direct = (
            list(pool.map(lambda name, server=server: ask(name, server), ENDPOINTS))
            for server in ("first", "second")
        )
    return {name: Pair(*pair) for name, *pair in zip(ENDPOINTS, given, direct, strict=True)}


def comparable(said: Said, server: Installation) -> Any:
    """Without what is another job's, or another server's."""
    text = json.dumps({name: value for name, value in said.items() if name not in ("id", "generationTime")})
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    return json.loads(text.replace(server.urls[0], "http://here"))


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_a_peer_makes_is_answered_like_what_is_made_at_home(
    servers: Group, pairs: dict[str, Pair], name: str
) -> None:
    given, direct = pairs[name].given, pairs[name].direct

    assert given.get("status", "success") == "success", given
    assert list(given) == list(direct)
    assert comparable(given, servers.first) == comparable(direct, servers.servers["second"])
    assert all(link.startswith(servers.first.urls[0]) for link in links(given))
    if ENDPOINTS[name].has_meta:
        assert list(given["meta"]) == list(direct["meta"])
        assert given["meta"]["server"] == "second"


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name != "nsfw_image_check"])
def test_the_same_seed_gives_the_same_file_wherever_it_is_made(pairs: dict[str, Pair], name: str) -> None:
    given, direct = contents(pairs[name].given), contents(pairs[name].direct)

    assert len(given) == len(direct) > 0
    assert all(map(are_the_same, given, direct))


def test_progress_and_eta_are_told_while_a_job_is_away(first: Installation) -> None:
    begun = post(first, "text2img", **LONG)

    wait_until(lambda: 0.1 < job(first, begun["id"]).progress < 1, within_s=30)
    fetched = post(first, f"fetch/{begun['id']}")
    done = finished(first, begun["id"])

    assert begun["status"] == fetched["status"] == "processing"
    assert begun["meta"]["server"] == "first"
    assert type(fetched["eta"]) is int
    assert fetched["eta"] >= 1
    assert done["output"] == begun["future_links"]
    assert [read_picture(each).size for each in contents(done)] == 4 * [(512, 512)]


def test_cancelling_a_job_ends_it_where_it_is_made(first: Installation, second: Installation) -> None:
    job_id = post(first, "text2img", **LONG)["id"]
    wait_until(lambda: job(first, job_id).progress > 0, within_s=30)
    there = jobs_of(second)[-1]

    post(first, f"cancel/{job_id}")

    wait_until(lambda: job(first, job_id).state is JobState.CANCELLED, within_s=10)
    wait_until(lambda: job(second, there.id).state is JobState.CANCELLED, within_s=10)
    assert post(first, f"fetch/{job_id}")["status"] == "failed"


@pytest.mark.parametrize("track_id", ["order-7", 7], ids=["text", "number"])
def test_the_one_webhook_is_the_answer_and_the_track_id(
    first: Installation, receiver: Receiver, track_id: str | int
) -> None:
    said = post(first, "text2img", **PICTURE, webhook=receiver.url, track_id=track_id)

    with first.ledger() as store:
        wait_until(lambda: receiver.requests and not store.run(ledger.stats()).deliveries_waiting)
    (webhook,) = [json.loads(request.body) for request in receiver.requests]
    assert webhook == said | {"track_id": track_id}
    assert type(webhook["track_id"]) is type(track_id)


def test_a_peer_is_told_nothing_but_what_makes_the_picture(
    first: Installation, second: Installation, receiver: Receiver
) -> None:
    said = post(first, "text2img", **PICTURE, webhook=receiver.url, track_id="order-7")

    theirs = next(each for each in jobs_of(second) if each.spec.file_prefix == said["meta"]["file_prefix"])
    assert (theirs.spec.webhook, theirs.spec.track_id, theirs.spec.home) == (None, None, "")
    assert theirs.tenant == "servers"


def test_a_request_that_is_sent_twice_is_made_once(first: Installation, second: Installation) -> None:
    before = len(jobs_of(second))

    once, again = (
        send(first, f"{ROOT}/text2img", PICTURE, **{"Idempotency-Key": "a key"}).json() for _ in range(2)
    )

    assert once["status"] == "success"
    assert once == again
    assert len(jobs_of(second)) == before + 1


@pytest.fixture(scope="module")
def staying(both: Group) -> Iterator[dict[str, Job]]:
    """Jobs that must stay at the first server, as they are when one that came later has been made."""
    at_once = PICTURE | {"instant_response": "yes"}
    handed = {**json.loads(handing_over(both)), "key": PEER_KEY}
    headers = {VIA: "another"}
    sent = {
        "that is not to leave": send(both.first, f"{ROOT}/text2img", at_once | {"loadbalancer": "no"}),
        "whose model nobody else has": send(
            both.first, f"{ROOT}/text2img", at_once | {"model_id": "only-here"}
        ),
        "that came from another server": send(both.first, f"{ROOT}/text2img", at_once, **headers),
        "that was handed over": send(both.first, f"{PATH}/jobs", handed, **headers),
    }
    ids = {why: answer.json()["id"] for why, answer in sent.items()}
    assert post(both.first, "text2img", **PICTURE)["status"] == "success"
    yield {why: job(both.first, job_id) for why, job_id in ids.items()}
    post(both.first, "clear_queue")


def handing_over(servers: Group) -> str:
    """What the second server would say, if it gave a job that may leave to the first."""
    spec = make_spec(home="second", pins={"checkpoint:demo": "an entry"}, public_url=servers.first.urls[0])
    callback = Callback(url=f"{servers.first.urls[0]}{PATH}/back/1", secret="whsec_c2VjcmV0")
    return HandOver(spec=spec, callback=callback).model_dump_json()


@pytest.mark.parametrize(
    "why",
    [
        *("that is not to leave", "whose model nobody else has"),
        *("that came from another server", "that was handed over"),
    ],
)
def test_a_job_stays(servers: Group, staying: dict[str, Job], why: str) -> None:
    assert staying[why].state is JobState.QUEUED
    assert peer_of(servers.first, staying[why].id) == ""


def test_who_has_no_peers_makes_all_jobs_and_says_so(first: Installation, second: Installation) -> None:
    assert post(second, "remove_peer", name="first")["status"] == "success"

    said = post(second, "text2img", **PICTURE)
    silent = post(second, "text2img", **PICTURE | {"loadbalancer": "no"})

    post(second, "add_peer", name="first", url=first.urls[0], peer_key=PEER_KEY)
    assert said["status"] == "success"
    assert "loadbalancer needs more than one server" in said["tip"]
    assert silent["tip"] == ""


def test_a_server_that_is_its_own_peer_gives_itself_nothing(second: Installation) -> None:
    """The smallest loop."""
    post(second, "add_peer", name="mirror", url=second.urls[0], peer_key=PEER_KEY)
    wait_until(lambda: "name, second" in _peers(second)["mirror"]["reason"], within_s=15)

    said = post(second, "text2img", **PICTURE)

    seen = _peers(second)["mirror"]
    post(second, "remove_peer", name="mirror")
    assert (said["status"], said["meta"]["server"]) == ("success", "second")
    assert not seen["in_rotation"]


def test_a_peer_that_cannot_be_one_is_refused_with_a_sentence_for_each_field(second: Installation) -> None:
    said = post(second, "add_peer", name="a peer", url="somewhere")

    assert said["message"] == (
        "name must be up to 64 letters, digits and . _ -, beginning with a letter or digit; "
        "url: a server's URL looks like https://images-2.example.com; peer_key is required"
    )


def test_a_clients_trace_goes_on_at_the_server_that_makes_its_job(servers: Group, receiver: Receiver) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    fields = PICTURE | {"key": API_KEY, "webhook": receiver.url, "track_id": "order-7"}

    said = httpx.post(
        f"{servers.first.urls[0]}{ROOT}/text2img", json=fields, headers=headers, timeout=60
    ).json()

    lines = [line for server in servers.servers.values() for line in server.logs().splitlines()]
    traced = [json.loads(line) for line in lines if trace_id in line]
    told = Counter((line["event"], line.get("track_id")) for line in traced)
    assert said["meta"]["server"] == "second"
    assert told["job accepted", "order-7"] == told["job given to a peer", "order-7"] == 1
    assert told["job accepted", None] == told["job started", None] == told["job finished", None] == 1
    assert trace_id in wait_until(lambda: receiver.requests)[0].headers["traceparent"]


@pytest.mark.parametrize("path", ["state", "jobs"])
@pytest.mark.parametrize("key", [USER_KEY, "no key of anybody"], ids=["a user", "a stranger"])
def test_only_servers_and_admins_hand_jobs_over(servers: Group, path: str, key: str) -> None:
    accepted = _accepted(servers.first)
    body = json.loads(handing_over(servers)) if path == "jobs" else {}

    refused = send(servers.first, f"{PATH}/{path}", {**body, "key": key})

    assert refused.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    assert refused.json()["status"] == "error"
    assert _accepted(servers.first) == accepted


def test_only_who_got_the_job_can_say_that_it_is_back(first: Installation) -> None:
    job_id = post(first, "text2img", **LONG)["id"]
    with first.ledger() as store:
        token = wait_until(lambda: store.run(ledger.lease_of(job_id)))

    unsigned = call_back(first, job_id, None)
    forged = call_back(first, job_id, callback_secret("another token"))
    signed = call_back(first, job_id, callback_secret(token))

    assert unsigned.status_code == forged.status_code == HTTPStatus.UNAUTHORIZED
    assert signed.status_code == HTTPStatus.OK
    post(first, f"cancel/{job_id}")
    wait_until(lambda: job(first, job_id).state.is_terminal, within_s=10)
    assert call_back(first, job_id, callback_secret(token)).status_code == HTTPStatus.UNAUTHORIZED


def call_back(server: Installation, job_id: int, secret: str | None) -> httpx.Response:
    body, now = "1", datetime.now(UTC)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp()))}
    if secret:
        headers["webhook-signature"] = Webhook(secret).sign("msg_1", now, body)
    return httpx.post(f"{server.urls[0]}{PATH}/back/{job_id}", content=body, headers=headers)


def test_keys_of_peers_are_written_nowhere(first: Installation, second: Installation) -> None:
    """Neither in answers nor in logs, and in Redis, whose file has all that it was ever told, only sealed."""
    post(first, "add_peer", name="second", url=second.urls[0], peer_key=PEER_KEY)
    wait_until(lambda: _peers(first)["second"]["in_rotation"], within_s=15)
    post(first, "text2img", **PICTURE)

    shown = json.dumps(post(first, "peers"))

    written = [path for server in (first, second) for path in server.folder.rglob("*") if path.is_file()]
    assert any(b"set_peer" in path.read_bytes() or b"pw:peers" in path.read_bytes() for path in written)
    assert PEER_KEY not in shown
    assert [path for path in written if PEER_KEY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("is_shared", [True, False], ids=["of both servers", "of the first server alone"])
@pytest.mark.parametrize("is_public", [True, False], ids=["public", "private"])
def test_files_get_into_the_bucket_of_who_was_asked(
    servers: Group, s3: S3Server, is_shared: bool, is_public: bool
) -> None:
    owners = list(servers.servers.values()) if is_shared else [servers.first]
    bucket = {
        **{"region_name": REGION, "endpoint_url": f"{s3.endpoint}/{s3.bucket}"},
        **{"aws_access_key_id": s3.access_key_id, "aws_secret_access_key": s3.secret_access_key},
        **({"public_url": f"{s3.endpoint}/{s3.bucket}"} if is_public else {}),
    }
    for server in owners:
        assert post(server, "update_s3", **bucket)["status"] == "success"

    said = post(servers.first, "text2img", **PICTURE)

    for server in owners:
        post(server, "reset_s3")
    prefix = said["meta"]["file_prefix"]
    assert said["meta"]["server"] == "second"
    assert [name for name in s3.contents() if prefix in name] == [f"{prefix}-0.png"]
    assert said["output"][0].startswith(s3.endpoint if is_public else servers.first.urls[0])
    made_at = servers.servers["second"].data_dir / "generations"
    assert bool([path for path in made_at.rglob("*") if prefix in path.name]) is not is_shared


def test_files_are_read_at_home_when_the_peer_is_gone(
    servers: Group, pairs: dict[str, Pair], second: Installation
) -> None:
    (gateway,) = second.gateways
    gateway.wanted = False
    gateway.kill()
    try:
        found = {name: contents(pair.given) for name, pair in pairs.items()}
    finally:
        gateway.wanted = True

    assert all(all(files) for files in found.values())
    assert sum(map(len, found.values())) >= len(pairs)


def _peers(server: Installation) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in post(server, "peers")["peers"]}


def _totals(server: Installation) -> dict[str, int]:
    with server.ledger() as store:
        return dict(store.run(ledger.stats()).totals)


def _succeeded(server: Installation) -> int:
    return _totals(server).get("succeeded", 0)


def _accepted(server: Installation) -> int:
    return _totals(server)["accepted"]
