"""The samplers that a request may choose: eighteen names, one interface, a fresh object for each picture."""

from worker.gpu.schedulers.choice import Ran, Sampling, what_runs
from worker.gpu.schedulers.making import make_scheduler
from worker.gpu.schedulers.protocol import Scheduler

__all__ = ["Ran", "Sampling", "Scheduler", "make_scheduler", "what_runs"]
