"""What the number of workers is decided by, pool by pool."""

from deploy.monitoring.panels import SERVER, Dashboard, Row, Variable, plot

DEMAND = Row(
    "Demand",
    (
        plot(
            "Work, by model",
            "s",
            "Of open jobs, in seconds of one GPU. What a pool's models have together, divided by "
            "autoscaling.backlogSecondsPerGpu, is how many workers are wanted.",
            (
                "sum by (model) (max by (server, model) (printworks_backlog_gpu_seconds{HERE}))",
                "{{model}}",
            ),
        ),
        plot(
            "Jobs, by pool",
            "none",
            "Queued ones that a pool serves, and those that run in it. Pools that serve the same model both "
            "count its queue.",
            (
                'max by (server, pool, state) (printworks_pool_jobs{HERE,pool=~"$pool"})',
                "{{pool}} {{state}}",
            ),
        ),
        plot(
            "Jobs nobody serves",
            "none",
            "While a pool comes up from zero its jobs are here. Longer than a start takes: no pool has the "
            "model.",
            ("max by (server) (printworks_unserved_jobs{HERE})", "{{server}}"),
        ),
    ),
)

SUPPLY = Row(
    "Supply",
    (
        plot(
            "Workers",
            "none",
            "Those that beat. Fewer than wanted for long: there are no free GPUs, or pods do not start. Up "
            "and down all the time: a longer stabilization window is needed.",
            ('max by (server, pool) (printworks_workers{HERE,pool=~"$pool"})', "{{pool}}"),
        ),
        plot(
            "Work for each worker",
            "s",
            "The pool's predicted wait. Above the target with workers at their maximum: raise maxReplicas.",
            (
                'max by (server, pool) (printworks_pool_wait_seconds{HERE,pool=~"$pool"})',
                "{{pool}}",
            ),
        ),
        plot(
            "Slots in use",
            "percentunit",
            "Jobs that run, of those that the pool could hold. Low for long with many workers: scaling down "
            "is too slow.",
            (
                'max by (server, pool) (printworks_pool_jobs{HERE,pool=~"$pool",state="running"})'
                ' / max by (server, pool) (printworks_slots{HERE,pool=~"$pool"})',
                "{{pool}}",
            ),
        ),
        plot(
            "Busy",
            "percentunit",
            "Mean of the pool's GPUs. Low with several workers: the pool is larger than its work.",
            (
                "avg by (pool) (rate("
                'printworks_gpu_busy_seconds_total{HERE,pool=~"$pool"}[$__rate_interval]))',
                "{{pool}}",
            ),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="printworks-autoscaling",
    title="Printworks / Autoscaling",
    says="What work there is for each pool of GPUs, and how many workers it has.",
    variables=(SERVER, Variable("pool", 'printworks_workers{server=~"$server"}')),
    here='server=~"$server"',
    rows=(DEMAND, SUPPLY),
)
