"""What a gateway counts, by hand."""

import pytest

from api.metrics import Metrics
from shared.errors import (
    BadRequest,
    LedgerUnavailable,
    QueueFull,
    TooManyBodies,
    TooManyJobs,
    TooManyRequests,
)
from shared.jobs import Kind
from tests.support.jobs import make_spec
from tests.support.metrics import GATEWAYS_OWN

REASONS = {
    BadRequest("Why."): "validation_error",
    LedgerUnavailable("Why."): "upstream_unavailable",
    QueueFull("Why.", 1): "queue_full",
    TooManyBodies("Why.", 1): "too_many_bodies",
    TooManyJobs("Why.", 1): "too_many_jobs",
    TooManyRequests("Why.", 1): "too_many_requests",
    ZeroDivisionError("Why."): "internal_error",
}


@pytest.mark.parametrize(("error", "reason"), REASONS.items(), ids=REASONS.values())
def test_a_refusal_is_counted_by_its_reason_and_goes_on(error: Exception, reason: str) -> None:
    metrics = Metrics()

    with pytest.raises(type(error)), metrics.refusals(Kind.IMG2IMG):
        raise error

    line = f'printworks_jobs_refused_total{{endpoint="img2img",reason="{reason}"}} 1.0'
    assert line in metrics.render(None).decode()


def test_what_is_not_refused_is_no_refusal() -> None:
    metrics = Metrics()

    with metrics.refusals(Kind.IMG2IMG):
        pass

    assert "printworks_jobs_refused_total{" not in metrics.render(None).decode()


def test_a_job_is_counted_by_the_model_that_it_is_bound_to() -> None:
    metrics = Metrics()

    metrics.accepted(make_spec(model_id="demo", pins={"checkpoint:demo": "entry"}))
    metrics.accepted(make_spec(model_id="made-up", pins={"checkpoint:demo": "entry"}))

    told = metrics.render(None).decode()
    for model in ("demo", ""):
        assert f'printworks_jobs_accepted_total{{endpoint="text2img",model="{model}"}} 1.0' in told
    assert "made-up" not in told


def test_jobs_that_were_given_away_have_the_labels_that_are_documented() -> None:
    metrics = Metrics()

    metrics.jobs_given.labels(**dict.fromkeys(GATEWAYS_OWN["printworks_jobs_given_total"], "x")).inc()

    assert "printworks_jobs_given_total{" in metrics.render(None).decode()
