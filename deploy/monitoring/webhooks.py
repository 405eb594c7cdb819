"""What leaves a server: webhooks, and files on their way to where they are kept."""

from deploy.monitoring.panels import SERVER, Dashboard, Row, plot, quantiles

WEBHOOKS = Row(
    "Webhooks",
    (
        plot(
            "Owed, and given up",
            "none",
            "Those that wait include retries that are hours away. Dead ones can be sent again by POST "
            "/replay.",
            ("sum by (state) (max by (server, state) (printworks_deliveries{HERE}))", "{{state}}"),
        ),
        plot(
            "Attempts",
            "ops",
            "By how they ended. Mostly retries: receivers are down. None at all while jobs end: no "
            "dispatcher runs.",
            (
                "sum by (outcome) (rate(printworks_delivery_attempts_total{HERE}[$__rate_interval]))",
                "{{outcome}}",
            ),
        ),
        quantiles(
            "From a job's end to its delivery",
            "printworks_webhook_lag_seconds",
            "Of those that were taken at the first attempt, and no replays: receivers that are down do not "
            "count. High: run more dispatchers.",
        ),
        quantiles(
            "Time of an attempt",
            "printworks_delivery_seconds",
            "How long receivers take to answer; at PRINTWORKS_WEBHOOK_TIMEOUT_S they are given up for that "
            "time.",
        ),
    ),
)

STORAGE = Row(
    "Files",
    (
        quantiles(
            "Storing a file",
            "printworks_upload_seconds",
            "To the folder, or to S3. Slots wait for it, so a slow storage keeps GPUs idle.",
            by="to",
        ),
        plot(
            "Files that wait for S3",
            "none",
            "Should be zero. Links of these do not work yet; the workers' logs tell why S3 does not take "
            "them.",
            ("max by (server) (printworks_spooled_files{HERE})", "{{server}}"),
        ),
    ),
)

DISPATCHERS = Row(
    "Dispatchers",
    (
        plot(
            "Memory",
            "bytes",
            "Of each dispatcher. Growing without end is a leak.",
            ('process_resident_memory_bytes{HERE,process="dispatcher"}', "{{instance}}"),
        ),
        plot(
            "CPU",
            "none",
            "Cores that each dispatcher takes. Near 1: run more.",
            (
                'rate(process_cpu_seconds_total{HERE,process="dispatcher"}[$__rate_interval])',
                "{{instance}}",
            ),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid="printworks-webhooks",
    title="Printworks / Webhooks and storage",
    says="Whether webhooks leave in time, which were given up, and whether files reach their storage.",
    variables=(SERVER,),
    here='server=~"$server"',
    rows=(WEBHOOKS, STORAGE, DISPATCHERS),
)
