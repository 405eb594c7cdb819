"""How a server does: what waits, what comes out, what it refuses. The page to open first."""

from deploy.monitoring.panels import SERVER, Dashboard, Figure, Query, Row, Unit, plot, quantiles


def _jobs(state: str) -> str:
    return f'sum(max by (server, model) (printworks_jobs{{HERE,state="{state}"}})) or vector(0)'


def _figure(
    title: str,
    promql: str,
    says: str,
    *,
    above: float | None = None,
    below: float | None = None,
    unit: Unit = "none",
) -> Figure:
    return Figure(title, unit, says, (Query(promql, title),), bad_above=above, bad_below=below)


NOW = Row(
    "Now",
    (
        _figure(
            "Ledger",
            "min(max by (server) (printworks_ledger_up{HERE}))",
            "1 while a gateway reaches Redis. 0: clients are answered 503 and nothing is begun or ended.",
            below=1,
        ),
        _figure(
            "GPU workers",
            "sum(max by (server, pool) (printworks_workers{HERE})) or vector(0)",
            "Those that beat. 0 while jobs wait: nothing gets done; see their logs.",
            below=1,
        ),
        _figure(
            "Jobs that wait", _jobs("queued"), "Work for the GPUs. Whether it is much, the waits below tell."
        ),
        _figure("Jobs that run", _jobs("running"), "In slots of GPU workers. 0 while others wait is bad."),
        _figure(
            "Oldest in the queue",
            "max(printworks_oldest_queued_seconds{HERE})",
            "Time since the job that has been queued longest was accepted. Far above the predicted waits: "
            "that job is left behind.",
            above=3600,
            unit="s",
        ),
        _figure(
            "Jobs nobody serves",
            "sum(max by (server) (printworks_unserved_jobs{HERE}))",
            "They wait for a model that no worker's PRINTWORKS_SERVES has. They would be failed at their "
            "deadline.",
            above=1,
        ),
    ),
)

WAITING = Row(
    "Waiting",
    (
        plot(
            "Jobs",
            "none",
            "Queued, running here, and away at other servers. A queue that only grows needs more GPUs.",
            ("sum by (state) (max by (server, model, state) (printworks_jobs{HERE}))", "{{state}}"),
        ),
        plot(
            "Queue by model",
            "none",
            "The ten models with most jobs waiting. One that grows alone: its pool is too small, or nobody "
            "serves it.",
            (
                'topk(10, sum by (model) (max by (server, model) (printworks_jobs{HERE,state="queued"})))',
                "{{model}}",
            ),
        ),
        plot(
            "Predicted wait by pool",
            "s",
            "Until a pool has done all that it serves. Above what you promise: add workers to that pool.",
            ("max by (server, pool) (printworks_pool_wait_seconds{HERE})", "{{server}} {{pool}}"),
        ),
        plot(
            "Predicted wait by weight of keys",
            "s",
            "Longest predicted wait of a tenant of that weight; above PRINTWORKS_MAX_WAIT_S its jobs are "
            "refused. High for one weight alone: tenants of it send more than their share.",
            (
                "max by (server, weight) (printworks_key_class_wait_seconds{HERE})",
                "{{server}} weight {{weight}}",
            ),
        ),
        plot(
            "Open jobs by weight of keys",
            "none",
            "Who fills the queue.",
            (
                "sum by (weight) (max by (server, weight) (printworks_key_class_jobs{HERE}))",
                "weight {{weight}}",
            ),
        ),
        quantiles(
            "From accepted to the first step",
            "printworks_first_step_seconds",
            "What clients feel: the wait, and loading the model. High with a short queue: models are loaded "
            "for each job, see the GPUs' page.",
        ),
    ),
)

RESULTS = Row(
    "Results",
    (
        plot(
            "Jobs that end",
            "ops",
            "Flat at zero while jobs wait: workers are stuck, see the alert PrintworksStalled.",
            (
                "sum by (state) (max by (server, state) "
                "(rate(printworks_jobs_ended_total{HERE}[$__rate_interval])))",
                "{{state}}",
            ),
        ),
        plot(
            "Jobs accepted",
            "ops",
            "By endpoint. Far above what ends: the queue grows.",
            (
                "sum by (endpoint) (rate(printworks_jobs_accepted_total{HERE}[$__rate_interval]))",
                "{{endpoint}}",
            ),
        ),
        plot(
            "Share that fails",
            "percentunit",
            "Of the jobs that ended. Above a few percent: look for the reason in the workers' logs.",
            (
                "sum(max by (server) "
                '(rate(printworks_jobs_ended_total{HERE,state="failed"}[$__rate_interval])))'
                " / sum(max by (server, state) "
                '(rate(printworks_jobs_ended_total{HERE,state=~"failed|succeeded"}[$__rate_interval])))',
                "failed",
            ),
        ),
        plot(
            "Refused",
            "ops",
            "Requests that wanted a job and got none, by reason. queue_full is yours to mend; most others "
            "are the clients' own.",
            (
                "sum by (reason) (rate(printworks_jobs_refused_total{HERE}[$__rate_interval]))",
                "{{reason}}",
            ),
        ),
        plot(
            "Given to other servers",
            "ops",
            "How the jobs ended that left. Many gone or lost: that server refuses them or vanishes; POST "
            "/peers tells why.",
            (
                "sum by (peer, end) (rate(printworks_jobs_given_total{HERE}[$__rate_interval]))",
                "{{peer}} {{end}}",
            ),
        ),
        plot(
            "Leases that expired",
            "none",
            "Each is a job whose worker vanished or was silent. More than a few an hour: workers die, see "
            "their logs.",
            (
                "max by (server) (increase(printworks_leases_expired_total{HERE}[$__rate_interval]))",
                "{{server}}",
            ),
        ),
    ),
)

GATEWAYS = Row(
    "Gateways",
    (
        plot(
            "Requests by status",
            "reqps",
            "5xx: Redis is away, or a gateway fails. 429: a key's limit, or more than can be done.",
            (
                "sum by (status) (rate("
                'printworks_requests_total{HERE,route!~"/health/.*|/metrics"}[$__rate_interval]))',
                "{{status}}",
            ),
        ),
        quantiles(
            "Time to answer",
            "printworks_request_seconds",
            "By route. Those that make pictures wait for them, up to PRINTWORKS_SYNC_WAIT_S; all others "
            "above a second: gateways or Redis are short of CPU.",
            by="route",
            where=',route!~"/health/.*|/metrics"',
        ),
        plot(
            "Memory",
            "bytes",
            "Of each gateway. Growing without end is a leak; peaks are large requests "
            "(PRINTWORKS_BODIES_AT_ONCE).",
            ('process_resident_memory_bytes{HERE,process="gateway"}', "{{instance}}"),
        ),
        plot(
            "CPU",
            "none",
            "Cores that each gateway takes; it can use one. Near 1: run more gateways.",
            (
                'rate(process_cpu_seconds_total{HERE,process="gateway"}[$__rate_interval])',
                "{{instance}}",
            ),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="printworks-cluster",
    title="Printworks / Cluster",
    says="What waits, what comes out, what is refused, and how gateways answer.",
    variables=(SERVER,),
    here='server=~"$server"',
    rows=(NOW, WAITING, RESULTS, GATEWAYS),
)
