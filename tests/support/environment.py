"""The environment of processes that tests start."""

import os


def clean_environment() -> dict[str, str]:
    """This process's own without what would change a cluster: tests must not join a real one."""
    foreign = ("PRINTWORKS_", "REDIS_URL", "CUDA_VISIBLE_DEVICES", "OTEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
