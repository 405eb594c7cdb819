"""Each alert fires in the situation that it is for, and no other one does; none fires while all is well.

Situations are series of a made-up server, minute by minute, as `promtool test rules` writes them.
"""

import pytest

from tests.support.promql import labels
from tests.support.rules import alerts, firing

MINUTES = 400
GATEWAYS = ("g1", "g2")


def _target(process: str, instance: str) -> str:
    pool = ',pool="default"' if process == "gpu-worker" else ""
    return f'process="{process}",instance="{instance}",server="s1"{pool}'


def _ledger(name: str, values: str, *, said: str = "") -> dict[str, str]:
    """Both gateways tell the same."""
    more = f",{said}" if said else ""
    return {f"{name}{{{_target('gateway', each)}{more}}}": values for each in GATEWAYS}


WORKER = _target("gpu-worker", "w1")
DISPATCHER = _target("dispatcher", "d1")
GATEWAY = _target("gateway", "g1")
ROUTE = "/api/v6/images/text2img"
REFUSED = f'printworks_jobs_refused_total{{{GATEWAY},endpoint="text2img",reason="queue_full"}}'
ANSWERED = f'printworks_requests_total{{{GATEWAY},status="200",route="{ROUTE}"}}'
BROKEN = f'printworks_requests_total{{{GATEWAY},status="500",route="{ROUTE}"}}'

PROCESSES = {
    f"{name}{{{target}{said}}}": value
    for target in (GATEWAY, _target("gateway", "g2"), WORKER, DISPATCHER)
    for name, said, value in (
        ("up", "", "1x400"),
        ("process_start_time_seconds", "", "1000x400"),
        ("printworks_info", ',version="1.0"', "1x400"),
    )
}
WELL = {
    **PROCESSES,
    **_ledger("printworks_ledger_up", "1x400"),
    **_ledger("printworks_jobs", "3x400", said='state="queued",model="sdxl"'),
    **_ledger("printworks_jobs", "8x400", said='state="running",model="sdxl"'),
    **_ledger("printworks_workers", "1x400", said='pool="default"'),
    **_ledger("printworks_pool_jobs", "3x400", said='pool="default",state="queued"'),
    **_ledger("printworks_pool_wait_seconds", "60x400", said='pool="default"'),
    **_ledger("printworks_oldest_queued_seconds", "20x400"),
    **_ledger("printworks_unserved_jobs", "0x400"),
    **_ledger("printworks_jobs_ended_total", "0+60x400", said='state="succeeded"'),
    **_ledger("printworks_jobs_ended_total", "0x400", said='state="failed"'),
    **_ledger("printworks_leases_expired_total", "0x400"),
    ANSWERED: "0+600x400",
    f'printworks_requests_total{{{GATEWAY},status="503",route="/health/ready"}}': "0+600x400",
    BROKEN: "0x400",
    REFUSED: "0x400",
    f'printworks_jobs_refused_total{{{GATEWAY},endpoint="text2img",reason="too_many_jobs"}}': "0+9x400",
    f'printworks_jobs_given_total{{{GATEWAY},peer="s2",end="made"}}': "0+5x400",
    f'printworks_jobs_given_total{{{GATEWAY},peer="s2",end="lost"}}': "0x400",
    f"printworks_gpu_busy_seconds_total{{{WORKER}}}": "0+57x400",
    f"printworks_out_of_memory_total{{{WORKER}}}": "0x400",
    f'printworks_model_evictions_total{{{WORKER},kind="checkpoint"}}': "0x400",
    f"printworks_spooled_files{{{WORKER}}}": "0x400",
    f'printworks_delivery_attempts_total{{{DISPATCHER},outcome="delivered"}}': "0+60x400",
    f'printworks_delivery_attempts_total{{{DISPATCHER},outcome="dead"}}': "0x400",
    f'printworks_webhook_lag_seconds_bucket{{{DISPATCHER},le="1"}}': "0+55x400",
    f'printworks_webhook_lag_seconds_bucket{{{DISPATCHER},le="60"}}': "0+57x400",
    f'printworks_webhook_lag_seconds_bucket{{{DISPATCHER},le="+Inf"}}': "0+60x400",
}
NO_JOBS = {
    **_ledger("printworks_jobs", "_x400", said='state="queued",model="sdxl"'),
    **_ledger("printworks_jobs", "_x400", said='state="running",model="sdxl"'),
    **_ledger("printworks_pool_jobs", "0x400", said='pool="default",state="queued"'),
    **_ledger("printworks_pool_wait_seconds", "0x400", said='pool="default"'),
    **_ledger("printworks_jobs_ended_total", "500x400", said='state="succeeded"'),
    f"printworks_gpu_busy_seconds_total{{{WORKER}}}": "500x400",
}
NO_WORKERS = {
    **_ledger("printworks_workers", "1x370 stale _x29", said='pool="default"'),
    **_ledger("printworks_pool_jobs", "3x370 stale _x29", said='pool="default",state="queued"'),
    **_ledger("printworks_pool_wait_seconds", "60x370 stale _x29", said='pool="default"'),
    **_ledger("printworks_jobs_ended_total", "0+60x370 22200x30", said='state="succeeded"'),
}
LOST_REDIS = {
    **_ledger("printworks_ledger_up", "1x395 0x5"),
    **{name: "1x395 stale _x4" for name in WELL if "printworks_jobs{" in name or "pool_jobs" in name},
}

QUIET = {
    "all is well": {},
    "nobody sends jobs": NO_JOBS,
    "a gateway is replaced": {
        f"up{{{GATEWAY}}}": "1x380 0x2 stale _x17",
        f"up{{{_target('gateway', 'g3')}}}": "_x380 1x20",
    },
    "a worker is replaced": {
        f"up{{{WORKER}}}": "1x380 0x5 stale _x14",
        f"up{{{_target('gpu-worker', 'w2')}}}": "_x380 1x20",
    },
    "all workers are away for three minutes": _ledger(
        "printworks_workers", "1x397 stale _x2", said='pool="default"'
    ),
    "the only pool with jobs comes up from zero": {
        **NO_JOBS,
        **_ledger("printworks_jobs", "0x372 4x28", said='state="queued",model="flux"'),
        **_ledger("printworks_unserved_jobs", "0x372 4x28"),
    },
    "redis is restarted": {**LOST_REDIS, **_ledger("printworks_ledger_up", "1x390 0x1 1x9")},
    "an update is under way": {
        f'printworks_info{{{WORKER},version="1.0"}}': "1x370 stale _x29",
        f'printworks_info{{{WORKER},version="1.1"}}': "_x370 1x30",
    },
    "one request fails": {BROKEN: "0x380 1x20"},
    "some of few requests fail": {ANSWERED: "0+1x400", BROKEN: "0x380 1+1x17 18x2"},
    "a few jobs fail": _ledger("printworks_jobs_ended_total", "0x380 4x20", said='state="failed"'),
}


@pytest.mark.parametrize("changes", QUIET.values(), ids=QUIET)
def test_no_alert_fires_while_nothing_is_wrong(changes: dict[str, str]) -> None:
    assert firing({**WELL, **changes}, MINUTES) == set()


LOUD: dict[str, tuple[dict[str, str], dict[str, dict[str, str]]]] = {
    "no gateway answers": (
        {f"up{{{_target('gateway', each)}}}": "1x390 0x10" for each in GATEWAYS},
        {"PrintworksNoGateway": {}},
    ),
    "the gateways are gone": (
        {f"up{{{_target('gateway', each)}}}": "1x380 stale _x19" for each in GATEWAYS},
        {"PrintworksNoGateway": {}},
    ),
    "one of the gateways does not answer": (
        {f"up{{{GATEWAY}}}": "1x390 0x10"},
        {"PrintworksGatewayDown": {"instance": "g1", "process": "gateway"}},
    ),
    "redis is away": (LOST_REDIS, {"PrintworksLedgerDown": {}}),
    "a tenth of the requests is answered 500 for some minutes": (
        {BROKEN: ("0x380 60+60x19")},
        {"PrintworksRequestsUnanswered": {}},
    ),
    "one of a hundred requests is answered 500 for hours": (
        {BROKEN: "0+6x400"},
        {"PrintworksRequestsUnanswered": {}},
    ),
    "half of few requests are answered 500 for hours": (
        {ANSWERED: "0+1x400", BROKEN: "0+1x400"},
        {"PrintworksRequestsUnanswered": {}},
    ),
    "jobs are refused": (
        {REFUSED: "0x390 2+2x9"},
        {"PrintworksQueueFull": {}},
    ),
    "an update has stopped half-way": (
        {
            f'printworks_info{{{WORKER},version="1.0"}}': "_x400",
            f'printworks_info{{{WORKER},version="2"}}': "1x400",
        },
        {"PrintworksVersionsDiffer": {}},
    ),
    "jobs wait and no worker is there": (NO_WORKERS, {"PrintworksNoWorkers": {}}),
    "jobs wait for a model that nobody serves": (
        _ledger("printworks_unserved_jobs", "0x365 2x35"),
        {"PrintworksUnservedJobs": {}},
    ),
    "workers beat and nothing comes out": (
        _ledger("printworks_jobs_ended_total", "0+60x350 21000x50", said='state="succeeded"'),
        {"PrintworksStalled": {}},
    ),
    "the queue is longer than half an hour": (
        _ledger("printworks_pool_wait_seconds", "60x380 2400x20", said='pool="default"'),
        {"PrintworksLongWait": {"pool": "default"}},
    ),
    "one job waits for ever": (
        _ledger("printworks_oldest_queued_seconds", "20x100 20+60x299"),
        {"PrintworksJobLeftBehind": {}},
    ),
    "a fifth of the jobs fails": (
        _ledger("printworks_jobs_ended_total", "0x380 15+15x19", said='state="failed"'),
        {"PrintworksJobsFail": {}},
    ),
    "a peer loses jobs": (
        {f'printworks_jobs_given_total{{{GATEWAY},peer="s2",end="lost"}}': "0x370 1+1x29"},
        {"PrintworksPeerLosesJobs": {"peer": "s2"}},
    ),
    "a worker does not answer": (
        {f"up{{{WORKER}}}": "1x380 0x20"},
        {"PrintworksWorkerDown": {"instance": "w1", "process": "gpu-worker", "pool": "default"}},
    ),
    "a worker is started again and again": (
        {f"process_start_time_seconds{{{WORKER}}}": "1000x370 2000x9 3000x9 4000x9"},
        {"PrintworksProcessRestarts": {"instance": "w1", "process": "gpu-worker", "pool": "default"}},
    ),
    "leases expire": (
        _ledger("printworks_leases_expired_total", "0x380 1+1x19"),
        {"PrintworksLeasesExpire": {}},
    ),
    "a GPU has nothing to do while jobs wait": (
        {f"printworks_gpu_busy_seconds_total{{{WORKER}}}": "0+57x360 20520+6x39"},
        {"PrintworksGpusIdle": {"pool": "default"}},
    ),
    "a worker runs out of memory": (
        {f"printworks_out_of_memory_total{{{WORKER}}}": "0x380 1+1x19"},
        {"PrintworksOutOfMemory": {"instance": "w1", "pool": "default"}},
    ),
    "checkpoints come and go": (
        {f'printworks_model_evictions_total{{{WORKER},kind="checkpoint"}}': "0x340 1+1x59"},
        {"PrintworksModelsSwap": {"pool": "default"}},
    ),
    "no dispatcher answers": ({f"up{{{DISPATCHER}}}": "1x390 0x10"}, {"PrintworksNoDispatcher": {}}),
    "webhooks leave late": (
        {
            f'printworks_webhook_lag_seconds_bucket{{{DISPATCHER},le="1"}}': "0x400",
            f'printworks_webhook_lag_seconds_bucket{{{DISPATCHER},le="60"}}': "0+10x400",
        },
        {"PrintworksWebhooksLate": {}},
    ),
    "webhooks are given up": (
        {f'printworks_delivery_attempts_total{{{DISPATCHER},outcome="dead"}}': "0x380 1+1x19"},
        {"PrintworksWebhooksDie": {}},
    ),
    "files wait for S3": (
        {f"printworks_spooled_files{{{WORKER}}}": "0x380 7x20"},
        {"PrintworksFilesWaitForS3": {}},
    ),
}


@pytest.mark.parametrize(("changes", "expected"), LOUD.values(), ids=LOUD)
def test_an_alert_fires_for_what_is_wrong_and_no_other_one(
    changes: dict[str, str], expected: dict[str, dict[str, str]]
) -> None:
    fired = firing({**WELL, **changes}, MINUTES)

    assert fired == {(alert, labels(server="s1", **about)) for alert, about in expected.items()}


def test_there_is_an_alarm_when_prometheus_knows_of_no_gateway_and_no_dispatcher() -> None:
    fired = firing({f"up{{{WORKER}}}": "1x400"}, MINUTES)

    expected = {"PrintworksNoGateway": "gateway", "PrintworksNoDispatcher": "dispatcher"}
    assert fired == {(alert, labels(process=process)) for alert, process in expected.items()}


def test_one_server_is_not_judged_by_what_another_one_does() -> None:
    other = {
        name.replace('server="s1"', 'server="s2"'): values for name, values in {**WELL, **NO_JOBS}.items()
    }

    fired = firing({**WELL, **NO_WORKERS, **other}, MINUTES)

    assert fired == {("PrintworksNoWorkers", labels(server="s1"))}


def test_every_alert_has_a_situation() -> None:
    assert {alert for _, expected in LOUD.values() for alert in expected} == {each.name for each in alerts()}
