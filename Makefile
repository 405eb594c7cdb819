# `make` alone lists the targets. Every target sets itself up first, in .venv, once.
.DEFAULT_GOAL := help
PYTHON ?= python3
ARGS ?=
GPUS ?=
# Their defaults are in deploy/server.py, of the folder beside what runs in it.
export HOST PORT DATA_DIR API_KEY ALLOW_PRIVATE_HOSTS SERVERS

# One more than there are cores: much of the tests' time is waiting.
TEST_PROCESSES = $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')

.PHONY: help setup run run-cluster worker demo test check bench chaos
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## Make .venv with everything that the project needs
.venv/ready: pyproject.toml constraints.txt deploy/setup.sh
	@PYTHON=$(PYTHON) sh deploy/setup.sh

.venv/extras/ready: .venv/ready deploy/setup_extras.sh
	@sh deploy/setup_extras.sh

run: setup ## Start the cluster on this machine [HOST PORT DATA_DIR API_KEY ALLOW_PRIVATE_HOSTS]
	@exec .venv/bin/python -m deploy.local

run-cluster: setup ## Start several servers that give each other jobs, to try loadbalancer out [SERVERS, and those of run]
	@exec .venv/bin/python -m deploy.local_cluster

worker: setup ## Start a GPU worker for each GPU of this machine, which join a cluster [GPUS, PRINTWORKS_REDIS_URL ...]
	@exec .venv/bin/python -m deploy.workers --gpus "$(GPUS)"

demo: setup ## Start a cluster, turn one sentence into a picture, show the answer and the webhook
	@exec .venv/bin/python -m deploy.demonstrate

test: setup .venv/extras/ready ## Run every test: real Redis, real workers, the demo model; no GPU needed [ARGS]
	@.venv/bin/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)
	@PYTHONPATH=.venv/extras .venv/bin/python -m pytest tests/extras

check: setup ## Lint, format check, types and the boundaries between the parts
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports

chaos: setup ## Kill, pause, cut off and fill up everything under load, at length; one table [ARGS: names of scenarios]
	@OMP_NUM_THREADS=1 .venv/bin/python -m tests.chaos $(ARGS)

bench: setup ## The engine and the cluster beside stock diffusers; several servers, real and simulated [ARGS]
	@.venv/bin/python -m tests.bench.engine $(ARGS) && .venv/bin/python -m tests.bench.throughput
	@.venv/bin/python -m tests.bench.servers && .venv/bin/python -m tests.bench.simulate
