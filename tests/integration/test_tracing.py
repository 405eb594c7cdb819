"""One trace from a client's request to its webhook: real processes, a real collector; and the logs' lines."""

import json
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.__main__ import EXIT_MISCONFIGURED
from deploy.ports import free_port
from shared import ledger
from shared.collector import LAST_BATCH_S
from shared.jobs import JobState, Outcome
from shared.ledger import Ledger
from shared.settings import Settings
from tests.support import tiny
from tests.support.collector import Collector, Seen, running_collector
from tests.support.environment import clean_environment
from tests.support.jobs import accept, claim
from tests.support.models import write_models_file
from tests.support.processes import running_dispatcher, running_gateway, running_worker
from tests.support.receiver import Receiver, running_receiver
from tests.support.serving import Received
from tests.support.waiting import wait_until

ROOT = "/api/v1/enterprise"
ROUTE = f"POST {ROOT}/text2img"
FETCH = f"POST {ROOT}/fetch"
KEY = "a key that is nobody else's business"
PROMPT = "what only its client may know"
TRACK_ID = "order-7"
IN_THE_URL = "a-token-in-the-webhooks-url"
STATE = "vendor=opaque"
GARBAGE = (
    *(
        "garbage",
        "00-zz-zz-01",
        f"00-{'0' * 32}-{'1' * 16}-01",
        f"00-{'1' * 32}-{'0' * 16}-01",
        "00-" + "1" * 600,
    ),
    f"ff-{'1' * 32}-{'1' * 16}-01",
    f"00-{'1' * 32}-{'1' * 16}-01-more",
)
PICTURE = {
    **{"key": KEY, "model_id": "demo", "prompt": PROMPT, "width": 64, "height": 64, "num_inference_steps": 2},
    **{"safety_checker": "no", "track_id": TRACK_ID},
}
PROCESSES = ("gateway", "worker", "dispatcher")
OPERATIONS = Path("docs/OPERATIONS.md")

Line = dict[str, Any]


@dataclass(frozen=True)
class Traced:
    """A cluster whose processes export what they do."""

    url: str
    settings: Settings
    folder: Path
    collector: Collector
    receiver: Receiver

    def asked(self, *headers: tuple[str, str]) -> Seen:
        """The span of a request with these headers."""
        before = len(self.collector.spans)
        httpx.post(f"{self.url}{ROOT}/fetch", json={"key": KEY, "request_id": 1}, headers=list(headers))
        return wait_until(
            lambda: next((s for s in self.collector.spans[before:] if s.name == FETCH), None), 3
        )

    def lines(self, process: str, job_id: int) -> list[Line]:
        """Those that say that they are about the job."""
        return [line for line in lines_of(self.folder / f"{process}.log") if line.get("job_id") == job_id]


@dataclass(frozen=True)
class Made:
    """A job of a client that traces."""

    job_id: int
    trace_id: str
    clients_span: str
    spans: dict[str, Seen]
    webhook: Received


def send(url: str, receiver: Receiver, trace_id: str | None = None) -> tuple[int, str]:
    """The job's id, and that of the client's own span."""
    span_id = secrets.token_hex(8)
    headers = {"traceparent": f"00-{trace_id}-{span_id}-01", "tracestate": STATE} if trace_id else {}
    body = PICTURE | {"webhook": f"{receiver.url}?token={IN_THE_URL}"}
    answer = httpx.post(f"{url}{ROOT}/text2img?sent=by-a-test", json=body, headers=headers, timeout=30)
    return answer.json()["id"], span_id


def webhook_of(receiver: Receiver, job_id: int) -> Received:
    def came() -> Received | None:
        return next((r for r in receiver.requests if json.loads(r.body)["id"] == job_id), None)

    return wait_until(came)


def told(log: Path, event: str) -> list[Line]:
    return [line for line in lines_of(log) if line["event"] == event]


def lines_of(log: Path) -> list[Line]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def context_in(request: Received) -> tuple[str, str]:
    """Ids of the trace, and of the span that has sent the request."""
    _, trace_id, span_id, _ = request.headers["traceparent"].split("-")
    return trace_id, span_id


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory, module_redis_url: str) -> Settings:
    folder = tmp_path_factory.mktemp("traced")
    tiny.stable_diffusion().save_pretrained(folder / "model", safe_serialization=True)
    return Settings(
        redis_url=module_redis_url,
        data_dir=folder,
        port=free_port(),
        api_key=KEY,
        secret_key="a secret of the tests",
        allow_private_hosts=("127.0.0.1",),
        models_file=write_models_file(folder / "models.yaml", models={"demo": folder / "model"}),
        sweep_s=0.1,
    )


@pytest.fixture(scope="module")
def traced(common: Settings, receiver: Receiver) -> Iterator[Traced]:
    folder = common.data_dir
    with (
        running_collector() as collector,
        running_gateway(common, folder / "gateway.log", **collector.variables) as url,
        running_dispatcher(common, folder / "dispatcher.log", **collector.variables),
        running_worker(common, folder / "worker.log", **collector.variables),
    ):
        yield Traced(url, common, folder, collector, receiver)


@pytest.fixture
def plain(settings: Settings) -> Settings:
    """Of processes that export nothing."""
    return Settings(**(settings.model_dump() | {"api_key": KEY, "sweep_s": 0.1, "sync_wait_s": 0.0}))


@pytest.fixture(scope="module")
def made(traced: Traced) -> Made:
    trace_id = secrets.token_hex(16)
    job_id, clients_span = send(traced.url, traced.receiver, trace_id)
    names = {ROUTE, "accept", "job", "generate", "store", "webhook"}
    spans = traced.collector.when_all(trace_id, names)
    return Made(job_id, trace_id, clients_span, spans, webhook_of(traced.receiver, job_id))


def test_a_clients_trace_goes_through_every_process_to_its_webhook(made: Made) -> None:
    assert made.spans.keys() == {ROUTE, "accept", "job", "generate", "store", "webhook"}
    chain = [made.spans[name] for name in (ROUTE, "accept", "job")]
    parents = [span.parent_id for span in chain]

    assert parents == [made.clients_span, *(span.span_id for span in chain[:-1])]
    assert {made.spans[name].parent_id for name in ("generate", "store")} == {made.spans["job"].span_id}
    assert made.spans["webhook"].parent_id == made.spans["accept"].span_id
    assert context_in(made.webhook) == (made.trace_id, made.spans["webhook"].span_id)


def test_a_span_says_which_process_it_is_of_and_which_job_it_is_about(made: Made) -> None:
    services = {name: (span.service, span.kind) for name, span in made.spans.items()}
    about = dict(made.spans["job"].attributes)

    assert services == {
        ROUTE: ("printworks-gateway", "server"),
        "accept": ("printworks-gateway", "producer"),
        "job": ("printworks-worker", "consumer"),
        "generate": ("printworks-worker", "internal"),
        "store": ("printworks-worker", "internal"),
        "webhook": ("printworks-dispatcher", "client"),
    }
    assert 0 <= float(str(about.pop("printworks.queue_s"))) < 60
    assert about == {
        "printworks.job_id": made.job_id,
        "printworks.track_id": TRACK_ID,
        "printworks.model_id": "demo",
        "printworks.endpoint": "text2img",
        "printworks.attempt": 1,
        "printworks.end": "succeeded",
    }
    assert made.spans["accept"].attributes.items() <= about.items()
    assert made.spans["webhook"].attributes == about | {
        "printworks.end": "delivered",
        "http.response.status_code": 200,
    }


def test_a_requests_span_has_its_route_and_nothing_else_of_its_url(made: Made) -> None:
    assert made.spans[ROUTE].attributes == {
        "http.request.method": "POST",
        "http.route": f"{ROOT}/text2img",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }


def test_what_the_clients_vendor_adds_to_its_context_is_passed_on(made: Made) -> None:
    assert {span.state for span in made.spans.values()} == {STATE}
    assert made.webhook.headers["tracestate"] == STATE


@pytest.mark.parametrize("process", PROCESSES)
def test_every_line_about_a_job_has_its_id_its_clients_and_its_traces(
    traced: Traced, made: Made, process: str
) -> None:
    events = {
        "gateway": {"job accepted"},
        "worker": {"job started", "job finished"},
        "dispatcher": {"webhook delivered"},
    }[process]

    lines = wait_until(lambda: _with_events(traced.lines(process, made.job_id), events))

    assert {line["track_id"] for line in lines} == {TRACK_ID}
    assert {line["trace_id"] for line in lines} == {made.trace_id}


def _with_events(lines: list[Line], events: set[str]) -> list[Line] | None:
    return lines if {line["event"] for line in lines} == events else None


def test_the_log_has_the_shape_that_operators_are_told(traced: Traced, made: Made) -> None:
    chapter = OPERATIONS.read_text().split("\n## Logs\n")[1].split("\n## ")[0]
    (example,) = re.findall(r"```json\n(.*?)\n```", chapter, re.DOTALL)
    shown = json.loads(example)

    (line,) = [line for line in traced.lines("gateway", made.job_id) if line["event"] == "job accepted"]

    assert {name: type(value) for name, value in line.items()} == {
        name: type(value) for name, value in shown.items()
    }
    assert shown["event"] == "job accepted"


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_context_that_is_none_begins_no_trace_of_its_sender(traced: Traced, garbage: str) -> None:
    seen = traced.asked(("traceparent", garbage), ("tracestate", "\x7f"))

    assert seen.parent_id == ""
    assert seen.trace_id not in garbage


def test_two_contexts_are_none(traced: Traced) -> None:
    seen = traced.asked(*(("traceparent", f"00-{digit * 32}-{digit * 16}-01") for digit in "12"))

    assert seen.parent_id == ""


def test_probes_are_no_spans(traced: Traced) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert httpx.get(f"{traced.url}{path}").status_code == httpx.codes.OK

    traced.asked()  # what came later is there

    assert {span.name for span in traced.collector.spans if span.kind == "server"} <= {ROUTE, FETCH}


def test_only_what_has_failed_is_a_failed_span_and_says_no_word_of_why(traced: Traced) -> None:
    trace_id = secrets.token_hex(16)
    parent = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    store = Ledger(traced.settings.redis_url)

    accept(store, traced.settings, model_id="nobody-has-it", webhook=traced.receiver.url, trace=parent)

    spans = traced.collector.when_all(trace_id, {"job", "webhook"})
    store.close()
    assert [name for name, span in spans.items() if span.is_failed] == ["job"]
    assert spans["job"].attributes["error.type"] == spans["job"].attributes["printworks.end"] == "failed"
    assert spans["job"].message == ""


def test_no_span_holds_a_key_a_webhooks_url_or_what_a_client_has_written(traced: Traced, made: Made) -> None:
    exported = b"".join(traced.collector.bodies)

    assert made.trace_id.encode() not in exported  # ids are sent as bytes: this is what was read, not JSON
    assert bytes.fromhex(made.trace_id) in exported
    for secret in (KEY, PROMPT, IN_THE_URL, "127.0.0.1", "by-a-test"):
        assert secret.encode() not in exported


def test_without_a_collector_the_trace_is_in_the_logs_and_on_the_webhook(
    plain: Settings, store: Ledger, tmp_path: Path
) -> None:
    trace_id, logs = secrets.token_hex(16), {name: tmp_path / f"{name}.log" for name in PROCESSES}
    with (
        running_receiver() as receiver,
        running_gateway(plain, logs["gateway"]) as url,
        running_dispatcher(plain, logs["dispatcher"]),
    ):
        job_id, _ = send(url, receiver, trace_id)
        store.run(ledger.finish(job_id, claim(store, plain).token, JobState.SUCCEEDED, Outcome()))

        webhook = webhook_of(receiver, job_id)
        wait_until(lambda: told(logs["dispatcher"], "webhook delivered"))

    (accepted,), (delivered,) = (
        told(logs["gateway"], "job accepted"),
        told(logs["dispatcher"], "webhook delivered"),
    )
    assert accepted["trace_id"] == delivered["trace_id"] == context_in(webhook)[0] == trace_id


def test_a_collector_that_is_away_keeps_nobody_waiting_and_is_told_of_once(
    plain: Settings, receiver: Receiver, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "gateway.log"
    away = Collector(f"http://:{IN_THE_URL}@127.0.0.1:{port}").variables | {"OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
    with running_gateway(plain, log, **away) as url:
        send(url, receiver)
        wait_until(lambda: told(log, "spans not exported"))
        began = time.monotonic()
        for _ in range(10):
            send(url, receiver)
        took_s = time.monotonic() - began

        with running_collector(port, refusals=2) as collector:
            wait_until(lambda: send(url, receiver) and collector.spans, every_s=0.2)
            (back,) = wait_until(lambda: told(log, "spans exported again"))

    (gone,) = told(log, "spans not exported")
    assert took_s < 8  # an export takes more than a second each time
    assert gone["reason"].startswith("Transient error ConnectionError ")
    assert back["lost"] > 0
    assert IN_THE_URL not in log.read_text()


def test_the_end_of_a_process_is_put_off_for_a_moment_only_by_a_collector_that_hangs() -> None:
    program = (
        "import time; from shared.tracing import configure_tracing; from shared.spans import span\n"
        "end = configure_tracing('test')\n"
        "with span('last'): began = time.monotonic()\n"
        "end(); print(time.monotonic() - began)"
    )
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        environment = clean_environment() | {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True, timeout=30
        )

    assert LAST_BATCH_S <= float(ended.stdout) < 8  # it hangs for ten


def test_without_the_extra_a_gateway_that_is_to_export_ends_with_a_sentence() -> None:
    program = "import sys; sys.modules['opentelemetry.sdk'] = None; from api.__main__ import main; main()"
    variables = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1", "PRINTWORKS_API_KEY": KEY}

    ended = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment() | variables, capture_output=True, timeout=60
    )

    assert ended.returncode == EXIT_MISCONFIGURED
    assert ended.stderr.decode() == (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set, but the SDK of OpenTelemetry is not installed: "
        "pip install 'printworks[tracing]', or unset it.\n"
    )
