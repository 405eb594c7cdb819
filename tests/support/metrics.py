"""What processes tell Prometheus, as a scrape sees it; and all that they are to tell."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

OF_ALL = {"printworks_info": {"version", "process"}}
GPU_WORKER: Mapping[str, set[str]] = OF_ALL | {
    "printworks_jobs_started_total": {"attempt"},
    "printworks_jobs_finished_total": {"endpoint", "model", "state"},
    "printworks_queue_seconds": set(),
    "printworks_first_step_seconds": set(),
    "printworks_generation_seconds": {"endpoint", "model"},
    "printworks_upload_seconds": {"to"},
    "printworks_tick_seconds": {"work"},
    "printworks_lane_width": set(),
    "printworks_lane_width_most": set(),
    "printworks_gpu_busy_seconds_total": set(),
    "printworks_device_memory_bytes": {"what"},
    "printworks_models_loaded": {"kind"},
    "printworks_model_load_seconds": {"kind"},
    "printworks_model_evictions_total": {"kind"},
    "printworks_out_of_memory_total": set(),
    "printworks_slots_busy": set(),
    "printworks_slots_most": set(),
    "printworks_spooled_files": set(),
}
"""The metrics of each process and their labels, but for those of its interpreter (`process_`, `python_`)."""
DISPATCHER: Mapping[str, set[str]] = OF_ALL | {
    "printworks_delivery_attempts_total": {"outcome"},
    "printworks_delivery_seconds": set(),
    "printworks_webhook_lag_seconds": set(),
}
GATEWAYS_OWN: Mapping[str, set[str]] = OF_ALL | {
    "printworks_requests_total": {"route", "status"},
    "printworks_request_seconds": {"route"},
    "printworks_jobs_accepted_total": {"endpoint", "model"},
    "printworks_jobs_refused_total": {"endpoint", "reason"},
    "printworks_jobs_given_total": {"peer", "end"},
}
"""What it counts itself; the rest it reads in the ledger."""

_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Scrape:
    samples: tuple[Sample, ...]

    def value(self, name: str, **labels: str) -> float:
        """Of the one series with these labels and no others; 0 if it is not there."""
        found = [each.value for each in self.samples if (each.name, each.labels) == (name, labels)]
        assert len(found) < 2, f"{name} {labels} is there {len(found)} times"
        return found[0] if found else 0.0

    def total(self, name: str, **labels: str) -> float:
        """Of all series with these labels, whatever others they have."""
        return sum(
            each.value for each in self.samples if each.name == name and labels.items() <= each.labels.items()
        )

    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        return {(each.name, frozenset(each.labels.items())) for each in self.samples}

    def metrics(self) -> dict[str, set[str]]:
        """Our metrics and their labels; histograms by their name alone."""
        found: dict[str, set[str]] = {}
        for name, labels in self._ours():
            found.setdefault(name, set()).update(labels - {"le"})
        return found

    def _ours(self) -> Iterator[tuple[str, set[str]]]:
        histograms = {each.name.removesuffix("_bucket") for each in self.samples if "le" in each.labels}
        for each in self.samples:
            if each.name.startswith("printworks_"):
                bare = next(
                    (each.name.removesuffix(end) for end in _OF_HISTOGRAMS if each.name.endswith(end)), ""
                )
                yield bare if bare in histograms else each.name, set(each.labels)


def scraped(url: str) -> Scrape:
    """What `url`/metrics tells now."""
    answer = httpx.get(f"{url}/metrics", timeout=10, trust_env=False)
    assert answer.status_code == httpx.codes.OK, answer.text
    families = text_string_to_metric_families(answer.text)
    return Scrape(tuple(sample for family in families for sample in family.samples))
