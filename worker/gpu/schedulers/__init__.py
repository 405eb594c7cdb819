"""The samplers that a request may choose: eighteen names, one interface, a fresh object for each picture."""

from worker.gpu.schedulers.choice import Ran, Sampling, what_runs
from worker.gpu.schedulers.flow import FlowScheduler, make_flow_scheduler, what_runs_flow
from worker.gpu.schedulers.making import make_scheduler
from worker.gpu.schedulers.protocol import Scheduler

__all__ = [
    "FlowScheduler",
    "Ran",
    "Sampling",
    "Scheduler",
    "make_flow_scheduler",
    "make_scheduler",
    "what_runs",
    "what_runs_flow",
]
