"""A whole server on this machine: `make run`. Prints `ready http://HOST:PORT` when a request would succeed.

Options are environment variables: HOST, PORT, DATA_DIR, API_KEY, ALLOW_PRIVATE_HOSTS, REDIS_URL, FLOWER_PORT.
Any other PRINTWORKS_ setting that is in the environment goes to the processes as it is.
"""

from dataclasses import replace

from deploy.gpus import gpus, workers_of
from deploy.launcher import launch, launching
from deploy.ports import free_port
from deploy.server import Options, owned


def main() -> None:
    with launching():
        asked = Options.from_environment("./data")
        (devices,) = workers_of(gpus(), 1)
        options = replace(asked, port=asked.port or free_port(), devices=devices)
        with owned(options.data_dir):
            launch([options])


if __name__ == "__main__":
    main()
