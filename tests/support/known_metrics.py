"""Which metrics there are, as queries name them, with their labels."""

from collections.abc import Mapping

from tests.support.metrics import DISPATCHER, GATEWAYS_OWN, GPU_WORKER

LEDGER: Mapping[str, set[str]] = {
    "printworks_ledger_up": set(),
    "printworks_jobs": {"state", "model"},
    "printworks_backlog_gpu_seconds": {"model"},
    "printworks_pool_jobs": {"pool", "state"},
    "printworks_pool_wait_seconds": {"pool"},
    "printworks_key_class_jobs": {"weight"},
    "printworks_key_class_wait_seconds": {"weight"},
    "printworks_workers": {"pool"},
    "printworks_slots": {"pool"},
    "printworks_unserved_jobs": set(),
    "printworks_loads_waiting": set(),
    "printworks_oldest_queued_seconds": set(),
    "printworks_jobs_ended_total": {"state"},
    "printworks_leases_expired_total": set(),
    "printworks_deliveries": {"state"},
}
"""What all gateways of a server tell alike, so that queries take the `max`."""

HISTOGRAMS = {
    "printworks_delivery_seconds",
    "printworks_first_step_seconds",
    "printworks_generation_seconds",
    "printworks_lane_width",
    "printworks_model_load_seconds",
    "printworks_queue_seconds",
    "printworks_request_seconds",
    "printworks_tick_seconds",
    "printworks_upload_seconds",
    "printworks_webhook_lag_seconds",
}
OF_THE_INTERPRETER = {
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
}
OF_SCRAPING = {"instance", "process", "server", "pool"}
"""Labels that targets have."""


def metrics_told(process: str) -> Mapping[str, set[str]]:
    """Metrics of ours that a process tells, with their own labels; flower tells none."""
    told: dict[str, Mapping[str, set[str]]] = {
        "gateway": {**GATEWAYS_OWN, **LEDGER},
        "gpu-worker": GPU_WORKER,
        "dispatcher": DISPATCHER,
        "flower": {},
    }
    return told[process]


def known_metrics() -> dict[str, set[str]]:
    ours = {**GATEWAYS_OWN, **LEDGER, **GPU_WORKER, **DISPATCHER}
    known: dict[str, set[str]] = {name: set() for name in ("up", *OF_THE_INTERPRETER)}
    for name, labels in ours.items():
        if name in HISTOGRAMS:
            known |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            known[name] = labels
    return {name: labels | OF_SCRAPING for name, labels in known.items()}
