"""Whether the GPUs are used, and by what."""

from deploy.monitoring.panels import SERVER, Dashboard, Row, Variable, plot, quantiles

USE = Row(
    "Use",
    (
        plot(
            "Busy",
            "percentunit",
            "Share of the time in which a GPU has work. Low while jobs wait: something else holds them up, "
            "see the alert PrintworksGpusIdle.",
            ("rate(printworks_gpu_busy_seconds_total{HERE}[$__rate_interval])", "{{pool}} {{instance}}"),
        ),
        plot(
            "Pictures in a forward",
            "none",
            "The mean width of lanes. 1 under load: jobs differ in size or LoRAs, or only one is there at a "
            "time.",
            (
                "sum by (pool, instance) (rate(printworks_lane_width_sum{HERE}[$__rate_interval]))"
                " / sum by (pool, instance) (rate(printworks_lane_width_count{HERE}[$__rate_interval]))",
                "{{pool}} {{instance}}",
            ),
        ),
        plot(
            "Batch efficiency",
            "percentunit",
            "Mean width of lanes as a share of PRINTWORKS_LANE_WIDTH. Low under load: the GPU could make "
            "more at once.",
            (
                "sum by (pool, instance) (rate(printworks_lane_width_sum{HERE}[$__rate_interval]))"
                " / sum by (pool, instance) (rate(printworks_lane_width_count{HERE}[$__rate_interval]))"
                " / max by (pool, instance) (printworks_lane_width_most{HERE})",
                "{{pool}} {{instance}}",
            ),
        ),
        plot(
            "Slots in use",
            "percentunit",
            "Of PRINTWORKS_SLOTS. All in use with a GPU that is not busy: slots wait for uploads, disks or "
            "models.",
            ("printworks_slots_busy{HERE} / printworks_slots_most{HERE}", "{{pool}} {{instance}}"),
        ),
        quantiles(
            "Time of a forward",
            "printworks_tick_seconds",
            "By what it was for. Growing: wider lanes or larger pictures; or the GPU is slowed down by heat "
            "or neighbours. One longer than PRINTWORKS_STEP_TIMEOUT_S ends the worker.",
            by="work",
        ),
        plot(
            "Attempts after the first",
            "ops",
            "Jobs that were begun again because a worker vanished with them. Should be zero but for "
            "restarts.",
            (
                'sum by (pool) (rate(printworks_jobs_started_total{HERE,attempt!="1"}[$__rate_interval]))',
                "{{pool}}",
            ),
        ),
    ),
)

JOBS = Row(
    "Jobs",
    (
        quantiles(
            "In the queue",
            "printworks_queue_seconds",
            "From accepted to taken by a slot. High in one pool only: that pool is too small.",
            by="pool",
        ),
        quantiles(
            "Until the first step",
            "printworks_first_step_seconds",
            "From accepted to the end of the first step. Far above the time in the queue: models are loaded "
            "first.",
            by="pool",
        ),
        quantiles(
            "Making a job",
            "printworks_generation_seconds",
            "As its answer tells it, without the wait. Growing with the width of lanes is the price of "
            "throughput.",
            by="model",
        ),
        plot(
            "Finished",
            "ops",
            "By model and how they ended. A model of which all fail: its files are bad.",
            (
                "sum by (model, state) (rate(printworks_jobs_finished_total{HERE}[$__rate_interval]))",
                "{{model}} {{state}}",
            ),
        ),
    ),
)

MEMORY = Row(
    "Memory and models",
    (
        plot(
            "Device memory",
            "percentunit",
            "In use, of all. What models leave is for pictures: near 1 and out of memory often means "
            "smaller PRINTWORKS_MODEL_MEMORY_BYTES or PRINTWORKS_LANE_WIDTH.",
            (
                'printworks_device_memory_bytes{HERE,what="used"}'
                ' / ignoring (what) printworks_device_memory_bytes{HERE,what="total"}',
                "{{pool}} {{instance}}",
            ),
        ),
        plot(
            "Memory of models",
            "bytes",
            "What loaded models take. At its bound, each new model throws another out.",
            ('printworks_device_memory_bytes{HERE,what="models"}', "{{pool}} {{instance}}"),
        ),
        plot(
            "Out of memory",
            "none",
            "Each halves the width of a lane for good. More than a few after a start: pictures are too "
            "large for the GPU.",
            (
                "sum by (pool, instance) (increase(printworks_out_of_memory_total{HERE}[$__rate_interval]))",
                "{{pool}} {{instance}}",
            ),
        ),
        plot(
            "Models loaded",
            "none",
            "By kind, on all workers.",
            ("sum by (pool, kind) (printworks_models_loaded{HERE})", "{{pool}} {{kind}}"),
        ),
        plot(
            "Models thrown out",
            "none",
            "Steady: jobs ask for more models than fit. Give a pool fewer models by PRINTWORKS_SERVES, or "
            "more memory.",
            (
                "sum by (pool, kind) (increase(printworks_model_evictions_total{HERE}[$__rate_interval]))",
                "{{pool}} {{kind}}",
            ),
        ),
        quantiles(
            "Loading a model",
            "printworks_model_load_seconds",
            "From its files to the device. Slow: the models' disk or network is.",
            by="kind",
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="printworks-gpus",
    title="Printworks / GPUs",
    says="Whether GPUs are busy, how many pictures share their work, and what their memory holds.",
    variables=(
        SERVER,
        Variable("pool", 'printworks_slots_most{server=~"$server"}'),
        Variable("instance", 'printworks_slots_most{server=~"$server",pool=~"$pool"}'),
    ),
    here='server=~"$server",pool=~"$pool",instance=~"$instance"',
    rows=(USE, JOBS, MEMORY),
)
