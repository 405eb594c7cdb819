"""Which metrics there are, with their labels: what queries may name."""

LEDGER: dict[str, set[str]] = {
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
    "printworks_oldest_queued_seconds": set(),
    "printworks_jobs_ended_total": {"state"},
    "printworks_leases_expired_total": set(),
    "printworks_deliveries": {"state"},
}
"""The same in every gateway of a server, so queries take the `max`."""

COUNTED: dict[str, set[str]] = {
    "printworks_requests_total": {"route", "status"},
    "printworks_jobs_accepted_total": {"endpoint", "model"},
    "printworks_jobs_refused_total": {"endpoint", "reason"},
    "printworks_jobs_given_total": {"peer", "end"},
    "printworks_jobs_started_total": {"attempt"},
    "printworks_jobs_finished_total": {"endpoint", "model", "state"},
    "printworks_lane_width_most": set(),
    "printworks_gpu_busy_seconds_total": set(),
    "printworks_device_memory_bytes": {"what"},
    "printworks_models_loaded": {"kind"},
    "printworks_model_evictions_total": {"kind"},
    "printworks_out_of_memory_total": set(),
    "printworks_slots_busy": set(),
    "printworks_slots_most": set(),
    "printworks_spooled_files": set(),
    "printworks_delivery_attempts_total": {"outcome"},
    "printworks_info": {"version", "process"},
    "process_start_time_seconds": set(),
    "process_resident_memory_bytes": set(),
    "process_cpu_seconds_total": set(),
}

HISTOGRAMS: dict[str, set[str]] = {
    "printworks_request_seconds": {"route"},
    "printworks_queue_seconds": set(),
    "printworks_first_step_seconds": set(),
    "printworks_generation_seconds": {"endpoint", "model"},
    "printworks_upload_seconds": {"to"},
    "printworks_tick_seconds": {"work"},
    "printworks_lane_width": set(),
    "printworks_model_load_seconds": {"kind"},
    "printworks_delivery_seconds": set(),
    "printworks_webhook_lag_seconds": set(),
}

TARGET = {"instance", "job", "process", "server", "pool"}
"""Labels that scraping adds."""


def known_metrics() -> dict[str, set[str]]:
    """Name, as queries write it, to its labels."""
    known = {**LEDGER, **COUNTED, "up": set()}
    for name, labels in HISTOGRAMS.items():
        known |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
    return {name: labels | TARGET for name, labels in known.items()}
